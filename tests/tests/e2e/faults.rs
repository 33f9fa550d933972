//! A drain whose system calls fail loses nothing, wherever they fail; a start whose calls fail is one clear line.
//!
//! The calls of the exporter as it is fail by strace(1), in the kernel's stead.

use std::collections::BTreeSet;

use netdrop_tests::ledger::{assert_all_there, causes, never_backwards};
use netdrop_tests::macvlans::Macvlans;
use netdrop_tests::send::{self, two_cpus, under_flood};
use netdrop_tests::strace::{self, Call, Fault, Strace};
use netdrop_tests::{Exporter, Flood, Metrics, Pair, Room, Witness};
use tempfile::tempdir;

/// More than the 256 elements that a drain asks for at a time (`exporter/src/kernel/maps/hash.rs`), so that it
/// takes several batches.
const DEVICES: usize = 300;
/// Under each flood.
const SCRAPES: usize = 40;
/// How often a fault may miss its aim: the exporter also drains every 5 s by itself, and then finds the maps
/// empty when the test makes it drain.
const ATTEMPTS: usize = 5;

/// A host with few keys to drop packets at, or many.
struct Scene {
    pair: Pair,
    many: Macvlans,
    witness: Witness,
    dropped: u64,
    causes: BTreeSet<(String, String)>,
    scrapes: Vec<Metrics>,
}

/// Which keys a drain finds.
#[derive(Clone, Copy, PartialEq)]
enum Keys {
    Few,
    Many,
}

impl Scene {
    fn new() -> Self {
        let pair = Pair::new();
        Self {
            many: Macvlans::without_carrier(&pair.host, &pair.peer, DEVICES),
            pair,
            witness: Witness::of_protocol(send::ETHERTYPE),
            dropped: 0,
            causes: BTreeSet::new(),
            scrapes: Vec::new(),
        }
    }

    fn drop_packets(&mut self, keys: Keys) {
        self.dropped += match keys {
            Keys::Few => {
                let flood = Flood::over(&self.pair.veth.b, 500);
                self.pair.peer.enter(|| flood.send())
            }
            Keys::Many => self.many.drop_frames(&self.many.names, 2),
        };
        self.wait_for_witness();
    }

    fn wait_for_witness(&mut self) {
        self.witness.expect(self.dropped);
        // Now, because a flood will overwrite what the witness knows of those before it.
        self.causes.append(&mut causes(&self.witness));
    }

    /// Scrapes, and asserts that the drop collector succeeds or does not.
    fn scrape(&mut self, succeeds: bool) {
        self.take(self.pair.exporter.scrape(), succeeds);
    }

    fn take(&mut self, metrics: Metrics, succeeds: bool) {
        assert_eq!(metrics.success("drops"), Some(succeeds));
        self.scrapes.push(metrics);
    }

    /// Scrapes while two CPUs drop packets, whatever becomes of the scrapes.
    fn scrape_under_flood(&mut self) {
        let (sent, mut scrapes) =
            under_flood(&self.pair.peer, &self.pair.veth.b, &two_cpus(), |_| {
                (0..SCRAPES).map(|_| self.pair.exporter.scrape()).collect()
            });
        self.scrapes.append(&mut scrapes);
        self.dropped += sent;
        self.wait_for_witness();
    }

    /// Asserts that the last scrape has every frame once.
    fn assert_exact(&self) {
        let last = self.scrapes.last().unwrap();
        assert_all_there(last, &self.causes, &self.witness);
    }
}

/// One call of a drain. They come in this order: swap, wait, function names, cells (read and
/// cleared), batches of drops, device names, paths of cgroups, unattributed packets.
struct Step {
    number: usize,
    keys: Keys,
    /// How it begins, so that a fault that missed it is noticed.
    call: &'static str,
}

const UPDATE: &str = "BPF_MAP_UPDATE_ELEM";
const FIRST_BATCH: &str = "BPF_MAP_LOOKUP_AND_DELETE_BATCH, {batch={in_batch=NULL";
const LATER_BATCH: &str = "BPF_MAP_LOOKUP_AND_DELETE_BATCH, {batch={in_batch=0x";
const LOOKUP: &str = "BPF_MAP_LOOKUP_ELEM";

const STEPS: [Step; 10] = [
    Step::new(1, Keys::Few, UPDATE),
    Step::new(2, Keys::Few, UPDATE),
    Step::new(3, Keys::Few, FIRST_BATCH),
    Step::new(4, Keys::Few, LOOKUP),
    Step::new(5, Keys::Few, UPDATE),
    Step::new(6, Keys::Many, FIRST_BATCH),
    Step::new(7, Keys::Many, LATER_BATCH),
    Step::new(7, Keys::Few, FIRST_BATCH),
    Step::new(8, Keys::Few, FIRST_BATCH),
    Step::new(9, Keys::Few, LOOKUP),
];

impl Step {
    const fn new(number: usize, keys: Keys, call: &'static str) -> Self {
        Self { number, keys, call }
    }

