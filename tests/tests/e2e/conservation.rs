//! No packet is lost where something is full: it is then counted with less detail, and nothing else changes.

use std::collections::BTreeSet;
use std::thread;

use netdrop_tests::macvlans::Macvlans;
use netdrop_tests::netns::Veth;
use netdrop_tests::send::{self, two_cpus};
use netdrop_tests::wait::SOON;
use netdrop_tests::{Exporter, Flood, Ledger, Metrics, Namespace, Room, Witness, wait_until};

const DROPPED: &str = "netdrop_dropped_packets_total";
const LINK_DOWN: &str = "netdrop_link_down_dropped_packets_total";
const UNATTRIBUTED: &str = "netdrop_unattributed_packets_total";
const MAP_FULL: [(&str, &str); 1] = [("cause", "map_full")];

const DEVICES: usize = 40;
/// Frames dropped at each device.
const FRAMES: u64 = 25;

fn start(host: &Namespace, flag: &str) -> Exporter {
    Exporter::launch()
        .namespace(host)
        .arguments(&[flag])
        .start()
}

fn dropped_at(metrics: &Metrics, device: &str) -> u64 {
    metrics.sum(DROPPED, &[("device", device), ("netns", "host")]) as u64
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn what_does_not_fit_into_the_map_is_counted_without_a_key_until_the_next_drain() {
    const CAPACITY: usize = 16;
    let _room = Room::enter();
    let (host, peer) = (Namespace::new(), Namespace::new());
    let crowd = Macvlans::without_carrier(&host, &peer, DEVICES);
    let exporter = start(&host, "--collector.drops.max-entries=16");
    let ledger = Ledger::open(&exporter);

    let paused = exporter.pause();
    crowd.drop_frames(&crowd.names, FRAMES);
    drop(paused);

    let fullest = exporter.scrape();
    for gauge in ["netdrop_drop_map_entries", "netdrop_drop_map_capacity"] {
        assert_eq!(fullest.value(gauge, &[]), Some(CAPACITY as f64), "{gauge}");
    }
    let full = ledger.balance();
    let counted: Vec<_> = crowd
        .names
        .iter()
        .map(|device| dropped_at(&full, device))
        .collect();
    let in_map = counted.iter().filter(|&&packets| packets == FRAMES).count();
    let left_out = counted.iter().filter(|&&packets| packets == 0).count();
    assert_eq!(in_map + left_out, DEVICES, "some in part: {counted:?}");
    // The rest of the machine may have taken places, but hardly all of them.
    assert!((1..=CAPACITY).contains(&in_map), "{counted:?}");
    let without_key = full.value(UNATTRIBUTED, &MAP_FULL).unwrap();
    assert!(
        without_key >= (left_out as u64 * FRAMES) as f64,
        "{without_key} without a key, {left_out} devices without a place"
    );

    // A quarter of what fits, of those that found no place before.
    let late = &crowd.names[DEVICES - CAPACITY / 4..];
    let paused = exporter.pause();
    crowd.drop_frames(late, FRAMES);
    drop(paused);
    let after = ledger.balance();
    for device in late {
        let grown = dropped_at(&after, device) - dropped_at(&full, device);
        assert_eq!(grown, FRAMES, "{device}");
    }
    assert_eq!(after.value(UNATTRIBUTED, &MAP_FULL), Some(without_key));
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn two_cpus_that_fight_over_the_only_entry_lose_nothing() {
    let _room = Room::enter();
    let (host, peer) = (Namespace::new(), Namespace::new());
    let veths = [Veth::between(&host, &peer), Veth::between(&host, &peer)];
    // One entry is one bucket with one lock, and as long as it is taken each drop of the other key asks for it.
    let exporter = start(&host, "--collector.drops.max-entries=1");
    let ledger = Ledger::open(&exporter);

    thread::scope(|scope| {
        for (veth, cpu) in veths.iter().zip(two_cpus()) {
            let flood = Flood {
                cpu: Some(cpu),
                ..Flood::over(&veth.b, 150_000)
            };
            let peer = &peer;
            scope.spawn(move || peer.enter(|| flood.send()));
        }
        // Each of them drains, and a drain asks for the lock, too.
        for _ in 0..20 {
            exporter.scrape();
        }
    });

    let metrics = ledger.balance();
    assert!(ledger.seen() >= 300_000);
    let full = metrics.value(UNATTRIBUTED, &MAP_FULL).unwrap();
    let nested = metrics.sum(UNATTRIBUTED, &[("cause", "nested")]);
    let keyed = veths
        .iter()
        .map(|veth| metrics.sum(DROPPED, &[("device", &veth.a)]))
        .sum::<f64>();
    println!("{keyed} with a key, {full} without, {nested} nested");
    assert!(full > 0.0 && keyed > 0.0);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn beyond_max_series_devices_fold_into_other_and_every_count_stays() {
    const MAX_SERIES: usize = 8;
    let _room = Room::enter();
    let (host, peer) = (Namespace::new(), Namespace::new());
    let crowd = Macvlans::without_carrier(&host, &peer, DEVICES);
    let exporter = start(&host, "--collector.drops.max-series=8");
    let ledger = Ledger::open(&exporter);
    let witness = Witness::of_protocol(send::ETHERTYPE);

    let mut told_apart = None;
    for round in 1..=3 {
        crowd.drop_frames(&crowd.names, FRAMES);
        let metrics = ledger.balance();
        let own: BTreeSet<_> = crowd
            .names
            .iter()
            .filter(|device| dropped_at(&metrics, device) > 0)
            .collect();
        assert!((1..=MAX_SERIES).contains(&own.len()), "{own:?}");
        for device in &own {
            assert_eq!(dropped_at(&metrics, device), round * FRAMES, "{device}");
        }
        let folded = (DEVICES - own.len()) as u64;
        // Drops of the rest of the machine may fold, too, but not of the same kind.
        let kind = witness.only_kind();
        let other = [
            ("reason", kind.reason.as_str()),
            ("function", kind.function.as_str()),
            ("device", "other"),
            ("netns", "host"),
        ];
        let other = metrics.sum(DROPPED, &other);
        assert_eq!(other, (folded * round * FRAMES) as f64);
        let all = (DEVICES as u64 * round * FRAMES) as f64;
        assert_eq!(metrics.sum(LINK_DOWN, &[("link", "no_carrier")]), all);
        assert_bounded(&metrics, MAX_SERIES);
        // Who has a series keeps it, and nobody else gets one.
        assert_eq!(*told_apart.get_or_insert_with(|| own.clone()), own);
    }
}

/// Asserts that beside `max_series` series there are only those that others fold into.
fn assert_bounded(metrics: &Metrics, max_series: usize) {
    let series: Vec<_> = metrics.series(DROPPED, &[]).collect();
    let folded = series
        .iter()
        .filter(|series| matches!(series.labels["device"].as_str(), "other" | ""))
        .count();
    assert!(
        series.len() - folded <= max_series,
        "{} series, {folded} of them folded",
        series.len()
    );
    let link_down = metrics.series(LINK_DOWN, &[]).count();
    assert!(link_down <= max_series + 1, "{link_down} link-down series");
}

/// As the README's limits say: the driver frees them as if it had sent them.
#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn frames_that_an_ifb_frees_are_in_its_own_count_and_in_none_of_the_exporters() {
    const FRAMES: u64 = 1000;
    let _room = Room::enter();
    let host = Namespace::new();
    host.ip(&["link", "add", "ifb7", "type", "ifb"]);
    host.ip(&["link", "set", "ifb7", "up"]);
    let exporter = Exporter::launch().namespace(&host).start();
    let ledger = Ledger::open(&exporter);
    host.enter(|| Flood::over("ifb7", FRAMES).send());
    let lost = || host.exec(&["cat", "/sys/class/net/ifb7/statistics/rx_dropped"]);
    wait_until("the driver has lost them", SOON, || {
        lost().trim() == FRAMES.to_string()
    });
    let metrics = ledger.balance();
    assert_eq!(dropped_at(&metrics, "ifb7"), 0);
    let of_port = metrics.series("netdrop_port_lost_packets_total", &[("device", "ifb7")]);
    assert_eq!(of_port.count(), 0);
}
