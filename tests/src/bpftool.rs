//! What bpftool(8) reads in the running kernel's BTF: where fields are, and what enumerators are called. An
//! independent reader beside the exporter's own.

use std::collections::HashMap;
use std::path::Path;

use crate::netns::run;

/// The BTF of the kernel or of one of its modules.
#[derive(Debug, Default)]
pub struct Types {
    by_id: HashMap<u32, Type>,
}

#[derive(Debug, Default)]
struct Type {
    kind: String,
    name: String,
    /// What a typedef or qualifier stands for; 0 is void.
    target: u32,
    members: Vec<Member>,
    enumerators: Vec<(String, u32)>,
}

#[derive(Debug)]
struct Member {
    name: String,
    target: u32,
    bit_offset: u32,
}

impl Types {
    /// Of the kernel itself.
    pub fn of_kernel() -> Self {
        parse(&run(&["bpftool", "btf", "dump", "file", VMLINUX]))
    }

    /// Of a module, and of the kernel that it stands on; nothing if it has no BTF or is not there.
    pub fn of_module(name: &str) -> Self {
        let path = format!("/sys/kernel/btf/{name}");
        if !Path::new(&path).exists() {
            return Self::default();
        }
        let dump = ["bpftool", "--base-btf", VMLINUX, "btf", "dump", "file"];
        parse(&run(&[&dump[..], &[&path]].concat()))
    }

    /// The offset in bytes of a field such as `net.ns.inum`, also within anonymous structs and unions.
    pub fn offset(&self, path: &str) -> Option<u32> {
        let (outer, members) = path.split_once('.')?;
        // Some names stand for several structs, and only one has the field.
        let structs = self.by_id.values().filter(|ty| ty.name == outer);
        structs
            .filter_map(|ty| self.bits_to(ty, members))
            .map(|bits| bits / 8)
            .next()
    }

    /// The names and numbers of all enums of which this holds.
    pub fn enumerators(&self, wanted: impl Fn(&str) -> bool) -> HashMap<String, u32> {
        let enums = self.by_id.values().filter(|ty| wanted(&ty.name));
        enums
            .flat_map(|ty| ty.enumerators.iter().cloned())
            .collect()
    }

    fn bits_to(&self, ty: &Type, path: &str) -> Option<u32> {
        let (name, rest) = match path.split_once('.') {
            Some((name, rest)) => (name, Some(rest)),
            None => (path, None),
        };
        ty.members.iter().find_map(|member| {
            let inner = || self.behind(member.target);
            let bits = match (member.name.as_str(), rest) {
                (found, None) if found == name => 0,
                (found, Some(rest)) if found == name => self.bits_to(inner()?, rest)?,
                ("(anon)", _) => self.bits_to(inner()?, path)?,
                _ => return None,
            };
            Some(member.bit_offset + bits)
        })
    }

    /// The type behind typedefs and qualifiers.
    fn behind(&self, mut id: u32) -> Option<&Type> {
        loop {
            let ty = self.by_id.get(&id)?;
            match ty.kind.as_str() {
                "TYPEDEF" | "CONST" | "VOLATILE" | "RESTRICT" | "TYPE_TAG" => id = ty.target,
                _ => return Some(ty),
            }
        }
    }
}

const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Lines such as these:
///
/// ```text
/// [922] STRUCT 'sk_buff' size=232 vlen=28
///         'sk' type_id=769 bits_offset=192
/// [8636] ENUM 'skb_drop_reason' encoding=UNSIGNED size=4 vlen=66
///         'SKB_DROP_REASON_NO_SOCKET' val=2
/// ```
fn parse(dump: &str) -> Types {
    let mut types = Types::default();
    let mut current = 0;
    for line in dump.lines() {
        let value = |key: &str| {
            let words = line.split_whitespace();
            words.filter_map(|word| word.strip_prefix(key)).next_back()
        };
        let number = |key| value(key).and_then(|text: &str| text.parse().ok());
        let name = line.split('\'').nth(1).unwrap_or_default().to_owned();
        if let Some(head) = line.strip_prefix('[') {
            let mut words = head.split(['[', ']', ' ']);
            current = words.next().unwrap().parse().unwrap();
            let ty = Type {
                kind: words.find(|word| !word.is_empty()).unwrap().to_owned(),
                name,
                target: number("type_id=").unwrap_or(0),
                ..Type::default()
            };
            types.by_id.insert(current, ty);
            continue;
        }
        let Some(ty) = types.by_id.get_mut(&current) else {
            continue;
        };
        if let (Some(target), Some(bit_offset)) = (number("type_id="), number("bits_offset=")) {
            ty.members.push(Member {
                name,
                target,
                bit_offset,
            });
        } else if let Some(value) = number("val=") {
            ty.enumerators.push((name, value));
        }
    }
    types
}
