//! What the running kernel is, from its BTF: where the fields are that the BPF program reads, which
//! arguments the tracepoint `kfree_skb` has, and what its drop reasons are called.
//!
//! All three differ between kernels and distributions backport each of them, so nothing here asks
//! for a version. The format is described in `Documentation/bpf/btf.rst`. The kernel serves its own
//! BTF in sysfs since 5.4, that of its modules since 5.11.

use std::{
    io,
    path::{Path, PathBuf},
};

use btf_rs::{Backend, Btf, Type};

use super::masked;
use lookup::{MAX_DEPTH, find_field, size_in_bits, strip};

pub use cgroups::cgroup_globals;

mod cgroups;
pub mod check;
#[cfg(test)]
pub(in crate::kernel) mod fixtures;
mod lookup;
#[cfg(test)]
mod tests;

/// Why the kernel's BTF cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The kernel serves no BTF.
    #[error(
        "no BTF at {}: the kernel needs CONFIG_DEBUG_INFO_BTF=y, and nothing may be mounted over it",
        path.display()
    )]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The kernel's file cannot be seen.
    #[error("no BTF at {}: something is mounted over it: unmask it in the container or unit", path.display())]
    Masked {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file is there, and cannot be read or parsed.
    #[error("cannot read the BTF at {}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What reading it said.
        source: btf_rs::Error,
    },
    /// A type refers to something that does not exist.
    #[error("the kernel's BTF is broken")]
    Broken(#[from] btf_rs::Error),
    /// No struct of that name has such a member.
    #[error("the kernel's BTF has no field {path}")]
    NoField {
        /// The field, as in [`Field::path`].
        path: &'static str,
    },
    /// The field is there, and is not what the BPF program would read.
    #[error("in the kernel's BTF, field {path} has {found} bits and not {expected}")]
    FieldSize {
        /// The field, as in [`Field::path`].
        path: &'static str,
        /// Its size in bits.
        found: u64,
        /// The size in bits that the BPF program reads.
        expected: u64,
    },
    /// The field is a bitfield that shares a byte with another.
    #[error("in the kernel's BTF, field {path} does not start at a byte")]
    FieldNotAtByte {
        /// The field, as in [`Field::path`].
        path: &'static str,
    },
    /// There is no prototype of the tracepoint `kfree_skb`.
    #[error("the kernel's BTF has no tracepoint kfree_skb (its typedef btf_trace_kfree_skb)")]
    NoTracepoint,
    /// The tracepoint does not begin with a packet and a place.
    #[error("the tracepoint kfree_skb does not begin with (struct sk_buff *, void *)")]
    UnknownTracepoint,
}

/// A kernel field that the BPF program reads.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The global in the BPF program that takes the offset.
    pub global: &'static str,
    /// Struct and member, and the member's members: `net.ns.inum`.
    pub path: &'static str,
    /// How many bytes the BPF program reads there.
    pub size: u32,
}

/// Every field whose offset the BPF program needs.
pub const FIELDS: &[Field] = &[
    field("SKB_DEV", "sk_buff.dev", POINTER),
    field("SKB_SK", "sk_buff.sk", POINTER),
    field("SKB_IIF", "sk_buff.skb_iif", 4),
    field("SKB_LEN", "sk_buff.len", 4),
    field("DEV_IFINDEX", "net_device.ifindex", 4),
    field("DEV_NAME", "net_device.name", 16),
    field("DEV_NET", "net_device.nd_net.net", POINTER),
    field("DEV_STATE", "net_device.state", 8),
    field("DEV_FLAGS", "net_device.flags", 4),
    field("DEV_REG_STATE", "net_device.reg_state", 1),
    field("DEV_TX", "net_device._tx", POINTER),
    field("TXQ_DEV", "netdev_queue.dev", POINTER),
    field("NET_INUM", "net.ns.inum", 4),
    field("SK_FAMILY", "sock.__sk_common.skc_family", 2),
    field("SK_STATE", "sock.__sk_common.skc_state", 1),
    field("SK_NET", "sock.__sk_common.skc_net.net", POINTER),
    field("SK_TYPE", "sock.sk_type", 2),
    field("SK_PROTOCOL", "sock.sk_protocol", 2),
];

/// Which arguments the tracepoint `kfree_skb` has beyond `(skb, location)`.
///
/// Upstream has `reason` since 5.17 and `rx_sk` since 6.11. The numbers are those of BPF's
/// `ctx.arg(n)`: `skb` is 0. That an argument is there does not say whether it may be NULL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TracepointArgs {
    /// `enum skb_drop_reason reason`.
    pub reason: Option<usize>,
    /// `struct sock *rx_sk`.
    pub rx_sk: Option<usize>,
}

/// Opens the BTF of the running kernel below the sysfs mounted at `sysfs`. Drop it when all is
/// asked: on kernels that do not let it be mapped it holds 40 MB.
///
/// # Errors
///
/// [`BtfError::Missing`] or [`BtfError::Masked`] if there is none to be seen,
/// [`BtfError::Unreadable`] if it does not parse.
pub fn open_vmlinux(sysfs: &Path) -> Result<Btf, BtfError> {
    let path = sysfs.join("kernel/btf/vmlinux");
    let open = || {
        let Some(file) = masked::open(&path)? else {
            return Ok(None);
        };
        // Unlike most files in sysfs, the kernel's has a size.
        if file.metadata()?.len() == 0 {
            return Ok(None);
        }
        check::check(file)?;
        map_or_read(&path).map(Some)
    };
    match open() {
        Ok(Some(btf)) => Ok(btf),
        Ok(None) => Err(BtfError::Masked { path }),
        Err(btf_rs::Error::IO(e)) if e.kind() == io::ErrorKind::NotFound => {
            Err(BtfError::Missing { path })
        }
        Err(source) => Err(BtfError::Unreadable { path, source }),
    }
}

