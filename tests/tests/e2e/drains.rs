//! The maps are swapped all the time under load, and as seldom as can be for many who ask at once.

use std::env;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use netdrop_tests::counters::{assert_all_there, causes, never_backwards, wait_for_drops};
use netdrop_tests::netns::Veth;
use netdrop_tests::pressure::under_flood;
use netdrop_tests::strace::Strace;
use netdrop_tests::{Exporter, Flood, Metrics, Namespace, Room, Witness, send};

const DROPPED: &str = "netdrop_dropped_packets_total";

/// Drains under the flood at least, and where a flood ends that does not come to that.
const DRAINS: usize = 100;
const PATIENCE: Duration = Duration::from_secs(180);

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn drains_back_to_back_under_a_flood_from_two_cpus_lose_nothing_and_count_nothing_twice() {
    let _room = Room::enter();
    let cpus = send::cpus();
    assert!(cpus.len() >= 2, "this test needs two CPUs");
    let (receiver, sender) = (Namespace::new(), Namespace::new());
    let veth = Veth::between(&receiver, &sender);
    let witness = Witness::of_protocol(send::ETHERTYPE);
    let exporter = Exporter::launch().namespace(&receiver).start();

    let frames = frames();
    let begin = Instant::now();
    let (sent, mut scrapes) = under_flood(&sender, &veth.b, |sent| {
        // A request is never answered by a scrape that began before it, so of one client each is a drain.
        let mut scrapes = vec![exporter.scrape()];
        while scrapes.len() <= DRAINS || sent.load(Ordering::Relaxed) < frames {
            assert!(begin.elapsed() < PATIENCE, "{} drains", scrapes.len());
            scrapes.push(exporter.scrape());
        }
        scrapes
    });
    println!(
        "{sent} frames, {} drains, one every {:?}",
        scrapes.len(),
        begin.elapsed() / scrapes.len() as u32
    );

    wait_for_drops(&witness, sent);
    scrapes.push(exporter.scrape());
    assert_all_there(&scrapes[scrapes.len() - 1], &causes(&witness), &witness);
    let grown = never_backwards(&scrapes);
    assert!(grown >= DRAINS / 2, "only {grown} drains moved anything");
}

/// Frames under the flood at least. An emulated machine is asked for fewer.
fn frames() -> u64 {
    match env::var("NETDROP_TEST_FRAMES") {
        Ok(frames) => frames.parse().unwrap(),
        Err(_) => 500_000,
    }
}

/// Clients that ask at once. The exporter serves 64 connections at a time (`exporter/src/web/mod.rs`), and the
/// others wait in the listener's queue.
const CLIENTS: usize = 200;

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn two_hundred_scrapes_at_once_share_a_few_drains_and_each_has_every_drop_before_it() {
    let _room = Room::enter();
    let (here, there) = (Namespace::new(), Namespace::new());
    let veth = Veth::between(&here, &there);
    let witness = Witness::of_protocol(send::ETHERTYPE);
    let exporter = Exporter::launch().namespace(&here).start();
    there.enter(|| Flood::over(&veth.b, 1_000).send());
    wait_for_drops(&witness, 1_000);

    let strace = Strace::attach(exporter.pid(), None);
    let answers: Vec<Metrics> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(|| exporter.scrape()))
            .collect();
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect()
    });
    let calls = strace.detach();

    for metrics in &answers {
        let packets = metrics.value(DROPPED, &[("device", &veth.a)]);
        assert_eq!(packets, Some(1_000.0));
        let success = metrics.value("netdrop_collector_success", &[("collector", "drops")]);
        assert_eq!(success, Some(1.0));
    }
    // A drain updates two maps: it swaps, and waits.
    let updates = calls
        .iter()
        .filter(|call| call.text.starts_with("BPF_MAP_UPDATE_ELEM"))
        .count();
    let drains = updates / 2;
    println!("{drains} drains for {CLIENTS} scrapes");
    assert!(drains >= 1, "the drains were not seen");
    assert!(
        drains <= CLIENTS / 4,
        "{drains} drains for {CLIENTS} scrapes"
    );
}
