//! What a driver loses, which frees it as if it had been sent.

use std::fs;

use netdrop_tests::metrics::Sample;
use netdrop_tests::testport::TestPorts;
use netdrop_tests::wait::SOON;
use netdrop_tests::{Exporter, Flood, Room, wait_until};

use super::{next_reading, value};

#[test]
#[ignore = "needs the test module: run by tests/kernels/run.sh"]
fn packets_that_a_driver_frees_as_sent_are_lost_and_not_dropped() {
    const FRAMES: u64 = 1000;
    let _room = Room::enter();
    let ports = TestPorts::load(1);
    let port = ports.port(0);
    // Or the device sends of its own accord.
    let ipv6 = format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", port.name);
    fs::write(ipv6, "1").ok();
    port.set("carrier", 1);
    port.up();
    let exporter = Exporter::start(&[]);
    let statistic = |name: &str| -> u64 {
        let path = format!("/sys/class/net/{}/statistics/{name}", port.name);
        fs::read_to_string(path).unwrap().trim().parse().unwrap()
    };
    wait_until("the port has carrier", SOON, || {
        value(&exporter.scrape(), "netdrop_link_carrier", &port, &[]) == Some(1.0)
    });
    let before = statistic("tx_dropped");
    port.set("loses", 1);
    Flood::over(&port.name, FRAMES).send();
    wait_until("the driver has lost them", SOON, || {
        statistic("tx_dropped") >= before + FRAMES
    });
    port.set("loses", 0);
    let lost = statistic("tx_dropped");
    let metrics = next_reading(&exporter, &port);
    let labels = [("direction", "transmit"), ("cause", "driver")];
    let served = value(&metrics, "netdrop_port_lost_packets_total", &port, &labels);
    assert_eq!(served, Some(lost as f64));
    let at_port = [("device", port.name.as_str())];
    let dropped = metrics.series("netdrop_dropped_packets_total", &at_port);
    assert_eq!(dropped.collect::<Vec<_>>(), Vec::<&Sample>::new());
}
