//! Against the BTF of real kernels.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;

use super::{
    fixtures::{V5_10, V6_1, V6_12, V6_18, V7_2, btf},
    *,
};

/// Replaces every `from` by `to`, of the same length, so that the result is valid BTF again.
fn patch(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut patched = bytes.to_vec();
    let places: Vec<usize> = (0..bytes.len())
        .filter(|&i| bytes[i..].starts_with(from))
        .collect();
    assert!(!places.is_empty(), "nothing to patch");
    for place in places {
        patched[place..place + from.len()].copy_from_slice(to);
    }
    patched
}

/// What gcc's `offsetof` says about `bpftool btf dump file vmlinux format c`, and pahole for the
/// bitfield that `reg_state` is on 5.10 and 6.1.
#[test]
fn offsets_are_those_that_a_c_compiler_finds() {
    #[rustfmt::skip]
    let expected = [
        ("SKB_DEV",       [  16,   16,   16,   16,   16]),
        ("SKB_SK",        [  24,   24,   24,   24,   24]),
        ("SKB_IIF",       [ 144,  144,  148,  144,  148]),
        ("SKB_LEN",       [ 112,  112,  112,  112,  112]),
        ("DEV_IFINDEX",   [ 256,  216,  224,  224,  224]),
        ("DEV_NAME",      [   0,    0,  304,  280,  288]),
        ("DEV_NET",       [1264, 1272,  280,  264,  264]),
        ("DEV_STATE",     [  64,   56,  168,  168,  168]),
        ("DEV_FLAGS",     [ 528,  192,  176,  176,  176]),
        ("DEV_REG_STATE", [1240, 1248, 1368, 1312, 1472]),
        ("DEV_TX",        [ 960,  960,   24,   24,   24]),
        ("TXQ_DEV",       [   0,    0,    0,    0,    0]),
        ("NET_INUM",      [ 136,  144,  136,  176,  280]),
        ("SK_FAMILY",     [  16,   16,   16,   16,   16]),
        ("SK_STATE",      [  18,   18,   18,   18,   18]),
        ("SK_NET",        [  48,   48,   48,   48,   48]),
        ("SK_TYPE",       [ 538,  514,  572,  534,  542]),
        ("SK_PROTOCOL",   [ 540,  516,  574,  532,  540]),
    ];
    for (kernel, bytes) in [V5_10, V6_1, V6_12, V6_18, V7_2].into_iter().enumerate() {
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, at)| (*name, at[kernel]))
            .collect();
        assert_eq!(offsets(&btf(bytes)).unwrap(), expected);
    }
}

#[test]
fn a_missing_field_is_named() {
    let renamed = patch(V6_12, b"\0reg_state\0", b"\0reg_store\0");
    let error = offsets(&btf(&renamed)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the kernel's BTF has no field net_device.reg_state"
    );

    let renamed = patch(V6_12, b"\0skc_net\0", b"\0skc_ten\0");
    let error = offsets(&btf(&renamed)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the kernel's BTF has no field sock.__sk_common.skc_net.net"
    );
}

#[test]
fn a_field_of_another_size_is_refused() {
    let grown = field("SKB_LEN", "sk_buff.len", 8);
    assert_eq!(
        offset(&btf(V6_12), &grown).unwrap_err().to_string(),
        "in the kernel's BTF, field sk_buff.len has 32 bits and not 64"
    );
    let bit = field("SKB_CLONED", "sk_buff.cloned", 1);
    assert_eq!(
        offset(&btf(V6_12), &bit).unwrap_err().to_string(),
        "in the kernel's BTF, field sk_buff.cloned has 1 bits and not 8"
    );
}

#[test]
fn a_bitfield_across_two_bytes_is_refused() {
    // A member of a struct with bitfields: the width in the high 8 bits, the bit offset below.
    let member = |bit_offset: u32| (8 << 24 | bit_offset).to_le_bytes();
    let moved = patch(V6_1, &member(1248 * 8), &member(1248 * 8 + 1));
    assert_eq!(
        offsets(&btf(&moved)).unwrap_err().to_string(),
        "in the kernel's BTF, field net_device.reg_state does not start at a byte"
    );
}

