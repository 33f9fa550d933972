//! The counter that each CPU has in front of the hash maps: whatever the order of keys, each key has its own packets
//! and bytes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use netdrop_tests::wait::{SOON, StopOnDrop, poll_for};
use netdrop_tests::{Exporter, Metrics, Pair, Room, packet, send};

const DROPPED: &str = "netdrop_dropped_packets_total";
const BYTES: &str = "netdrop_dropped_bytes_total";

/// Frames that are sent at once, so that none waits for a full backlog (`net.core.netdev_max_backlog`, 1000).
const AT_ONCE: usize = 500;
/// How often, for each pattern.
const TIMES: usize = 12;

/// Orders in which kinds of frames come, again and again.
const PATTERNS: [&[usize]; 8] = [
    &[0],
    &[0, 1],
    &[0, 0, 1],
    &[0, 0, 1, 1],
    &[0, 1, 1, 0, 2],
    &[0, 0, 0, 1, 2, 2],
    &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    &[3, 3, 3, 3, 3, 3, 3, 3, 9, 8, 7],
];

/// Reason and function.
type Kind = (String, String);
/// Packets and bytes of each kind.
type Counts = BTreeMap<Kind, (u64, u64)>;

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn each_key_has_its_packets_and_bytes_in_whatever_order_they_come() {
    let _room = Room::enter();
    let pair = Pair::with(Exporter::launch().arguments(&["--collector.drops.bytes"]));
    let frames = packet::of_every_kind();
    let mut expected = Counts::new();
    let kinds: Vec<_> = frames
        .iter()
        .map(|frame| learn(&pair, &mut expected, frame))
        .collect();
    assert!(expected.len() >= 3, "{expected:?}");

    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        // Drains in the middle of a pattern.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                pair.exporter.scrape_text();
                thread::sleep(Duration::from_millis(10));
            }
        });
        let _stop = StopOnDrop(&done);
        for pattern in PATTERNS {
            let order: Vec<_> = pattern.iter().cycle().take(AT_ONCE).copied().collect();
            let sent: Vec<_> = order.iter().map(|&kind| frames[kind].clone()).collect();
            // On both CPUs in turn, so that each has another key in its cell when the maps are read.
            for cpu in send::two_cpus().into_iter().cycle().take(TIMES) {
                pair.peer.enter(|| {
                    send::pin_to(cpu);
                    send::send_frames(&pair.veth.b, &sent);
                });
                for &kind in &order {
                    let (kind, bytes) = &kinds[kind];
                    let count = expected.entry(kind.clone()).or_default();
                    *count = (count.0 + 1, count.1 + bytes);
                }
                expect(&pair, &expected);
            }
        }
    });
}

/// Sends one frame, and tells what it is and how long.
fn learn(pair: &Pair, so_far: &mut Counts, frame: &[u8]) -> (Kind, u64) {
    pair.peer
        .enter(|| send::send_frames(&pair.veth.b, &[frame.to_vec()]));
    let found = poll_for("the frame is counted", SOON, || {
        let now = counts(&pair.exporter.scrape(), &pair.veth.a);
        (now != *so_far).then_some(now)
    });
    let mut changed = found
        .iter()
        .filter(|(kind, count)| so_far.get(*kind) != Some(*count));
    let (kind, (packets, bytes)) = changed.next().unwrap();
    let before = so_far.get(kind).copied().unwrap_or_default();
    let learnt = (kind.clone(), bytes - before.1);
    assert_eq!((*packets, changed.next()), (before.0 + 1, None));
    *so_far = found;
    learnt
}

/// Waits until all are counted, and asserts that each is counted as what it is.
fn expect(pair: &Pair, expected: &Counts) {
    let packets = |counts: &Counts| -> u64 { counts.values().map(|count| count.0).sum() };
    let sent = packets(expected);
    let found = poll_for("all frames are counted", SOON, || {
        let counts = counts(&pair.exporter.scrape(), &pair.veth.a);
        (packets(&counts) >= sent).then_some(counts)
    });
    assert_eq!(found, *expected);
}

fn counts(metrics: &Metrics, device: &str) -> Counts {
    let mut counts = Counts::new();
    for name in [DROPPED, BYTES] {
        for sample in metrics.series(name, &[("device", device)]) {
            let label = |name: &str| sample.labels[name].clone();
            let count = counts
                .entry((label("reason"), label("function")))
                .or_default();
            match name {
                DROPPED => count.0 += sample.value as u64,
                _ => count.1 += sample.value as u64,
            }
        }
    }
    counts
}
