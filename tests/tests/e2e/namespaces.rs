//! A device number means a device only within its namespace. With `--collector.drops.all-netns` each namespace has its
//! name, or its inode, and devices have theirs.

use std::thread;

use netdrop_tests::netns::{Alias, Handle, Veth, mortal_veth};
use netdrop_tests::tracefs::Drop;
use netdrop_tests::wait::SOON;
use netdrop_tests::{Exporter, Flood, Ledger, Metrics, Namespace, Room, Witness, send, wait_until};

const DROPPED: &str = "netdrop_dropped_packets_total";
const FLAG: &str = "--collector.drops.all-netns";
/// `ip netns exec` is how the exporter gets into a namespace, so its own has a name, which is not to be seen.
const HOST: &str = "host";

fn start(host: &Namespace, flags: &[&str]) -> Exporter {
    let launch = Exporter::launch().namespace(host);
    launch.arguments(flags).start()
}

/// Drops frames at the other end of `outside`, and waits until they are gone; then tells what they were to the kernel.
fn drop_inside(host: &Namespace, outside: &str, frames: u64) -> Drop {
    let witness = Witness::of_protocol(send::ETHERTYPE);
    host.enter(|| Flood::over(outside, frames).send());
    witness.expect(frames);
    witness.only_kind()
}

/// Asserts that a series that any namespace of the machine can add to has grown by these frames, and by no more than
/// what others have dropped so.
fn assert_shared(grown: f64, frames: u64, kind: &Drop, others: &Witness) {
    let (frames, others) = (frames as f64, others.count_of(kind) as f64);
    assert!(
        (frames..=frames + others).contains(&grown),
        "{grown}, not {frames} and up to {others} of others"
    );
}

fn at(metrics: &Metrics, netns: &str, device: &str) -> Option<f64> {
    metrics.value(DROPPED, &[("netns", netns), ("device", device)])
}

/// A namespace without a name, connected to the host by a device of the name `outside`; and its inode.
fn nameless(host: &Namespace, outside: &str) -> (Handle, String) {
    let namespace = Namespace::new();
    mortal_veth(host, outside, &namespace, "inside");
    (namespace.handle(), namespace.inode().to_string())
}