#[test]
fn of_structs_with_one_name_the_one_with_the_field_counts() {
    let two = btf(&patch(V6_12, b"\0idr\0", b"\0net\0"));
    assert_eq!(two.resolve_ids_by_name("net").unwrap().len(), 2);
    assert_eq!(offsets(&two).unwrap(), offsets(&btf(V6_12)).unwrap());
}

#[test]
fn an_enumerator_is_found_where_the_kernel_has_it() {
    let has = |bytes, name| has_enumerator(&btf(bytes), "skb_drop_reason", name).unwrap();
    let (old, new) = (
        "SKB_DROP_REASON_NO_SOCKET",
        "SKB_DROP_REASON_TCP_RFC7323_TSECR",
    );
    assert_eq!(
        [V5_10, V6_1, V6_18].map(|k| has(k, old)),
        [false, true, true]
    );
    assert_eq!(
        [V5_10, V6_1, V6_18].map(|k| has(k, new)),
        [false, false, true]
    );
}

#[test]
fn arguments_are_told_by_their_types() {
    let args = |bytes| tracepoint_args(&btf(bytes)).unwrap();
    let all = TracepointArgs {
        reason: Some(2),
        rx_sk: Some(3),
    };
    assert_eq!(args(V5_10), TracepointArgs::default());
    assert_eq!(
        args(V6_1),
        TracepointArgs {
            reason: Some(2),
            rx_sk: None
        }
    );
    assert_eq!([args(V6_12), args(V6_18), args(V7_2)], [all; 3]);
}

#[test]
fn a_reason_that_is_a_plain_number_is_found() {
    let renamed = btf(&patch(
        V6_12,
        b"\0skb_drop_reason\0",
        b"\0skb_drop_number\0",
    ));
    let args = tracepoint_args(&renamed).unwrap();
    assert_eq!(
        args,
        TracepointArgs {
            reason: Some(2),
            rx_sk: Some(3)
        }
    );
}

#[test]
fn a_kernel_without_the_tracepoint_is_an_error() {
    let error = |from: &[u8], to: &[u8]| {
        tracepoint_args(&btf(&patch(V6_12, from, to)))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        error(b"\0btf_trace_kfree_skb\0", b"\0btf_trace_kfree_bks\0"),
        "the kernel's BTF has no tracepoint kfree_skb (its typedef btf_trace_kfree_skb)"
    );
    assert_eq!(
        error(b"\0sk_buff\0", b"\0sk_fubb\0"),
        "the tracepoint kfree_skb does not begin with (struct sk_buff *, void *)"
    );
}

#[test]
fn btf_that_is_missing_or_masked_is_named_with_what_to_do() {
    let sysfs = tempfile::tempdir().unwrap();
    let path = sysfs.path().join("kernel/btf/vmlinux");
    let error = || open_vmlinux(sysfs.path()).err().unwrap().to_string();
    let missing = error();
    assert!(missing.contains(path.to_str().unwrap()), "{missing}");
    assert!(missing.contains("CONFIG_DEBUG_INFO_BTF=y"), "{missing}");

    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "").unwrap();
    let empty = error();
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    for masked in [empty, error()] {
        assert!(masked.contains(path.to_str().unwrap()), "{masked}");
        assert!(masked.contains("something is mounted over it"), "{masked}");
    }
}

#[test]
fn a_mapped_file_reads_like_its_bytes() {
    let sysfs = tempfile::tempdir().unwrap();
    fs::create_dir_all(sysfs.path().join("kernel/btf")).unwrap();
    fs::write(sysfs.path().join("kernel/btf/vmlinux"), V7_2).unwrap();

    let mapped = open_vmlinux(sysfs.path()).unwrap();
    assert_eq!(offsets(&mapped).unwrap(), offsets(&btf(V7_2)).unwrap());
    assert_eq!(
        tracepoint_args(&mapped).unwrap(),
        tracepoint_args(&btf(V7_2)).unwrap()
    );

    fs::write(sysfs.path().join("kernel/btf/vmlinux"), &V7_2[..1000]).unwrap();
    let error = open_vmlinux(sysfs.path()).err().unwrap();
    assert!(
        error.to_string().starts_with("cannot read the BTF at "),
        "{error}"
    );
}
