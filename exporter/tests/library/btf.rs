//! Real captures of BTF, and what is left of them when bytes are wrong: an error, or an answer, and
//! either of them soon and in little memory.

use std::{fs, path::Path};

use allocation_counter::AllocationInfo;
use btf_rs::Btf;
use netdrop_exporter::kernel::{
    btf::{check::check, offsets, open_vmlinux, tracepoint_args},
    reasons::{module_reason_names, reason_names},
};
use proptest::prelude::*;

use crate::damage::{arb_damage, cases, cost_of, damaged, fixture};

const KERNELS: [&str; 5] = ["5.10", "6.1", "6.12", "6.18", "7.2"];

/// Modules, and the kernels that they stand on.
const MODULES: [(&str, &str); 4] = [
    ("6.12", "6.12-mac80211"),
    ("6.12", "6.12-openvswitch"),
    ("7.2", "7.2-mac80211"),
    ("7.2", "7.2-openvswitch"),
];

fn btf(name: &str) -> Vec<u8> {
    fixture(&format!("btf/{name}.btf"))
}

/// Asks all that the exporter asks at its start. What the answers are is of no interest.
fn ask(btf: &Btf) {
    drop((offsets(btf), tracepoint_args(btf), reason_names(btf)));
}

/// Does as the exporter does in its start and after a drop by a module, with files in the place of
/// the kernel's.
fn ask_kernel(vmlinux: &[u8], module: &[u8]) -> AllocationInfo {
    let sysfs = tempfile::tempdir().expect("a temporary directory");
    let directory = sysfs.path().join("kernel/btf");
    fs::create_dir_all(&directory).expect("kernel/btf");
    fs::write(directory.join("vmlinux"), vmlinux).expect("vmlinux");
    fs::write(directory.join("module"), module).expect("module");
    cost_of(|| open_and_ask(sysfs.path(), &directory))
}

fn open_and_ask(sysfs: &Path, modules: &Path) {
    if let Ok(vmlinux) = open_vmlinux(sysfs) {
        ask(&vmlinux);
        module_reason_names(&vmlinux, modules);
    }
}

/// How kernels are read that do not let their BTF be mapped.
fn ask_cached(vmlinux: &[u8]) -> AllocationInfo {
    cost_of(|| {
        if check(vmlinux).is_ok()
            && let Ok(vmlinux) = Btf::from_bytes(vmlinux)
        {
            ask(&vmlinux);
        }
    })
}

/// Every step of the work takes memory, so how often that is done bounds the time. Whole captures
/// take some 5,000 pieces, 0.2 MiB at once.
fn assert_bounded(cost: &AllocationInfo) {
    assert!(cost.count_total < 1_000_000, "too much work: {cost:?}");
    assert!(cost.bytes_max < 32 << 20, "too much memory: {cost:?}");
}

/// BTF with these types and names.
fn build(types: &[u32], names: &[u8]) -> Vec<u8> {
    let lengths = [types.len() * 4, types.len() * 4, names.len()];
    let lengths = lengths.map(|len| u32::try_from(len).expect("short"));
    let header = [0x0001_eb9f, 24, 0, lengths[0], lengths[1], lengths[2]];
    let words = header.iter().chain(types);
    let bytes = words.flat_map(|word| word.to_ne_bytes());
    bytes.chain(names.iter().copied()).collect()
}

const STRUCT: u32 = 4 << 24;
const ENUM: u32 = 6 << 24;

#[test]
fn a_struct_that_is_many_times_its_own_anonymous_member_is_not_followed_for_ever() {
    const MEMBERS: u32 = 6;
    // Type 1: members without a name, of type 1, at 0. Type 2: `sk_buff` with one of these.
    let mut types = vec![0, STRUCT | MEMBERS, 8];
    types.extend([0, 1, 0].repeat(MEMBERS as usize));
    types.extend([1, STRUCT | 1, 8, 0, 1, 0]);
    let btf = build(&types, b"\0sk_buff\0");
    assert_bounded(&ask_kernel(&btf, b""));
    assert_bounded(&ask_cached(&btf));
}

/// An enum of drop reasons that all have the same name, of this length.
fn reasons(count: u16, name_len: usize) -> Vec<u8> {
    let mut types = vec![1, ENUM | u32::from(count), 4];
    for value in 0..count {
        types.extend([17, value.into()]);
    }
    let name = [&b"\0skb_drop_reason\0"[..], &vec![b'A'; name_len], b"\0"].concat();
    build(&types, &name)
}

#[test]
fn a_long_name_is_not_kept_many_times() {
    let btf = reasons(1000, 64 * 1024);
    assert!(check(&btf[..]).is_err());
    assert_bounded(&ask_kernel(&btf, b""));
    assert_bounded(&ask_kernel(&fixture("btf/6.12.btf"), &btf));
}

#[test]
fn an_enum_with_far_too_many_reasons_is_not_kept_whole() {
    let btf = reasons(u16::MAX, 4000);
    assert!(check(&btf[..]).is_ok());
    assert_bounded(&ask_kernel(&btf, b""));
}

#[test]
fn a_header_gets_no_memory_for_what_it_only_claims() {
    for claim in [12, 20] {
        let mut btf = btf("6.12");
        btf[claim..claim + 4].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert!(check(&btf[..]).is_err());
        assert_bounded(&ask_kernel(&btf, b""));
        assert_bounded(&ask_kernel(&fixture("btf/6.12.btf"), &btf));
    }
}

#[test]
fn a_kernel_that_is_cut_short_is_an_error() {
    let whole = btf("6.12");
    for len in (0..whole.len()).step_by(7) {
        assert!(check(&whole[..len]).is_err(), "{len}");
    }
    assert!(check(&whole[..]).is_ok());
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn damaged_btf_of_a_kernel_is_an_error_or_an_answer_and_soon(
        kernel in prop::sample::select(&KERNELS[..]),
        damage in arb_damage(),
    ) {
        let vmlinux = damaged(btf(kernel), &damage);
        assert_bounded(&ask_kernel(&vmlinux, b""));
        assert_bounded(&ask_cached(&vmlinux));
    }

    #[test]
    fn damaged_btf_of_a_module_too(
        (kernel, module) in prop::sample::select(&MODULES[..]),
        damage in arb_damage(),
    ) {
        assert_bounded(&ask_kernel(&btf(kernel), &damaged(btf(module), &damage)));
    }
}
