//! Devices and namespaces are created, renamed and deleted while packets fall, and every packet is counted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use netdrop_tests::churn::{mortal_veth, rename};
use netdrop_tests::netns::Veth;
use netdrop_tests::wait::SOON;
use netdrop_tests::{Exporter, Flood, Ledger, Namespace, Room, Witness, send, wait_until};

const DROPPED: &str = "netdrop_dropped_packets_total";
/// How often devices come and go in a test.
const ROUNDS: usize = 12;
/// Frames that each of them sends under each of its peer's names.
const GREETING: u64 = 50;
/// No flood sends more, however slow the machine is with what goes on beside it.
const MOST_FRAMES: u64 = 20_000_000;

/// Sends frames over `device` of `from` on the last CPU while `work` runs; returns how many.
fn while_flooding(from: &Namespace, device: &str, work: impl FnOnce()) -> u64 {
    // Closing the socket after each burst takes longer than the burst, unless it is long.
    const BURST: u64 = 20_000;
    let working = AtomicBool::new(true);
    thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let burst = Flood {
                cpu: send::cpus().last().copied(),
                ..Flood::over(device, BURST)
            };
            from.enter(|| {
                let mut sent = 0;
                while working.load(Ordering::Relaxed) && sent < MOST_FRAMES {
                    sent += burst.send();
                }
                sent
            })
        });
        // Also after a panic, or the scope would wait for the flood.
        let end = OnDrop(|| working.store(false, Ordering::Relaxed));
        work();
        drop(end);
        flood.join().unwrap()
    })
}

struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        self.0();
    }
}

/// A namespace joins, its device drops under two names, and the namespace ends under fire.
fn one_life(host: &Namespace, round: usize) {
    let (first, second) = (format!("born{round}"), format!("grown{round}"));
    let short_lived = Namespace::new();
    mortal_veth(host, &first, &short_lived, "inside");
    short_lived.enter(|| Flood::over("inside", GREETING).send());
    rename(host, &first, &second);
    short_lived.enter(|| Flood::over("inside", GREETING).send());
    thread::scope(|scope| {
        let fire =
            scope.spawn(|| host.enter(|| Flood::over(&second, MOST_FRAMES).send_until_gone()));
        let inside = ["cat", "/sys/class/net/inside/statistics/rx_packets"];
        wait_until("packets fall in the namespace", SOON, || {
            short_lived.exec(&inside).trim().parse::<u64>().unwrap() >= 1_000
        });
        drop(short_lived);
        assert!(
            fire.join().unwrap() < MOST_FRAMES,
            "nothing ended the flood"
        );
    });
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn devices_and_namespaces_that_come_and_go_under_fire_take_no_count_with_them() {
    let _room = Room::enter();
    for flags in [&[][..], &["--collector.drops.all-netns"]] {
        let (host, peer) = (Namespace::new(), Namespace::new());
        let veth = Veth::between(&host, &peer);
        let exporter = Exporter::launch().namespace(&host).arguments(flags).start();
        let ledger = Ledger::open(&exporter);
        let steady = while_flooding(&peer, &veth.b, || {
            for round in 0..ROUNDS {
                one_life(&host, round);
                // So that some drains fall into the lives, too.
                exporter.scrape();
            }
        });
        let metrics = ledger.balance();
        assert!(ledger.seen() > steady);
        println!("{steady} frames beside the churn");
        let reason = ("reason", "UNHANDLED_PROTO");
        let counted =
            |device: &str| metrics.sum(DROPPED, &[reason, ("device", device), ("netns", "host")]);
        let born: f64 = (0..ROUNDS)
            .map(|round| counted(&format!("born{round}")))
            .sum();
        let grown: f64 = (0..ROUNDS)
            .map(|round| counted(&format!("grown{round}")))
            .sum();
        ledger.assert_part(&metrics, born, ROUNDS as u64 * GREETING);
        ledger.assert_part(&metrics, grown, ROUNDS as u64 * GREETING);
        ledger.assert_part(&metrics, counted(&veth.a), steady);
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_device_renamed_under_fire_counts_each_packet_under_one_of_its_names() {
    const NAMES: [&str; 2] = ["steady-name0", "steady-name1"];
    let _room = Room::enter();
    let (host, peer) = (Namespace::new(), Namespace::new());
    let mut veth = Veth::named(&host, NAMES[0], &peer, "far", None);
    let exporter = Exporter::launch().namespace(&host).start();
    let ledger = Ledger::open(&exporter);
    let witness = Witness::of_protocol(send::ETHERTYPE);
    let sent = while_flooding(&peer, "far", || {
        for _ in 0..100 {
            rename(&host, NAMES[0], NAMES[1]);
            rename(&host, NAMES[1], NAMES[0]);
        }
        rename(&host, NAMES[0], NAMES[1]);
        veth.a = NAMES[1].to_owned();
    });
    witness.expect(sent);
    let metrics = ledger.balance();
    let counted = NAMES.map(|name| metrics.sum(DROPPED, &[("device", name), ("netns", "host")]));
    println!("{counted:?} of {sent}");
    assert!(counted[0] > 0.0 && counted[1] > 0.0);
    let nested = metrics.sum("netdrop_unattributed_packets_total", &[]);
    witness.assert_all_seen(counted[0] + counted[1] + nested);
    let reason = witness.only_kind().reason;
    let here = metrics.sum(DROPPED, &[("netns", "host"), ("reason", &reason)]);
    assert_eq!(here, counted[0] + counted[1], "another name");
}