    /// Whether the first call that failed was this step of the thread's first drain.
    fn was_hit(&self, calls: &[Call]) -> bool {
        let Some(failed) = calls.iter().position(|call| call.injected) else {
            return false;
        };
        let same = |call: &&Call| call.thread == calls[failed].thread;
        let first = calls.iter().find(same).unwrap();
        first.text.starts_with(UPDATE) && calls[failed].text.starts_with(self.call)
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_drain_that_fails_at_any_step_loses_nothing_and_the_next_one_goes_on() {
    let _room = Room::enter();
    let mut scene = Scene::new();
    for step in &STEPS {
        let fault = Fault {
            call: "bpf",
            error: "ENOMEM",
            first: step.number,
            every: Some(1),
        };
        let aimed = (0..ATTEMPTS).any(|_| {
            scene.drop_packets(step.keys);
            let strace = Strace::attach(scene.pair.exporter.pid(), Some(fault));
            scene.scrape(false);
            scene.drop_packets(Keys::Few);
            scene.scrape(false);
            let calls = strace.detach();
            scene.scrape(true);
            scene.assert_exact();
            step.was_hit(&calls)
        });
        assert!(aimed, "no fault hit call {} of a drain", step.number);
    }
    never_backwards(&scene.scrapes);

    let last = scene.scrapes.last().unwrap();
    for device in &scene.many.names {
        let packets = last.sum("netdrop_dropped_packets_total", &[("device", device)]);
        assert!(
            packets >= 2.0 && packets % 2.0 == 0.0,
            "{packets} at {device}"
        );
    }
    for step in [
        "swap the maps",
        "wait for the program",
        "read the function names",
        "read the cells",
        "read the map of drops",
    ] {
        scene.pair.exporter.wait_for_log(step);
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn calls_that_fail_now_and_then_under_a_flood_lose_nothing() {
    let _room = Room::enter();
    let mut scene = Scene::new();
    // Steps that share no factor with the number of a drain's calls, so that all of them have their turn.
    for (error, every) in [
        ("ENOMEM", 13),
        ("EINVAL", 20),
        ("ENOSPC", 10),
        ("EAGAIN", 23),
    ] {
        let fault = Fault {
            call: "bpf",
            error,
            first: 1,
            every: Some(every),
        };
        scene.drop_packets(Keys::Many);
        let strace = Strace::attach(scene.pair.exporter.pid(), Some(fault));
        scene.scrape_under_flood();
        let calls = strace.detach();
        let failed = calls.iter().filter(|call| call.injected).count();
        println!("{failed} of {} calls failed with {error}", calls.len());
        assert!(failed >= 10, "only {failed} calls failed with {error}");
        scene.scrape(true);
        scene.assert_exact();
    }
    let grown = never_backwards(&scene.scrapes);
    assert!(grown >= 2 * SCRAPES, "only {grown} scrapes had more drops");
}

/// Steps of the start: how the call begins, what is in it, and what the log must say when it fails.
const START: [(&str, &str, &str); 6] = [
    ("BPF_MAP_CREATE", "PERCPU_HASH", "create the BPF maps"),
    (
        "BPF_MAP_CREATE",
        // The program's own array is larger.
        "PERCPU_ARRAY, key_size=4, value_size=8, max_entries=1,",
        "create the map that counts the CPUs",
    ),
    (
        "BPF_OBJ_GET_INFO_BY_FD",
        "",
        "map DROPS_A: ask the kernel about it",
    ),
    ("BPF_PROG_LOAD", "_TRACING", "load the BPF program"),
    (
        "BPF_RAW_TRACEPOINT_OPEN",
        "",
        "attach to the tracepoint kfree_skb",
    ),
    (
        "BPF_MAP_CREATE",
        "ARRAY_OF_MAPS",
        "create the map that waits for the program",
    ),
];

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_start_that_fails_at_any_step_is_one_line_and_the_rest_goes_on() {
    let _room = Room::enter();
    let (calls, complaints) = strace::calls_of_a_start();
    assert_eq!(complaints, Vec::<String>::new());
    for (begin, part, says) in START {
        let is = |call: &Call| call.text.starts_with(begin) && call.text.contains(part);
        let number = calls.iter().position(is);
        let number = number.unwrap_or_else(|| panic!("no call to {says:?}")) + 1;
        for (error, text) in [
            ("EPERM", "Operation not permitted"),
            ("ENOMEM", "Cannot allocate memory"),
        ] {
            let fault = Fault {
                call: "bpf",
                error,
                first: number,
                every: Some(1),
            };
            let complaint = complaint_of_a_start_with(fault);
            assert!(complaint.contains("cannot count drops"), "{complaint}");
            for words in [says, text] {
                let told = complaint.matches(words).count();
                assert_eq!(told, 1, "{words:?}: {complaint}");
            }
        }
    }
}

/// The one line of a start whose calls fail, when everything else is as it should be.
fn complaint_of_a_start_with(fault: Fault) -> String {
    let directory = tempdir().unwrap();
    let wrapper = strace::wrapper(&directory.path().join("calls"), Some(fault));
    let exporter = Exporter::launch().wrapper(&wrapper).start();
    assert_eq!(exporter.get("/-/healthy").status, 200);
    for _ in 0..3 {
        let metrics = exporter.scrape();
        assert_eq!(metrics.success("drops"), Some(false));
        assert_eq!(metrics.success("process"), Some(true));
        let counters = [
            "netdrop_dropped",
            "netdrop_category",
            "netdrop_unattributed",
        ];
        let counts = |name: &str| counters.iter().any(|counter| name.starts_with(counter));
        assert!(!metrics.samples.iter().any(|sample| counts(&sample.name)));
    }
    println!("{fault:?}");
    let complaints = exporter.complaints_of(1);
    let ended = exporter.stop();
    assert_eq!(ended.code, Some(0));
    // The log has nothing but whole lines of the logger: no dump of anything beside the one line.
    let mut lines = ended.log.lines();
    assert!(lines.all(|line| line.starts_with('[')), "{}", ended.log);
    complaints.into_iter().next().unwrap()
}