fn map_or_read(path: &Path) -> btf_rs::Result<Btf> {
    // Mapped, it and every question below cost 30 ms and 1 MB together; read, 150 ms and 40 MB.
    // Only newer kernels let it be mapped, and where mapping fails for a better reason, reading
    // fails too and says so.
    Btf::from_file_with_backend(path, Backend::Mmap).or_else(|_| Btf::from_file(path))
}

/// The offset in bytes of every field in [`FIELDS`], by the name of its global.
///
/// # Errors
///
/// The first field that is missing or has another shape than the BPF program reads.
pub fn offsets(btf: &Btf) -> Result<Vec<(&'static str, u32)>, BtfError> {
    FIELDS
        .iter()
        .map(|field| Ok((field.global, offset(btf, field)?)))
        .collect()
}

/// The arguments of the tracepoint `kfree_skb`, told by their types: the prototype behind
/// `btf_trace_kfree_skb` has no names on any kernel that was looked at.
///
/// # Errors
///
/// If there is no such tracepoint, or it does not begin with the packet and the place.
pub fn tracepoint_args(btf: &Btf) -> Result<TracepointArgs, BtfError> {
    let mut args = prototype(btf, "btf_trace_kfree_skb")?.into_iter();
    if !matches!(
        (args.next(), args.next()),
        (Some(Arg::Skb), Some(Arg::Pointer))
    ) {
        return Err(BtfError::UnknownTracepoint);
    }
    let rest: Vec<Arg> = args.collect();
    let find = |wanted| Some(2 + rest.iter().position(|arg| *arg == wanted)?);
    Ok(TracepointArgs {
        // A backport may declare the reason as a plain number.
        reason: find(Arg::Reason).or_else(|| find(Arg::Number)),
        rx_sk: find(Arg::Sock),
    })
}

/// Whether the enum has such an enumerator: a kernel that has a BPF helper has its number in `enum
/// bpf_func_id`.
///
/// # Errors
///
/// A type refers to something that does not exist.
pub fn has_enumerator(btf: &Btf, name: &str, enumerator: &str) -> Result<bool, BtfError> {
    for candidate in btf.resolve_types_by_name(name)? {
        let Type::Enum(found) = candidate else {
            continue;
        };
        for member in &found.members {
            if btf.resolve_name(member)? == enumerator {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Whether the kernel has a function of this name that others than its own file call.
///
/// # Errors
///
/// A type refers to something that does not exist.
pub fn has_function(btf: &Btf, name: &str) -> Result<bool, BtfError> {
    let named = btf.resolve_types_by_name(name)?;
    Ok(named.iter().any(|ty| matches!(ty, Type::Func(_))))
}

/// The BPF program is 64-bit and reads the kernel's pointers as such.
const POINTER: u32 = 8;

const fn field(global: &'static str, path: &'static str, size: u32) -> Field {
    Field { global, path, size }
}

fn offset(btf: &Btf, field: &Field) -> Result<u32, BtfError> {
    let path = field.path;
    let found = find_field(btf, path)?.ok_or(BtfError::NoField { path })?;
    let bits = match found.bitfield_bits() {
        Some(bits) => Some(bits),
        None => size_in_bits(btf, btf.resolve_chained_type(&found.member)?, MAX_DEPTH)?,
    };
    let expected = u64::from(field.size) * 8;
    match bits {
        Some(found) if found != expected => Err(BtfError::FieldSize {
            path,
            found,
            expected,
        }),
        Some(_) if found.bit_offset % 8 != 0 => Err(BtfError::FieldNotAtByte { path }),
        // An offset beyond 4 GiB or a field without a size is no field that could be read.
        Some(_) => u32::try_from(found.bit_offset / 8).map_err(|_e| BtfError::NoField { path }),
        None => Err(BtfError::NoField { path }),
    }
}

/// What an argument of the tracepoint can be, as far as it matters here.
#[derive(PartialEq, Eq)]
enum Arg {
    Skb,
    Sock,
    Reason,
    /// Any other enum or integer of 32 bits.
    Number,
    Pointer,
    Other,
}

/// The arguments behind typedef `name`, without the `void *__data` that all tracepoints begin with.
fn prototype(btf: &Btf, name: &str) -> Result<Vec<Arg>, BtfError> {
    for candidate in btf.resolve_types_by_name(name)? {
        if let Type::Ptr(pointer) = strip(btf, candidate)?
            && let Type::FuncProto(proto) = strip(btf, btf.resolve_chained_type(&pointer)?)?
        {
            let args = proto.parameters.iter().skip(1);
            return args
                .map(|p| classify(btf, btf.resolve_chained_type(p)?))
                .collect();
        }
    }
    Err(BtfError::NoTracepoint)
}

fn classify(btf: &Btf, ty: Type) -> Result<Arg, BtfError> {
    Ok(match strip(btf, ty)? {
        Type::Enum(t) if btf.resolve_name(&t)? == "skb_drop_reason" => Arg::Reason,
        Type::Enum(t) if t.size() == 4 => Arg::Number,
        Type::Int(t) if t.size() == 4 => Arg::Number,
        Type::Ptr(pointer) => match strip(btf, btf.resolve_chained_type(&pointer)?)? {
            Type::Struct(t) => match btf.resolve_name(&t)?.as_str() {
                "sk_buff" => Arg::Skb,
                "sock" => Arg::Sock,
                _ => Arg::Pointer,
            },
            _ => Arg::Pointer,
        },
        _ => Arg::Other,
    })
}
