//! A device number means a device only within its namespace.

use netdrop_tests::netns::Veth;
use netdrop_tests::wait::SOON;
use netdrop_tests::{Exporter, Flood, Namespace, Room, Witness, send, wait_until};

const DROPPED: &str = "netdrop_dropped_packets_total";
/// High enough that no device of the namespaces has it by itself.
const IFINDEX: u32 = 4077;
/// Dropped in the exporter's namespace, and in the other: different, so that a mix-up shows.
const HERE: u64 = 1_200;
const THERE: u64 = 3_400;

/// Two namespaces with a veth pair between them whose ends have the same ifindex.
struct Twins {
    here: Namespace,
    there: Namespace,
    veth: Veth,
    witness: Witness,
}

impl Twins {
    fn new() -> Self {
        let (here, there) = (Namespace::new(), Namespace::new());
        let veth = Veth::named(&here, "twin-here", &there, "twin-there", Some(IFINDEX));
        for (namespace, device) in [(&here, &veth.a), (&there, &veth.b)] {
            let path = format!("/sys/class/net/{device}/ifindex");
            assert_eq!(namespace.exec(&["cat", &path]).trim(), IFINDEX.to_string());
        }
        Self {
            here,
            there,
            veth,
            witness: Witness::of_protocol(send::ETHERTYPE),
        }
    }

    /// Drops packets at both ends and waits until all are gone.
    fn drop_packets(&self) {
        // What one end sends, the other drops.
        self.there.enter(|| Flood::over(&self.veth.b, HERE).send());
        self.here.enter(|| Flood::over(&self.veth.a, THERE).send());
        let all = HERE + THERE;
        wait_until("the witness has seen every frame", SOON, || {
            self.witness.count() == all
        });
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn the_same_ifindex_in_two_namespaces_is_never_mixed_up() {
    let _room = Room::enter();
    let twins = Twins::new();
    let exporter = Exporter::launch().namespace(&twins.here).start();
    let before = exporter.scrape();
    twins.drop_packets();

    let after = exporter.scrape();
    let kind = twins.witness.only_kind();
    let cause = [
        ("reason", kind.reason.as_str()),
        ("function", kind.function.as_str()),
    ];
    let here = [
        cause[0],
        cause[1],
        ("device", "twin-here"),
        ("netns", "host"),
    ];
    assert_eq!(after.value(DROPPED, &here), Some(HERE as f64));
    // Other namespaces share a series, so only its growth is this test's.
    let other = [cause[0], cause[1], ("device", ""), ("netns", "other")];
    assert_eq!(
        after.sum(DROPPED, &other) - before.sum(DROPPED, &other),
        THERE as f64
    );
    assert_eq!(
        after.series(DROPPED, &[("device", "twin-there")]).count(),
        0
    );
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn with_all_netns_each_namespace_has_its_name_and_its_devices() {
    let _room = Room::enter();
    let twins = Twins::new();
    let exporter = Exporter::launch()
        .namespace(&twins.here)
        .arguments(&["--collector.drops.all-netns"])
        .start();
    twins.drop_packets();

    let after = exporter.scrape();
    let here = [("device", "twin-here"), ("netns", "host")];
    assert_eq!(after.value(DROPPED, &here), Some(HERE as f64));
    let there = [("device", "twin-there"), ("netns", twins.there.name())];
    assert_eq!(after.value(DROPPED, &there), Some(THERE as f64));
    assert_eq!(after.sum(DROPPED, &[("netns", "other")]), 0.0);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_renamed_device_counts_under_its_new_name_from_then_on() {
    let _room = Room::enter();
    let twins = Twins::new();
    let exporter = Exporter::launch().namespace(&twins.here).start();
    twins.drop_packets();
    let before = exporter.scrape();
    assert_eq!(
        before.value(DROPPED, &[("device", "twin-here")]),
        Some(HERE as f64)
    );

    // Older kernels rename a device only while it is down.
    twins.here.ip(&["link", "set", "dev", "twin-here", "down"]);
    twins
        .here
        .ip(&["link", "set", "dev", "twin-here", "name", "twin-new"]);
    twins.here.ip(&["link", "set", "dev", "twin-new", "up"]);
    twins.here.wait_for_carrier("twin-new");
    twins.there.enter(|| Flood::over(&twins.veth.b, 700).send());
    let all = HERE + THERE + 700;
    wait_until("the witness has seen every frame", SOON, || {
        twins.witness.count() == all
    });

    let after = exporter.scrape();
    assert_eq!(
        after.value(DROPPED, &[("device", "twin-here")]),
        Some(HERE as f64)
    );
    assert_eq!(after.value(DROPPED, &[("device", "twin-new")]), Some(700.0));
    // The guard knows the device by its former name.
    twins.here.ip(&["link", "set", "dev", "twin-new", "down"]);
    twins
        .here
        .ip(&["link", "set", "dev", "twin-new", "name", "twin-here"]);
}
