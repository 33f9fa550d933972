//! With exactly the capabilities it asks for everything works, without each of them just what is documented is
//! missing, and once it runs it has none.

use std::fs;
use std::path::Path;

use netdrop_tests::launch::Launch;
use netdrop_tests::privileges::{CAP_BPF, Threads, needed_to_read_maps, needed_to_start};
use netdrop_tests::strace::{self, Fault};
use netdrop_tests::{Exporter, Metrics, Pair, Room, links};
use tempfile::tempdir;

const FRAMES: u64 = 300;

/// Where frames of a protocol that nobody wants are dropped, and nothing else.
const FUNCTION: [(&str, &str); 1] = [("function", "__netif_receive_skb_core")];

/// What an exporter says about drops and links beside it.
struct Seen {
    pair: Pair,
    metrics: Metrics,
}

impl Seen {
    fn by(launch: Launch) -> Self {
        let pair = Pair::with(launch);
        pair.drop_frames(FRAMES);
        let metrics = pair.exporter.scrape();
        Self { pair, metrics }
    }

    /// The packets of the device with these labels.
    fn drops(&self, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = [&[("device", self.pair.veth.a.as_str())], labels].concat();
        self.metrics.value("netdrop_dropped_packets_total", &labels)
    }

    fn drops_are_complete(&self) {
        assert_eq!(self.drops(&FUNCTION), Some(FRAMES as f64));
        assert_eq!(self.metrics.success("drops"), Some(true));
    }

    fn links_are_complete(&self) {
        assert_eq!(links::served(&self.metrics), links::kernel(&self.pair.host));
        assert_eq!(self.metrics.success("link"), Some(true));
        assert_eq!(self.metrics.success("process"), Some(true));
    }

    /// The first line of the log: what runs, on which kernel, and what it can see there.
    fn introduced_itself(&self, words: &[&str]) {
        let log = self.pair.exporter.log();
        let first = log.lines().next().unwrap();
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let version = concat!(
            "netdrop-exporter ",
            env!("CARGO_PKG_VERSION"),
            " (revision "
        );
        for words in [version, release.trim()].iter().chain(words) {
            assert!(first.contains(words), "{words:?}: {first}");
        }
    }

