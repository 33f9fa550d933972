//! Where the cgroup of a socket is, and the path of a cgroup.

use btf_rs::Btf;

use super::{BtfError, Field, POINTER, field, offset};

/// How a socket refers to its cgroup (`SK_CGROUP_KIND` in the BPF program).
const KIND: &str = "SK_CGROUP_KIND";
/// By a pointer, since 5.15.
const POINTER_KIND: u32 = 1;
/// By a word that is a pointer only if its two lowest bits are 0.
const TAGGED_KIND: u32 = 2;

const POINTER_FIELD: Field = field("SK_CGROUP", "sock.sk_cgrp_data.cgroup", POINTER);
const TAGGED_FIELD: Field = field("SK_CGROUP", "sock.sk_cgrp_data.val", 8);
/// The name since 6.15, and the one before.
const PARENT_FIELD: Field = field("KN_PARENT", "kernfs_node.__parent", POINTER);
const OLD_PARENT_FIELD: Field = field("KN_PARENT", "kernfs_node.parent", POINTER);
const FIELDS: [Field; 3] = [
    field("CGROUP_KN", "cgroup.kn", POINTER),
    field("KN_ID", "kernfs_node.id", 8),
    field("KN_NAME", "kernfs_node.name", POINTER),
];

/// The values of the globals in the BPF program that have to do with cgroups, by name.
///
/// # Errors
///
/// What the kernel lacks: it was built without cgroups, or with other ones.
pub fn cgroup_globals(btf: &Btf) -> Result<Vec<(&'static str, u32)>, BtfError> {
    let (kind, socket) = match offset(btf, &POINTER_FIELD) {
        Ok(offset) => (POINTER_KIND, offset),
        Err(BtfError::NoField { .. }) => (TAGGED_KIND, offset(btf, &TAGGED_FIELD)?),
        Err(e) => return Err(e),
    };
    let parent = match offset(btf, &PARENT_FIELD) {
        Err(BtfError::NoField { .. }) => offset(btf, &OLD_PARENT_FIELD)?,
        parent => parent?,
    };
    let mut globals = vec![
        (KIND, kind),
        (POINTER_FIELD.global, socket),
        (PARENT_FIELD.global, parent),
    ];
    for field in &FIELDS {
        globals.push((field.global, offset(btf, field)?));
    }
    Ok(globals)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::btf::fixtures::{V5_10, V6_1, V6_12, V6_18, V7_2, btf};

    /// By gcc's `offsetof`, as for the other fields.
    #[test]
    fn cgroups_are_found_on_every_kernel() {
        #[rustfmt::skip]
        let expected = [
            ("SK_CGROUP_KIND", [  2,   1,   1,   1,   1]),
            ("SK_CGROUP",      [664, 648, 672, 672, 688]),
            ("KN_PARENT",      [  8,   8,   8,   8,   8]),
            ("CGROUP_KN",      [248, 248, 256, 256, 296]),
            ("KN_ID",          [104, 104,  96,  96,  96]),
            ("KN_NAME",        [ 16,  16,  16,  16,  16]),
        ];
        for (kernel, bytes) in [V5_10, V6_1, V6_12, V6_18, V7_2].into_iter().enumerate() {
            let expected = expected.map(|(name, at)| (name, at[kernel]));
            let globals = cgroup_globals(&btf(bytes)).expect("a kernel with cgroups");
            assert_eq!(globals, expected);
        }
    }
}
