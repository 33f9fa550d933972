//! What an alert goes by: whether a carrier is lost, how often one was, and what carries a link.

use netdrop_tests::wait::SOON;
use netdrop_tests::{Exporter, Metrics, Pair, Room, wait_until};

/// Losses that count, and whether the carrier is lost.
fn told(metrics: &Metrics, device: &str) -> (Option<f64>, Option<f64>) {
    let value = |name: &str| metrics.value(name, &[("device", device)]);
    (
        value("netdrop_link_carrier_losses_total"),
        value("netdrop_link_carrier_lost"),
    )
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_lost_carrier_stays_lost_through_admin_changes_and_a_restart_of_the_exporter() {
    let _room = Room::enter();
    let launch = Exporter::launch().arguments(&["--collector.link.settle=0s"]);
    let pair = Pair::with(launch);
    let device = pair.veth.a.as_str();
    let told_now = || told(&pair.same_with_scrape().1, device);
    pair.regain_carrier();
    assert_eq!(told_now(), (Some(0.0), Some(0.0)));
    pair.flap(3);
    assert_eq!(told_now(), (Some(3.0), Some(0.0)));
    pair.lose_carrier();
    assert_eq!(told_now(), (Some(4.0), Some(1.0)));
    pair.set(device, &["down"]);
    assert_eq!(told_now(), (Some(4.0), Some(0.0)));
    pair.set(device, &["up"]);
    assert_eq!(told_now(), (Some(4.0), Some(1.0)));

    let restarted = Exporter::launch().namespace(&pair.host).start();
    assert_eq!(
        told(&restarted.scrape(), device),
        (Some(0.0), Some(1.0)),
        "the kernel's count says that it had one, but not when it was lost"
    );
    pair.regain_carrier();
    assert_eq!(told_now(), (Some(4.0), Some(0.0)));
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn what_is_lost_while_a_port_settles_counts_once_if_it_does_not_come_back() {
    let _room = Room::enter();
    let pair = Pair::with(Exporter::launch().arguments(&["--collector.link.settle=1h"]));
    let device = pair.veth.a.as_str();
    pair.regain_carrier();
    pair.flap(5);
    pair.lose_carrier();
    let (_, metrics) = pair.same_with_scrape();
    assert_eq!(told(&metrics, device), (Some(0.0), Some(1.0)));

    // Another one settles for less long, and has seen the carrier, too.
    pair.regain_carrier();
    let quick = Exporter::launch().arguments(&["--collector.link.settle=2s"]);
    let quick = quick.namespace(&pair.host).start();
    pair.lose_carrier();
    wait_until("the loss counts", SOON, || {
        told(&quick.scrape(), device) == (Some(1.0), Some(1.0))
    });
    // It does not count again, and the bridge that it joins is carried by no port.
    pair.host.ip_batch(&format!(
        "link set dev {device} down\nlink add br0 type bridge\n\
         link set dev {device} master br0\nlink set dev {device} up\n"
    ));
    wait_until("it is set up again", SOON, || {
        let metrics = quick.scrape();
        let info = [("device", device), ("master", "br0")];
        metrics.value("netdrop_link_info", &info) == Some(1.0)
            && told(&metrics, device) == (Some(1.0), Some(1.0))
    });
    let metrics = quick.scrape();
    for device in [device, "br0"] {
        let labels = [
            ("device", device),
            ("port", ""),
            ("bond", ""),
            ("watch", "none"),
        ];
        assert_eq!(metrics.value("netdrop_link_info", &labels), Some(1.0));
    }
}