/// Drops 3,400 frames in one namespace and 1,200 in another, at the ends of a pair that have the same number.
fn drop_at_twins(here: &Namespace, there: &Namespace) -> (Veth, Drop) {
    // High enough that no device of the namespaces has it by itself.
    let veth = Veth::named(here, "twin-here", there, "twin-there", Some(4077));
    // What one end sends, the other drops.
    let kind = drop_inside(there, "twin-there", 1_200);
    assert_eq!(drop_inside(here, "twin-here", 3_400), kind);
    (veth, kind)
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn the_same_ifindex_in_two_namespaces_is_never_mixed_up() {
    let _room = Room::enter();
    let (here, there) = (Namespace::new(), Namespace::new());
    let exporter = start(&here, &[]);
    let others = Witness::of_other_protocols(send::ETHERTYPE);
    let before = exporter.scrape();
    let (_veth, kind) = drop_at_twins(&here, &there);

    let after = exporter.scrape();
    let labels = |device, netns| {
        let cause = [("reason", &*kind.reason), ("function", &*kind.function)];
        [cause[0], cause[1], ("device", device), ("netns", netns)]
    };
    let counted = after.value(DROPPED, &labels("twin-here", HOST));
    assert_eq!(counted, Some(1_200.0));
    // Other namespaces share a series, so only its growth is this test's.
    let other = |metrics: &Metrics| metrics.sum(DROPPED, &labels("", "other"));
    assert_shared(other(&after) - other(&before), 3_400, &kind, &others);
    assert_eq!(after.sum(DROPPED, &[("device", "twin-there")]), 0.0);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn with_all_netns_each_namespace_has_its_name_and_its_devices() {
    let _room = Room::enter();
    let (here, there) = (Namespace::new(), Namespace::new());
    let exporter = start(&here, &[FLAG]);
    let _twins = drop_at_twins(&here, &there);
    let after = exporter.scrape();
    assert_eq!(at(&after, HOST, "twin-here"), Some(1_200.0));
    assert_eq!(at(&after, there.name(), "twin-there"), Some(3_400.0));
    assert_eq!(after.sum(DROPPED, &[("netns", "other")]), 0.0);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_namespace_without_a_name_of_its_own_is_called_by_its_inode() {
    let _room = Room::enter();
    let host = Namespace::new();
    let (_ghost, ghost) = nameless(&host, "to-ghost");
    // These values of the label have a meaning already.
    let (impostor, as_host) = nameless(&host, "to-impostor");
    let _host_alias = Alias::new(&impostor, "host");
    let (stranger, as_other) = nameless(&host, "to-stranger");
    let _other_alias = Alias::new(&stranger, "other");
    let exporter = start(&host, &[FLAG]);

    drop_inside(&host, "to-ghost", 11);
    drop_inside(&host, "to-impostor", 220);
    drop_inside(&host, "to-stranger", 330);

    let metrics = exporter.scrape();
    assert_eq!(at(&metrics, &ghost, "inside"), Some(11.0));
    assert_eq!(at(&metrics, &as_host, "inside"), Some(220.0));
    assert_eq!(at(&metrics, &as_other, "inside"), Some(330.0));
    for taken in [HOST, "other"] {
        assert_eq!(at(&metrics, taken, "inside"), None);
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_namespace_that_gets_a_name_is_called_by_it_from_then_on() {
    let _room = Room::enter();
    let host = Namespace::new();
    let (baby, inode) = nameless(&host, "to-baby");
    let exporter = start(&host, &[FLAG]);
    drop_inside(&host, "to-baby", 40);
    assert_eq!(at(&exporter.scrape(), &inode, "inside"), Some(40.0));

    let _name = Alias::new(&baby, "nd-baby");
    drop_inside(&host, "to-baby", 2);
    let metrics = exporter.scrape();
    assert_eq!(at(&metrics, &inode, "inside"), Some(40.0));
    assert_eq!(at(&metrics, "nd-baby", "inside"), Some(2.0));
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_device_moved_to_another_namespace_has_its_own_in_each() {
    let _room = Room::enter();
    let (host, from, to) = (Namespace::new(), Namespace::new(), Namespace::new());
    mortal_veth(&host, "outside", &from, "nomad");
    let exporter = start(&host, &[FLAG]);

    let paused = exporter.pause();
    drop_inside(&host, "outside", 500);
    from.ip(&["link", "set", "dev", "nomad", "netns", to.name()]);
    to.ip(&["link", "set", "dev", "nomad", "up"]);
    to.wait_for_carrier("nomad");
    drop_inside(&host, "outside", 60);
    to.ip(&["link", "set", "dev", "nomad", "netns", host.name()]);
    host.ip(&["link", "set", "dev", "nomad", "up"]);
    host.wait_for_carrier("nomad");
    drop_inside(&host, "outside", 7);
    drop(paused);

    let metrics = exporter.scrape();
    assert_eq!(at(&metrics, from.name(), "nomad"), Some(500.0));
    assert_eq!(at(&metrics, to.name(), "nomad"), Some(60.0));
    assert_eq!(at(&metrics, HOST, "nomad"), Some(7.0));
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn hidden_devices_and_too_many_series_fold_within_what_is_known() {
    let _room = Room::enter();
    let (host, there) = (Namespace::new(), Namespace::new());
    mortal_veth(&host, "to-shown", &there, "shown");
    mortal_veth(&host, "to-hidden", &there, "hidden");
    let exclude = "--collector.link.device-exclude=hidden";
    let exporter = start(&host, &[FLAG, exclude]);
    drop_inside(&host, "to-shown", 12);
    drop_inside(&host, "to-hidden", 345);
    let metrics = exporter.scrape();
    assert_eq!(at(&metrics, there.name(), "shown"), Some(12.0));
    assert_eq!(at(&metrics, there.name(), "other"), Some(345.0));
    drop(exporter);

    // The last series there may be; where a device stands is then no longer told either.
    let others = Witness::of_other_protocols(send::ETHERTYPE);
    let exporter = start(&host, &[FLAG, "--collector.drops.max-series=1"]);
    drop_inside(&host, "to-shown", 12);
    exporter.scrape();
    let kind = drop_inside(&host, "to-hidden", 345);
    let metrics = exporter.scrape();
    let own = metrics.sum(DROPPED, &[("netns", there.name())]);
    assert!(own == 12.0 || own == 0.0, "{own}");
    let reason = ("reason", "UNHANDLED_PROTO");
    let folded = metrics.sum(DROPPED, &[reason, ("device", "other"), ("netns", "other")]);
    assert_shared(own + folded, 357, &kind, &others);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_namespace_deleted_under_fire_keeps_its_name_for_every_packet() {
    const MOST_FRAMES: u64 = 20_000_000;
    const ROUNDS: u32 = 5;
    let _room = Room::enter();
    let host = Namespace::new();
    let exporter = start(&host, &[FLAG]);
    let ledger = Ledger::open(&exporter);
    let witness = Witness::of_protocol(send::ETHERTYPE);
    let mut counted = 0.0;
    let mut all_named = 0;
    for _ in 0..ROUNDS {
        let doomed = Namespace::new();
        let (name, inode) = (doomed.name().to_owned(), doomed.inode().to_string());
        mortal_veth(&host, "outside", &doomed, "inside");
        // What a namespace was called is known once it was there at a drain.
        exporter.scrape();
        let before = witness.count();
        let sent = thread::scope(|scope| {
            let flood = Flood::over("outside", MOST_FRAMES);
            let fire = scope.spawn(|| host.enter(move || flood.send_until_gone()));
            wait_until("packets fall in the namespace", SOON, || {
                witness.count() >= before + 10_000
            });
            drop(doomed);
            fire.join().unwrap()
        });
        assert!(sent < MOST_FRAMES, "nothing ended the flood");

        let metrics = ledger.balance();
        let inside = |netns: &str| metrics.sum(DROPPED, &[("netns", netns), ("device", "inside")]);
        // Where the exporter's regular read falls between the deletion and the last packet, those after it are
        // read when the name is forgotten.
        let late = inside(&inode);
        counted += inside(&name) + late;
        all_named += u32::from(late == 0.0);
        // While the far end goes, some do not get there.
        let outside = metrics.sum(DROPPED, &[("netns", HOST), ("device", "outside")]);
        // And some are flushed from a backlog together with their device, and freed when it may be no more
        // (flush_backlog and net_tx_action, net/core/dev.c).
        let flushed = [("function", "net_tx_action"), ("device", ""), ("netns", "")];
        let flushed = metrics.sum(DROPPED, &flushed);
        println!(
            "{counted} inside, {outside} outside, {flushed} flushed, {:?}",
            witness.kinds()
        );
        for series in metrics.series(DROPPED, &[]) {
            println!("{series:?}");
        }
        let named = counted + outside;
        ledger.assert_part_but(&metrics, named, witness.count(), flushed);
    }
    assert!(all_named > ROUNDS / 2, "in {all_named} of {ROUNDS} rounds");
}
