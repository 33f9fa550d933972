//! Against the BTF of real kernels.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;

use btf_rs::Btf;

use super::*;
use crate::kernel::btf::fixtures::{V5_10, V6_1, V6_12, V6_18, V7_2, btf, fixture};

#[test]
fn reason_numbers_are_those_of_the_kernel_that_runs() {
    let label = |bytes, reason| reason_names(&btf(bytes)).label(reason).into_owned();
    assert_eq!(label(V6_1, 45), "QDISC_DROP");
    assert_eq!(label(V6_12, 57), "QDISC_DROP");
    assert_eq!(label(V6_18, 64), "QDISC_DROP");
    assert_eq!(label(V7_2, 64), "QDISC_DROP");
    assert_eq!(label(V6_1, 1), "NOT_SPECIFIED");
    assert_eq!(label(V6_12, 1), "SKB_CONSUMED");
    assert_eq!(label(V6_12, 2), "NOT_SPECIFIED");
    assert_eq!(label(V7_2, 0), "SKB_NOT_DROPPED_YET");
    assert_eq!(label(V7_2, 0x3_0002), "QDISC_DROP_OVERLIMIT");
    assert!(reason_names(&btf(V5_10)).is_empty());
}

#[test]
fn every_number_below_the_end_has_a_name_and_no_marker_has() {
    for (bytes, core, subsystem) in [
        (V6_1, 65, 0),
        (V6_12, 104, 0),
        (V6_18, 128, 0),
        (V7_2, 126, 9),
    ] {
        let names = reason_names(&btf(bytes));
        let mut numbers: Vec<u32> = names.iter().map(|(reason, _)| reason).collect();
        numbers.sort_unstable();
        let expected: Vec<u32> = (0..core).chain((0x3_0001..).take(subsystem)).collect();
        assert_eq!(numbers, expected);
        let is_odd =
            |name: &str| name.starts_with('_') || name.ends_with("_MAX") || name.contains("SUBSYS");
        assert_eq!(names.iter().find(|(_, name)| is_odd(name)), None);
    }
}

#[test]
fn an_unknown_reason_is_shown_as_its_number() {
    let names = reason_names(&btf(V6_12));
    assert_eq!(names.label(0x3002a), "0x0003002a");
    assert_eq!(names.label(104), "0x00000068");
    assert_eq!(names.label(u32::MAX), "0xffffffff");
}

#[test]
fn modules_add_their_reasons() {
    let read = |kernel, modules: [(&str, &[u8]); 2]| {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in modules {
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        // None of these has names to give, and none is in the way of those that have.
        fs::write(dir.path().join("vmlinux"), kernel).unwrap();
        fs::write(dir.path().join("broken"), b"\x9f\xeb\x01 _drop_reason\0").unwrap();
        fs::write(dir.path().join("empty"), b"").unwrap();
        fs::create_dir(dir.path().join("directory")).unwrap();
        module_reason_names(&btf(kernel), dir.path())
    };

    let v6_12 = read(
        V6_12,
        [
            ("openvswitch", fixture!("6.12-openvswitch")),
            ("mac80211", fixture!("6.12-mac80211")),
        ],
    );
    assert_eq!(v6_12.label(0x3_0003), "OVS_DROP_EXPLICIT");
    assert_eq!(v6_12.label(0x1_0000), "RX_DROP_UNUSABLE");
    assert_eq!(v6_12.label(0x1_0004), "RX_DROP_U_DUP");
    assert_eq!(v6_12.label(0x2_0001), "RX_DROP_M_UNEXPECTED_4ADDR_FRAME");
    // __OVS_DROP_REASON, OVS_DROP_MAX, and the core numbers that mac80211 repeats.
    for marker in [0x3_0000, 0x3_000c, 0, 1] {
        assert_eq!(v6_12.label(marker), format!("{marker:#010x}"));
    }

    let v7_2 = read(
        V7_2,
        [
            ("openvswitch", fixture!("7.2-openvswitch")),
            ("mac80211", fixture!("7.2-mac80211")),
        ],
    );
    assert_eq!(v7_2.label(0x2_0003), "OVS_DROP_EXPLICIT");
    assert_eq!(v7_2.label(0x1_0004), "RX_DROP_U_DUP");
}

#[test]
fn a_name_that_is_known_is_not_replaced_by_a_modules() {
    let module = Btf::from_split_bytes(fixture!("6.12-openvswitch"), &btf(V6_12)).unwrap();
    let mut names = reason_names(&btf(V7_2));
    names.merge(reason_names(&module));
    assert_eq!(names.label(0x3_0001), "QDISC_DROP_GENERIC");
}

#[test]
fn the_names_of_a_mapped_file_are_those_of_its_bytes() {
    let sysfs = tempfile::tempdir().unwrap();
    let directory = sysfs.path().join("kernel/btf");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("vmlinux"), V7_2).unwrap();
    fs::write(directory.join("mac80211"), fixture!("7.2-mac80211")).unwrap();

    let mapped = btf::open_vmlinux(sysfs.path()).unwrap();
    assert_eq!(reason_names(&mapped), reason_names(&btf(V7_2)));
    let modules = module_reason_names(&mapped, &directory);
    assert_eq!(modules.label(0x1_0004), "RX_DROP_U_DUP");
}

#[test]
fn without_a_directory_modules_add_nothing() {
    assert!(module_reason_names(&btf(V6_12), "/nonexistent".as_ref()).is_empty());
}
