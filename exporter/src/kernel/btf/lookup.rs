//! Members of structs by their names, and the sizes of types. BTF may be broken, so every search is bounded.

use btf_rs::{Btf, BtfType, Member, Type};

use super::{BtfError, POINTER};

/// How deep anonymous structs nest, and typedefs and qualifiers: 4 and 3 here, up to 7.2. A bound,
/// because broken BTF may refer to itself.
pub(super) const MAX_DEPTH: usize = 8;

/// How many members are looked at for one field: 150 here, up to 7.2. A bound, because an anonymous
/// struct of broken BTF may have itself as a member, many times.
const MAX_MEMBERS: usize = 10_000;

/// A member, and where it is from the start of the struct that was searched.
pub(super) struct Found {
    pub(super) bit_offset: u64,
    pub(super) member: Member,
}

impl Found {
    /// The declared width of a bitfield; `None` for other members.
    pub(super) fn bitfield_bits(&self) -> Option<u64> {
        let bits = self.member.bitfield_size()?;
        // In a struct that has bitfields, width 0 means that this member is none.
        (bits != 0).then_some(u64::from(bits))
    }
}

/// Resolves `struct.member.member...` in the first struct of that name which has it all: kernels
/// have private structs that share a name with a public one.
pub(super) fn find_field(btf: &Btf, path: &str) -> Result<Option<Found>, BtfError> {
    let mut names = path.split('.');
    let structs = btf.resolve_types_by_name(names.next().unwrap_or_default())?;
    let mut members = MAX_MEMBERS;
    for candidate in structs {
        if let Some(found) = find_path(btf, candidate, names.clone(), &mut members)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn find_path<'a>(
    btf: &Btf,
    root: Type,
    names: impl Iterator<Item = &'a str>,
    members: &mut usize,
) -> Result<Option<Found>, BtfError> {
    let mut at: Option<Found> = None;
    for name in names {
        let (ty, base) = match &at {
            None => (root.clone(), 0),
            Some(outer) => (btf.resolve_chained_type(&outer.member)?, outer.bit_offset),
        };
        at = find_member(btf, ty, name, base, MAX_DEPTH, members)?;
        if at.is_none() {
            break;
        }
    }
    Ok(at)
}

/// Looks for member `name`, also in the anonymous structs and unions among the members. They nest up
/// to `depth`, and all together have no more `members` than that.
fn find_member(
    btf: &Btf,
    ty: Type,
    name: &str,
    base: u64,
    depth: usize,
    members: &mut usize,
) -> Result<Option<Found>, BtfError> {
    let (Type::Struct(outer) | Type::Union(outer)) = strip(btf, ty)? else {
        return Ok(None);
    };
    for member in outer.members {
        let Some(left) = members.checked_sub(1) else {
            break;
        };
        *members = left;
        let bit_offset = base + u64::from(member.bit_offset());
        let member_name = btf.resolve_name(&member)?;
        if member_name == name {
            return Ok(Some(Found { bit_offset, member }));
        }
        if member_name.is_empty() && depth > 0 {
            let inner = btf.resolve_chained_type(&member)?;
            if let Some(found) = find_member(btf, inner, name, bit_offset, depth - 1, members)? {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}

/// The type behind typedefs and qualifiers.
pub(super) fn strip(btf: &Btf, mut ty: Type) -> Result<Type, BtfError> {
    for _ in 0..MAX_DEPTH {
        let inner: &dyn BtfType = match &ty {
            Type::Typedef(t) => t,
            Type::Const(t) | Type::Volatile(t) | Type::Restrict(t) => t,
            Type::TypeTag(t) => t,
            _ => return Ok(ty),
        };
        ty = btf.resolve_chained_type(inner)?;
    }
    Ok(Type::Void)
}

/// `None` for what has no size: void, functions, forward declarations.
pub(super) fn size_in_bits(btf: &Btf, ty: Type, depth: usize) -> Result<Option<u64>, BtfError> {
    let bytes = match strip(btf, ty)? {
        Type::Int(t) => t.size() as u64,
        Type::Float(t) => t.size() as u64,
        Type::Enum(t) => t.size() as u64,
        Type::Enum64(t) => t.size() as u64,
        Type::Struct(t) | Type::Union(t) => t.size() as u64,
        Type::Ptr(_) => u64::from(POINTER),
        Type::Array(t) if depth > 0 => {
            let element = size_in_bits(btf, btf.resolve_chained_type(&t)?, depth - 1)?;
            return Ok(element.and_then(|bits| bits.checked_mul(t.len() as u64)));
        }
        _ => return Ok(None),
    };
    Ok(Some(bytes * 8))
}
