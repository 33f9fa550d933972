//! With exactly the capabilities it asks for everything works, without each of them just what is documented is
//! missing, and once it runs it has none.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed step of a test ends the test, with the step's name"
)]

use netdrop_tests::launch::Launch;
use netdrop_tests::netns::Veth;
use netdrop_tests::privileges::{CAP_BPF, SETS, Threads};
use netdrop_tests::strace::{self, Fault};
use netdrop_tests::wait::SOON;
use netdrop_tests::{Exporter, Flood, Metrics, Namespace, Room, Witness, links, send, wait_until};
use tempfile::tempdir;

const FRAMES: u64 = 300;

/// What an exporter says about drops and links beside it.
struct Seen {
    exporter: Exporter,
    metrics: Metrics,
    device: String,
    here: Namespace,
    _veth: Veth,
}

impl Seen {
    fn by(launch: Launch) -> Self {
        let (here, there) = (Namespace::new(), Namespace::new());
        let veth = Veth::between(&here, &there);
        let exporter = launch.namespace(&here).start();
        let witness = Witness::of_protocol(send::ETHERTYPE);
        there.enter(|| Flood::over(&veth.b, FRAMES).send());
        wait_until("the witness has seen every frame", SOON, || {
            witness.count() == FRAMES
        });
        Self {
            metrics: exporter.scrape(),
            device: veth.a.clone(),
            exporter,
            here,
            _veth: veth,
        }
    }

    fn success(&self, collector: &str) -> Option<f64> {
        let label = [("collector", collector)];
        self.metrics.value("netdrop_collector_success", &label)
    }

    /// The packets of the device that were counted under this function.
    fn drops(&self, function: &str) -> Option<f64> {
        let labels = [
            ("device", self.device.as_str()),
            ("function", function),
            ("reason", "UNHANDLED_PROTO"),
        ];
        self.metrics.value("netdrop_dropped_packets_total", &labels)
    }

    fn drops_are_complete(&self) {
        assert_eq!(self.drops("__netif_receive_skb_core"), Some(FRAMES as f64));
        assert_eq!(self.success("drops"), Some(1.0));
    }

    fn links_are_complete(&self) {
        assert_eq!(links::served(&self.metrics), links::kernel(&self.here));
        assert_eq!(self.success("link"), Some(1.0));
        assert_eq!(self.success("process"), Some(1.0));
    }

    fn complained_once(&self, words: &[&str]) {
        let complaints = self.exporter.complaints();
        assert_eq!(complaints.len(), 1, "not one line: {complaints:#?}");
        for word in words {
            assert!(complaints[0].contains(word), "no {word:?}: {complaints:?}");
        }
    }

    /// Neither the thread that serves nor those that drain and follow links can do anything special.
    fn holds_nothing(&self) {
        let threads = Threads::of(self.exporter.pid());
        let mut names = threads.names();
        names.sort_unstable();
        assert_eq!(names, ["links", "netdrop-exporte", "tokio-rt-worker"]);
        for set in SETS {
            assert_eq!(threads.capabilities(set), 0, "{set}");
        }
        assert!(threads.values("NoNewPrivs").iter().eq(["1"].iter()));
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn an_ordinary_user_with_three_capabilities_sees_everything_and_ends_with_none() {
    let _room = Room::enter();
    let launch = Exporter::launch().as_nobody_with(&["bpf", "perfmon", "syslog"]);
    let seen = Seen::by(launch);
    seen.drops_are_complete();
    seen.links_are_complete();
    assert_eq!(seen.exporter.complaints(), Vec::<String>::new());
    let threads = Threads::of(seen.exporter.pid());
    assert_eq!(
        threads.values("Uid").first().unwrap().split('\t').next(),
        Some("65534")
    );
    // What could be had is limited to the three for good: to take more away takes CAP_SETPCAP.
    assert_eq!(threads.capabilities("CapBnd").count_ones(), 3);
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(threads.capabilities(set), 0, "{set}");
    }
    assert!(threads.values("NoNewPrivs").iter().eq(["1"].iter()));
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn capabilities_on_the_binary_do_as_well() {
    let _room = Room::enter();
    let launch = Exporter::launch().as_nobody_with_file(&["bpf", "perfmon", "syslog"]);
    let seen = Seen::by(launch);
    seen.drops_are_complete();
    seen.links_are_complete();
    assert_eq!(seen.exporter.complaints(), Vec::<String>::new());
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn without_one_of_the_two_that_load_the_program_only_the_drops_are_missing() {
    let _room = Room::enter();
    let lacking: [(&str, &[&str]); 2] = [
        ("CAP_BPF is missing", &["perfmon", "syslog"]),
        ("CAP_PERFMON is missing", &["bpf", "syslog"]),
    ];
    for (complaint, capabilities) in lacking {
        let seen = Seen::by(Exporter::launch().as_nobody_with(capabilities));
        assert_eq!(seen.success("drops"), Some(0.0));
        assert_eq!(seen.drops("__netif_receive_skb_core"), None);
        seen.links_are_complete();
        seen.complained_once(&["cannot count drops", complaint, "setcap"]);
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn without_the_one_that_shows_kernel_symbols_only_the_functions_are_missing() {
    let _room = Room::enter();
    let seen = Seen::by(Exporter::launch().as_nobody_with(&["bpf", "perfmon"]));
    assert_eq!(seen.drops(""), Some(FRAMES as f64));
    assert_eq!(seen.success("drops"), Some(1.0));
    seen.links_are_complete();
    seen.complained_once(&["function=\"\"", "CAP_SYSLOG is missing"]);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn what_root_gave_it_is_given_up_in_every_thread() {
    let _room = Room::enter();
    let seen = Seen::by(Exporter::launch());
    seen.drops_are_complete();
    seen.links_are_complete();
    seen.holds_nothing();
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn where_the_kernel_wants_a_capability_to_read_maps_that_one_is_kept() {
    let _room = Room::enter();
    let directory = tempdir().unwrap();
    let log = directory.path().join("calls");
    // The last call of the start is the one that tries.
    let before = Exporter::launch()
        .wrapper(&words(&strace::wrapper(&log, None)))
        .start();
    let main = before.pid();
    assert_eq!(before.stop().code, Some(0));
    let mut calls = strace::calls_until_end(&log);
    calls.retain(|call| call.thread == main);
    let last = calls.last().unwrap();
    assert!(last.text.starts_with("BPF_MAP_LOOKUP_ELEM"), "{last:?}");
    // An unprivileged bpf() of Linux 5.10 with kernel.unprivileged_bpf_disabled=1 fails so.
    let refused = Fault {
        call: "bpf",
        error: "EPERM",
        first: calls.len() - 1,
        every: None,
    };
    let exporter = Exporter::launch()
        .wrapper(&words(&strace::wrapper(&log, Some(refused))))
        .start();
    exporter.scrape();
    let threads = Threads::of(exporter.pid());
    for (set, held) in [
        ("CapEff", CAP_BPF),
        ("CapPrm", CAP_BPF),
        ("CapInh", 0),
        ("CapAmb", 0),
        ("CapBnd", 0),
    ] {
        assert_eq!(threads.capabilities(set), held, "{set}");
    }
    assert_eq!(exporter.complaints(), Vec::<String>::new());
}

fn words(command: &[String]) -> Vec<&str> {
    command.iter().map(String::as_str).collect()
}
