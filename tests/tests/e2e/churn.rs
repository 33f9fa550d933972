//! Devices and namespaces are created, renamed and deleted while packets fall, and every packet is counted.

use std::thread;

use netdrop_tests::netns::{Veth, mortal_veth, rename};
use netdrop_tests::send::{self, two_cpus, under_flood};
use netdrop_tests::wait::SOON;
use netdrop_tests::{Exporter, Flood, Ledger, Namespace, Pair, Room, Witness, wait_until};

const DROPPED: &str = "netdrop_dropped_packets_total";
/// How often devices come and go in a test.
const ROUNDS: usize = 12;
/// Frames that each of them sends under each of its peer's names.
const GREETING: u64 = 50;
/// No flood sends more, however slow the machine is with what goes on beside it.
const MOST_FRAMES: u64 = 20_000_000;

/// A namespace joins, its device drops under two names, and the namespace ends under fire.
fn one_life(host: &Namespace, round: usize) {
    let (first, second) = (format!("born{round}"), format!("grown{round}"));
    let short_lived = Namespace::new();
    mortal_veth(host, &first, &short_lived, "inside");
    short_lived.enter(|| Flood::over("inside", GREETING).send());
    rename(host, &first, &second);
    short_lived.enter(|| Flood::over("inside", GREETING).send());
    let flood = Flood::over(&second, MOST_FRAMES);
    thread::scope(|scope| {
        let fire = scope.spawn(|| host.enter(|| flood.send_until_gone()));
        let inside = ["cat", "/sys/class/net/inside/statistics/rx_packets"];
        wait_until("packets fall in the namespace", SOON, || {
            short_lived.exec(&inside).trim().parse::<u64>().unwrap() >= 1_000
        });
        drop(short_lived);
        let sent = fire.join().unwrap();
        assert!(sent < MOST_FRAMES, "nothing ended the flood");
    });
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn devices_and_namespaces_that_come_and_go_under_fire_take_no_count_with_them() {
    let _room = Room::enter();
    for flags in [&[][..], &["--collector.drops.all-netns"]] {
        let pair = Pair::with(Exporter::launch().arguments(flags));
        let ledger = Ledger::open(&pair.exporter);
        // The other CPU is for what comes and goes.
        let (steady, ()) = under_flood(&pair.peer, &pair.veth.b, &two_cpus()[1..], |_| {
            for round in 0..ROUNDS {
                one_life(&pair.host, round);
                // So that some drains fall into the lives, too.
                pair.exporter.scrape();
            }
        });
        let metrics = ledger.balance();
        assert!(ledger.seen() > steady);
        println!("{steady} frames beside the churn");
        let reason = ("reason", "UNHANDLED_PROTO");
        let counted =
            |device: &str| metrics.sum(DROPPED, &[reason, ("device", device), ("netns", "host")]);
        for name in ["born", "grown"] {
            let all = (0..ROUNDS).map(|round| counted(&format!("{name}{round}")));
            ledger.assert_part(&metrics, all.sum(), ROUNDS as u64 * GREETING);
        }
        ledger.assert_part(&metrics, counted(&pair.veth.a), steady);
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
    let (sent, ()) = under_flood(&peer, "far", &two_cpus()[1..], |_| {
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
    witness.assert_all_seen(counted[0] + counted[1], nested);
    let reason = witness.only_kind().reason;
    let here = metrics.sum(DROPPED, &[("netns", "host"), ("reason", &reason)]);
    assert_eq!(here, counted[0] + counted[1], "another name");
}