    /// In all threads: those that serve, drain, follow links, read ports and write the log.
    fn holds_nothing_more_than_it_must(&self) -> Threads {
        let threads = Threads::of(self.pair.exporter.pid());
        let mut names = threads.names();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "links",
                "log",
                "netdrop-exporte",
                "ports",
                "tokio-rt-worker"
            ]
        );
        let needed = needed_to_read_maps();
        for (set, held) in [
            ("CapPrm", needed),
            ("CapEff", needed),
            ("CapInh", 0),
            ("CapAmb", 0),
        ] {
            assert_eq!(threads.capabilities(set), held, "{set}");
        }
        assert!(threads.values("NoNewPrivs").iter().eq(["1"].iter()));
        threads
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn an_ordinary_user_with_what_it_takes_sees_everything_and_holds_nothing_then() {
    let _room = Room::enter();
    let needed = needed_to_start();
    let launch = Exporter::launch().as_nobody_with(needed);
    let seen = Seen::by(launch);
    seen.drops_are_complete();
    seen.links_are_complete();
    assert_eq!(seen.pair.exporter.complaints(), Vec::<String>::new());
    seen.introduced_itself(&["function names", "started with CAP_PERFMON and CAP_BPF"]);
    let threads = seen.holds_nothing_more_than_it_must();
    let users = threads.values("Uid");
    assert!(users.iter().all(|ids| ids.starts_with("65534\t")));
    // What could be had is limited to these for good: to take more away takes CAP_SETPCAP.
    let limit = threads.capabilities("CapBnd").count_ones();
    assert_eq!(limit as usize, needed.len());
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn capabilities_on_the_binary_do_as_well() {
    let _room = Room::enter();
    let launch = Exporter::launch().as_nobody_with_file(needed_to_start());
    let seen = Seen::by(launch);
    seen.drops_are_complete();
    seen.links_are_complete();
    assert_eq!(seen.pair.exporter.complaints(), Vec::<String>::new());
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn without_one_of_the_two_that_load_the_program_only_the_drops_are_missing() {
    let _room = Room::enter();
    let lacking: [(&str, &[&str]); 2] = [
        ("CAP_BPF is missing", &["perfmon"]),
        ("CAP_PERFMON is missing", &["bpf"]),
    ];
    for (complaint, capabilities) in lacking {
        let seen = Seen::by(Exporter::launch().as_nobody_with(capabilities));
        assert_eq!(seen.metrics.success("drops"), Some(false));
        assert_eq!(seen.drops(&FUNCTION), None);
        seen.links_are_complete();
        seen.introduced_itself(&["sees no drops"]);
        seen.pair
            .exporter
            .complained_once(&["cannot count drops", complaint, "setcap"]);
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn what_root_gave_it_is_given_up_in_every_thread() {
    let _room = Room::enter();
    let seen = Seen::by(Exporter::launch());
    seen.drops_are_complete();
    seen.links_are_complete();
    let threads = seen.holds_nothing_more_than_it_must();
    assert_eq!(threads.capabilities("CapBnd"), 0);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn where_the_kernel_wants_a_capability_to_read_maps_that_one_is_kept() {
    let _room = Room::enter();
    let directory = tempdir().unwrap();
    let log = directory.path().join("calls");
    // The last call of the start is the one that tries.
    let (calls, _) = strace::calls_of_a_start();
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
        .wrapper(&strace::wrapper(&log, Some(refused)))
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

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn an_exporter_that_cannot_give_up_its_capabilities_does_not_serve() {
    let _room = Room::enter();
    // What the sandbox refuses, and what is left by it.
    for (call, error, left) in [
        ("prctl", "EPERM", "cannot check what is given up"),
        ("prctl", "EINVAL", "cannot check what is given up"),
        // Some of the calls that empty the bounding set, and none that read it.
        ("prctl", "EPERM:when=50..60", "the bounding set"),
        ("capset", "EPERM", "the effective set"),
        ("capget", "EPERM", "cannot read capabilities"),
    ] {
        let directory = tempdir().unwrap();
        let log = directory.path().join("calls");
        let launch = Exporter::launch().wrapper(&refusing(call, error, &log));
        let ended = launch.run();
        assert_eq!(ended.code, Some(1), "{call}: {error}: {}", ended.log);
        let complaints: Vec<_> = ended.log.lines().filter(|l| l.contains("ERROR")).collect();
        assert_eq!(complaints.len(), 1, "{}", ended.log);
        for words in [left, "seccomp"] {
            assert!(
                complaints[0].contains(words),
                "{call}: {error}: {complaints:?}"
            );
        }
        assert!(!ended.log.contains("listening"), "{}", ended.log);
        if call == "prctl" {
            // The other sets are emptied all the same.
            let calls = fs::read_to_string(&log).unwrap();
            let last = calls
                .lines()
                .rfind(|line| line.contains("capset("))
                .unwrap();
            let emptied = "effective=0, permitted=0, inheritable=0}) = 0";
            assert!(last.ends_with(emptied), "{last}");
        }
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn who_has_nothing_to_give_up_needs_no_permission_for_it() {
    let _room = Room::enter();
    let directory = tempdir().unwrap();
    let log = directory.path().join("calls");
    // setpriv(1) makes three such calls before.
    let refusing = refusing("capset", "EPERM:when=4+", &log);
    let exporter = Exporter::launch().wrapper(&refusing).as_nobody().start();
    assert_eq!(Threads::of(exporter.pid()).capabilities("CapEff"), 0);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn an_unconfined_start_is_said_and_gains_no_privileges_all_the_same() {
    let _room = Room::enter();
    for (error, says, complaints) in [
        ("ENOSYS", "it needs Linux 5.13", 0),
        ("EOPNOTSUPP", "add landlock to lsm=", 0),
        ("EPERM", "seccomp profile", 1),
    ] {
        let directory = tempdir().unwrap();
        let log = directory.path().join("calls");
        let refusing = refusing("landlock_create_ruleset", error, &log);
        let exporter = Exporter::launch().wrapper(&refusing).start();
        let told = exporter.log();
        let told: Vec<_> = told
            .lines()
            .filter(|line| line.contains("file accesses are not confined"))
            .collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains(says), "{told:?}");
        exporter.complaints_of(complaints);
        let threads = Threads::of(exporter.pid());
        assert!(threads.values("NoNewPrivs").iter().eq(["1"].iter()));
    }
}

/// The command to start the exporter with, where each `call` fails with `error`. strace's own calls are
/// not concerned.
fn refusing(call: &str, error: &str, log: &Path) -> Vec<String> {
    [
        "strace".to_owned(),
        "--daemonize".to_owned(),
        "--follow-forks".to_owned(),
        format!("--output={}", log.display()),
        format!("--trace={call},capset"),
        format!("--inject={call}:error={error}"),
    ]
    .into()
}
