//! A drain whose system calls fail loses nothing, wherever they fail; a start whose calls fail is one clear line.
//!
//! The calls of the exporter as it is fail by strace(1), in the kernel's stead.

use std::collections::BTreeSet;

use netdrop_tests::counters::{assert_all_there, causes, never_backwards, wait_for_drops};
use netdrop_tests::macvlans::Macvlans;
use netdrop_tests::netns::Veth;
use netdrop_tests::pressure::under_flood;
use netdrop_tests::strace::{Call, Fault, Strace};
use netdrop_tests::{Exporter, Flood, Metrics, Namespace, Room, Witness, send};

/// More than the 256 elements that a drain asks for at a time (`exporter/src/kernel/maps/hash.rs`), so that it
/// takes several batches.
const DEVICES: usize = 300;
/// Under each flood.
const SCRAPES: usize = 40;
/// How often a fault may miss its aim: the exporter also drains every 5 s by itself, and then finds the maps
/// empty when the test makes it drain.
const ATTEMPTS: usize = 5;

/// Namespaces with few keys to drop packets at, or many, and an exporter in the first.
struct Scene {
    _here: Namespace,
    there: Namespace,
    veth: Veth,
    many: Macvlans,
    witness: Witness,
    exporter: Exporter,
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
        let (here, there) = (Namespace::new(), Namespace::new());
        let veth = Veth::between(&here, &there);
        let many = Macvlans::without_carrier(&here, &there, DEVICES);
        let witness = Witness::of_protocol(send::ETHERTYPE);
        let exporter = Exporter::launch().namespace(&here).start();
        Self {
            _here: here,
            there,
            veth,
            many,
            witness,
            exporter,
            dropped: 0,
            causes: BTreeSet::new(),
            scrapes: Vec::new(),
        }
    }

    fn drop_packets(&mut self, keys: Keys) {
        self.dropped += match keys {
            Keys::Few => self.there.enter(|| Flood::over(&self.veth.b, 500).send()),
            Keys::Many => self.many.drop_frames(2),
        };
        self.wait_for_witness();
    }

    fn wait_for_witness(&mut self) {
        wait_for_drops(&self.witness, self.dropped);
        // Now, because a flood will overwrite what the witness knows of those before it.
        self.causes.append(&mut causes(&self.witness));
    }

    /// Scrapes, and asserts that the drop collector succeeds or does not.
    fn scrape(&mut self, succeeds: bool) {
        self.take(self.exporter.scrape(), succeeds);
    }

    fn take(&mut self, metrics: Metrics, succeeds: bool) {
        let success = metrics.value("netdrop_collector_success", &[("collector", "drops")]);
        assert_eq!(success, Some(f64::from(u8::from(succeeds))));
        self.scrapes.push(metrics);
    }

    /// Scrapes while two CPUs drop packets, whatever becomes of the scrapes.
    fn scrape_under_flood(&mut self) {
        let (sent, mut scrapes) = under_flood(&self.there, &self.veth.b, |_| {
            (0..SCRAPES).map(|_| self.exporter.scrape()).collect()
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

/// One call of a drain. They come in this order: swap, wait, batches of drops, names, unattributed packets.
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

const STEPS: [Step; 6] = [
    Step::new(1, Keys::Few, UPDATE),
    Step::new(2, Keys::Few, UPDATE),
    Step::new(3, Keys::Many, FIRST_BATCH),
    Step::new(4, Keys::Many, LATER_BATCH),
    Step::new(4, Keys::Few, FIRST_BATCH),
    Step::new(5, Keys::Few, LOOKUP),
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
            let strace = Strace::attach(scene.exporter.pid(), Some(fault));
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
    for device in scene.many.names() {
        let packets = last.sum("netdrop_dropped_packets_total", &[("device", device)]);
        assert!(
            packets >= 2.0 && packets % 2.0 == 0.0,
            "{packets} at {device}"
        );
    }
    let complaints = scene.exporter.complaints();
    let told = |step: &str| complaints.iter().any(|line| line.contains(step));
    for step in [
        "swap the maps",
        "wait for the program",
        "read the map of drops",
    ] {
        assert!(told(step), "{step:?} is not in {complaints:#?}");
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn calls_that_fail_now_and_then_under_a_flood_lose_nothing() {
    let _room = Room::enter();
    let mut scene = Scene::new();
    // Steps that share no factor with the number of a drain's calls, so that all of them have their turn.
    for (error, every) in [("ENOMEM", 7), ("EINVAL", 11), ("ENOSPC", 5), ("EAGAIN", 13)] {
        let fault = Fault {
            call: "bpf",
            error,
            first: 1,
            every: Some(every),
        };
        scene.drop_packets(Keys::Many);
        let strace = Strace::attach(scene.exporter.pid(), Some(fault));
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
