//! Names of functions where kernel symbols are hidden. A kernel that has the BPF helper `bpf_snprintf` (5.13) writes
//! names down itself, whatever hides its symbols; on others the exporter says what does.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use netdrop_tests::launch::Launch;
use netdrop_tests::room::Sysctl;
use netdrop_tests::{Exporter, Pair, Room, symbols};

const FRAMES: u64 = 300;

/// Drops frames beside an exporter that is launched so. Its log has these words where it depends on symbols.
fn check(launch: Launch, words: &[&str]) {
    let pair = Pair::with(launch);
    pair.drop_frames(FRAMES);
    let metrics = pair.exporter.scrape();
    let kernel_writes_names = symbols::is_function("bpf_snprintf");
    let function = match kernel_writes_names {
        true => "__netif_receive_skb_core",
        false => "",
    };
    let labels = [("device", pair.veth.a.as_str()), ("function", function)];
    let dropped = metrics.value("netdrop_dropped_packets_total", &labels);
    assert_eq!(dropped, Some(FRAMES as f64), "{words:?}");
    assert_eq!(metrics.success("drops"), Some(true));
    let mut complaints = pair.exporter.complaints();
    // Without the rest of procfs another collector complains, too.
    complaints.retain(|line| line.contains("function=\"\""));
    let expected = usize::from(!kernel_writes_names);
    assert_eq!(complaints.len(), expected, "{complaints:?}");
    for line in complaints {
        assert!(words.iter().all(|word| line.contains(word)), "{line}");
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn hidden_symbols_cost_names_only_on_kernels_that_do_not_write_them_down() {
    let _room = Room::enter();
    let without_syslog = || Exporter::launch().as_nobody_with(&["bpf", "perfmon"]);
    check(without_syslog(), &["takes CAP_SYSLOG before Linux 5.13"]);

    // As systemd does for users other than root, and as container runtimes do.
    let directory = tempfile::tempdir().unwrap();
    let inaccessible = directory.path().join("inaccessible");
    fs::write(&inaccessible, "").unwrap();
    fs::set_permissions(&inaccessible, Permissions::from_mode(0o000)).unwrap();
    let cover = "mount --bind $0 /proc/kallsyms && exec \"$@\"";
    for (launch, over) in [
        (without_syslog(), inaccessible.to_str().unwrap()),
        (Exporter::launch(), "/dev/null"),
    ] {
        let wrapper = ["unshare", "--mount", "sh", "-c", cover, over];
        let words = [
            "/proc/kallsyms",
            "mounted over it",
            "ProtectKernelTunables=",
        ];
        check(launch.wrapper(&wrapper), &words);
    }
    let only_processes = "mount -t proc -o subset=pid proc /proc && exec \"$@\"";
    let wrapper = ["unshare", "--mount", "sh", "-c", only_processes, "sh"];
    let words = ["/proc/kallsyms", "ProcSubset=pid"];
    check(Exporter::launch().wrapper(&wrapper), &words);

    // With 2 nobody sees addresses, whatever their capabilities (Documentation/admin-guide/sysctl/kernel.rst).
    let _hidden = Sysctl::set("kernel/kptr_restrict", "2");
    check(Exporter::launch(), &["kallsyms", "kptr_restrict"]);
}
