//! What depends on the kernel, held against what independent tools read of it. Written for kernels from 5.10
//! on, with modules: `tests/kernels/run.sh` boots them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use netdrop_exporter::kernel::{btf, reasons};
use netdrop_tests::bpftool::Types;
use netdrop_tests::packet::{ACK, Family};
use netdrop_tests::scene::ANYWHERE;
use netdrop_tests::tracefs::Drop;
use netdrop_tests::watch::{assert_one, drops_where};
use netdrop_tests::{Exporter, Room, Scene, symbols, wire};

#[test]
#[ignore = "needs root and bpftool: run by tests/run.sh"]
fn fields_and_reasons_are_those_that_bpftool_reads() {
    let kernel = btf::open_vmlinux(Path::new("/sys")).unwrap();
    let types = Types::of_kernel();
    let offsets = btf::offsets(&kernel).unwrap();
    assert_eq!(offsets.len(), btf::FIELDS.len());
    for (field, (_, offset)) in btf::FIELDS.iter().zip(&offsets) {
        assert_eq!(Some(*offset), types.offset(field.path), "{}", field.path);
    }

    // What the kernel can do for the program, beside its symbols.
    let has_helper = btf::has_enumerator(&kernel, "bpf_func_id", "BPF_FUNC_snprintf").unwrap();
    assert_eq!(has_helper, symbols::is_function("bpf_snprintf"));
    let skips = "bpf_prog_inc_misses_counter";
    let has_function = btf::has_function(&kernel, skips).unwrap();
    assert_eq!(has_function, symbols::is_function(skips));

    let names = reasons::reason_names(&kernel);
    let core = types.enumerators(|name| name == "skb_drop_reason");
    assert_eq!(core.is_empty(), names.is_empty());
    for (name, number) in &core {
        let Some(label) = name.strip_prefix("SKB_DROP_REASON_") else {
            continue;
        };
        // The two that are bounds: no packet is dropped for them.
        if label != "MAX" && label != "SUBSYS_MASK" {
            assert_eq!(names.label(*number), label);
        }
    }
    println!("FEATURE reasons {}", core.len());
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn drops_have_the_kernels_own_reason_function_and_socket() {
    let _room = Room::enter();
    let scene = Scene::new();
    let kinds: BTreeSet<_> = ANYWHERE.iter().map(|cause| scene.check(cause)).collect();
    let reasons: BTreeSet<_> = kinds.iter().map(|kind| kind.reason.as_str()).collect();
    if scene.witness.has_field("reason") {
        assert_eq!(reasons.len(), 5, "{reasons:?}");
    } else {
        assert_eq!(reasons, BTreeSet::from([""]));
    }

    let names_socket = scene.witness.has_field("rx_sk");
    // Without it, TCP has already taken device and socket off the packet that it refuses (tcp_v4_rcv).
    let (netns, device, state) = match names_socket {
        true => ("host", wire::DEVICE, "ESTABLISHED"),
        false => ("", "", ""),
    };
    let mut refusals = 0;
    for family in Family::BOTH {
        let (connection, _stream) = scene.establish(family.host(80), family.far(40_000));
        // Without a namespace, all the machine's drops are there.
        let by_tcp = |kind: &Drop| !netns.is_empty() || kind.function.contains("tcp");
        let dropped = drops_where(by_tcp, &scene.exporter, netns, &scene.witness, || {
            connection.send_ahead(-(1 << 30), ACK, b"old", 12)
        });
        scene.discard();
        // Before 5.18 the kernel tells nobody what TCP refuses (tcp_drop, net/ipv4/tcp_input.c).
        let mut told = scene.witness.kinds().into_values();
        if told.any(|packets| packets == 12) {
            assert_one(&dropped, state, device, 12, names_socket);
            refusals += 12;
        } else {
            assert_eq!(dropped, []);
        }
    }
    println!("FEATURE rx_sk {names_socket}");
    println!("FEATURE tcp_refusals {refusals}");
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn what_the_kernel_counts_of_the_program_is_served() {
    let _room = Room::enter();
    let exporter = Exporter::start(&[]);
    let counted = fs::read_dir(format!("/proc/{}/fdinfo", exporter.pid()))
        .unwrap()
        .filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok())
        .any(|text| text.contains("recursion_misses:"));
    let metrics = exporter.scrape();
    let nested = [("cause", "nested")];
    assert!(
        metrics
            .value("netdrop_unattributed_packets_total", &nested)
            .is_some()
    );
    println!("FEATURE nested {counted}");
}
