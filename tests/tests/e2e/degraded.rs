//! What is missing is said once, in one line, with the remedy; everything else goes on.

use std::net::TcpListener;

use rustix::process::Signal;

use netdrop_tests::{Exporter, Room, netns};

const DROPPED: &str = "netdrop_dropped_packets_total";

/// Asserts that the exporter serves, that drops have failed, and that one line says all these words.
fn drops_failed_with_one_line(exporter: &Exporter, words: &[&str]) {
    assert_eq!(exporter.get("/-/healthy").status, 200);
    for _ in 0..3 {
        let metrics = exporter.scrape();
        assert_eq!(metrics.success("drops"), Some(false));
        let rest = metrics.sum("netdrop_exporter_build_info", &[]);
        assert_eq!(rest, 1.0, "the rest goes on");
        assert_eq!(metrics.series(DROPPED, &[]).count(), 0);
    }
    exporter.complained_once(words);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn without_capabilities_it_serves_and_says_which_are_missing() {
    let _room = Room::enter();
    let exporter = Exporter::launch().as_nobody().start();
    drops_failed_with_one_line(&exporter, &["CAP_BPF", "CAP_PERFMON", "setcap", "root"]);
    assert_eq!(exporter.stop().code, Some(0));
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn in_a_user_namespace_it_says_so_and_suspects_nothing_else() {
    let _room = Room::enter();
    for wrapper in [
        &["unshare", "--user", "--map-root-user"][..],
        &["unshare", "--user"],
    ] {
        let exporter = Exporter::launch().wrapper(wrapper).start();
        drops_failed_with_one_line(&exporter, &["user namespace (rootless container)"]);
        let told = exporter.complaints().concat();
        for other in ["seccomp", "lockdown", "RLIMIT_MEMLOCK", "kptr_restrict"] {
            assert!(!told.contains(other), "{told}");
        }
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn without_btf_it_serves_and_names_the_file() {
    let _room = Room::enter();
    let cover = "mount -t tmpfs none /sys/kernel/btf && exec \"$@\"";
    let exporter = Exporter::launch()
        .wrapper(&["unshare", "--mount", "sh", "-c", cover, "sh"])
        .start();
    drops_failed_with_one_line(
        &exporter,
        &["/sys/kernel/btf/vmlinux", "CONFIG_DEBUG_INFO_BTF"],
    );
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn another_sysfs_is_where_it_looks_for_btf() {
    let _room = Room::enter();
    let empty = tempfile::tempdir().unwrap();
    let path = empty.path().to_str().unwrap();
    let exporter = Exporter::start(&["--path.sysfs", path]);
    drops_failed_with_one_line(&exporter, &[&format!("{path}/kernel/btf/vmlinux")]);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn without_procfs_it_serves_and_each_collector_names_the_path_once() {
    let _room = Room::enter();
    let exporter = Exporter::start(&["--path.procfs=/nonexistent"]);
    exporter.scrape();
    let metrics = exporter.scrape();
    for collector in ["drops", "process"] {
        assert_eq!(metrics.success(collector), Some(false));
    }
    for line in exporter.complaints_of(2) {
        assert!(line.contains("/nonexistent"), "{line}");
    }
    assert_eq!(exporter.get("/-/healthy").status, 200);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_port_in_use_is_exit_code_1_and_one_line() {
    let _room = Room::enter();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let flag = format!("--web.listen-address={address}");
    let ended = Exporter::launch().arguments(&[&flag]).run();
    assert_eq!(ended.code, Some(1), "{}", ended.log);
    let told: Vec<_> = ended
        .log
        .lines()
        .filter(|line| line.contains(&address))
        .collect();
    assert_eq!(told.len(), 1, "{}", ended.log);
    assert!(told[0].to_lowercase().contains("in use"), "{}", told[0]);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn malformed_flags_are_exit_code_2_and_one_line() {
    let _room = Room::enter();
    for flags in [
        &["--no-such-flag"][..],
        &["--web.listen-address=nonsense"],
        &["--web.listen-address=127.0.0.1:99999"],
        &["--web.telemetry-path=no-slash"],
        &["--collector.drops.max-entries=-1"],
        &["--collector.drops.max-entries=0"],
        &["--collector.drops.max-series=many"],
        &["--collector.link.device-include=("],
        &[
            "--collector.link.device-include=a",
            "--collector.link.device-exclude=b",
        ],
        &["--log.level=shouting"],
        &["stray"],
    ] {
        let ended = Exporter::launch().arguments(flags).run();
        assert_eq!(ended.code, Some(2), "{flags:?}: {}", ended.log);
        let lines = ended
            .log
            .lines()
            .filter(|line| !line.trim().is_empty())
            .count();
        assert_eq!(lines, 1, "{flags:?}: {}", ended.log);
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn sigterm_and_sigint_are_exit_code_0() {
    let _room = Room::enter();
    for signal in [Signal::TERM, Signal::INT] {
        let exporter = Exporter::start(&[]);
        assert_eq!(exporter.complaints(), Vec::<String>::new());
        let ended = exporter.stop_by(signal);
        assert_eq!(ended.code, Some(0), "{signal:?}: {}", ended.log);
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn no_other_signal_that_ends_processes_ends_it() {
    let _room = Room::enter();
    let exporter = Exporter::start(&["--log.level=debug"]);
    let signals = [
        "HUP", "USR1", "USR2", "ALRM", "VTALRM", "PROF", "IO", "PWR", "STKFLT", "PIPE", "RTMIN",
        "RTMIN+30",
    ];
    for signal in signals {
        netns::run(&["kill", "-s", signal, &exporter.pid().to_string()]);
    }
    exporter.wait_for_log("ignoring SIGHUP: flags hold until a restart");
    exporter.scrape();
    assert_eq!(exporter.complaints(), Vec::<String>::new());
    assert_eq!(exporter.stop().code, Some(0));
}
