//! What the journal says of a port, with what its driver says.

use std::time::{Duration, Instant};

use netdrop_tests::testport::{TestPort, TestPorts};
use netdrop_tests::wait::SOON;
use netdrop_tests::{Exporter, Room, wait_until};

use super::{PORTS_ONLY, down_reason, value};

/// The driver, as lines name it.
const DRIVER: &str = "(driver netdrop_testport";

const WITHOUT_COLLECTOR: [&str; 2] = ["--no-collector.drops", "--no-collector.port"];

/// The lines about what happened to a port's link, without their time.
fn lines(exporter: &Exporter, port: &TestPort) -> Vec<String> {
    let log = exporter.log();
    let about = format!("{}: ", port.name);
    let lines = log.lines().filter_map(|line| line.split_once(&about));
    let is_of_link = |text: &&str| !text.contains("to be read, so");
    let texts = lines.map(|(_, text)| text).filter(is_of_link);
    texts.map(str::to_owned).collect()
}

fn wait_for_lines(exporter: &Exporter, port: &TestPort, expected: &[String]) {
    wait_until("the journal says it", SOON, || {
        lines(exporter, port).len() >= expected.len()
    });
    assert_eq!(lines(exporter, port), expected);
}

/// An exporter that knows how fast the port runs.
fn start(port: &TestPort) -> Exporter {
    port.set("carrier", 1);
    port.up();
    let exporter = Exporter::start(&PORTS_ONLY);
    wait_until("the port is read", SOON, || {
        let speed = "netdrop_link_speed_bits_per_second";
        value(&exporter.scrape(), speed, port, &[]) == Some(25e9)
    });
    exporter
}

/// Without what differs between runs.
fn up_again(port: &TestPort, exporter: &Exporter) -> String {
    wait_until("the journal says that it is up", SOON, || {
        lines(exporter, port)
            .iter()
            .any(|line| line.starts_with("carrier up"))
    });
    let lines = lines(exporter, port);
    let line = lines.iter().find(|line| line.starts_with("carrier up"));
    let line = line.map(|line| line.split(", after ").next());
    line.flatten().unwrap_or_default().to_owned()
}

#[test]
#[ignore = "needs the test module: run by tests/kernels/run.sh"]
fn a_pulled_cable_has_its_reason_in_the_journal_within_two_seconds() {
    let _room = Room::enter();
    let ports = TestPorts::load(1);
    let port = ports.port(0);
    let exporter = start(&port);
    port.set("ext_state", 4);
    port.set("carrier", 0);
    let pulled = Instant::now();
    let down = format!("carrier down: no cable {DRIVER}, 25000 Mbit/s)");
    wait_for_lines(&exporter, &port, &[down]);
    let took = pulled.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    let metrics = exporter.scrape();
    let expected = Some(("no_cable".into(), String::new()));
    assert_eq!(down_reason(&metrics, &port), expected);

    port.set("carrier", 1);
    let up = format!("carrier up {DRIVER}, 25000 Mbit/s)");
    assert_eq!(up_again(&port, &exporter), up);
}

#[test]
#[ignore = "needs the test module: run by tests/kernels/run.sh"]
fn a_reason_that_comes_late_has_a_line_of_its_own() {
    let _room = Room::enter();
    let ports = TestPorts::load(1);
    let port = ports.port(0);
    let exporter = start(&port);
    port.set("carrier", 0);
    let down = format!("carrier down {DRIVER}, 25000 Mbit/s)");
    wait_for_lines(&exporter, &port, std::slice::from_ref(&down));
    port.set("ext_state", 0);
    port.set("ext_substate", 1);
    let late = format!("link is down: autoneg, no partner detected {DRIVER})");
    wait_for_lines(&exporter, &port, &[down, late]);
}

#[test]
#[ignore = "needs the test module: run by tests/kernels/run.sh"]
fn no_line_waits_for_a_slow_driver_with_and_without_the_collector() {
    // Longer than a line waits.
    const DELAY_MS: u32 = 4000;
    let _room = Room::enter();
    let ports = TestPorts::load(1);
    let port = ports.port(0);
    let exporter = start(&port);
    port.set("delay_ms", DELAY_MS);
    port.set("ext_state", 4);
    port.set("carrier", 0);
    let down = format!("carrier down {DRIVER}, 25000 Mbit/s)");
    let late = format!("link is down: no cable {DRIVER})");
    wait_for_lines(&exporter, &port, &[down, late]);
    port.set("delay_ms", 0);
    drop(exporter);

    port.set("speed_delay_ms", DELAY_MS);
    let exporter = Exporter::start(&WITHOUT_COLLECTOR);
    port.set("carrier", 1);
    let up = format!("carrier up {DRIVER}, speed unknown)");
    assert_eq!(up_again(&port, &exporter), up);
    port.set("speed_delay_ms", 0);
}

#[test]
#[ignore = "needs the test module: run by tests/kernels/run.sh"]
fn without_the_collector_lines_have_the_speed_and_no_reason() {
    let _room = Room::enter();
    let ports = TestPorts::load(1);
    let port = ports.port(0);
    port.up();
    let exporter = Exporter::start(&WITHOUT_COLLECTOR);
    port.set("ext_state", 4);
    port.set("carrier", 1);
    let up = format!("carrier up {DRIVER}, 25000 Mbit/s)");
    assert_eq!(up_again(&port, &exporter), up);
    port.set("carrier", 0);
    let down = format!("carrier down {DRIVER}, 25000 Mbit/s)");
    wait_until("the journal says that it is down", SOON, || {
        lines(&exporter, &port).contains(&down)
    });
}

#[test]
#[ignore = "needs the test module: run by tests/kernels/run.sh"]
fn a_driver_that_is_unloaded_while_its_port_is_up_removes_it_and_the_journal_has_the_bus_address() {
    let _room = Room::enter();
    let ports = TestPorts::load(1);
    let port = ports.port(0);
    let exporter = start(&port);
    let removals = [("device", port.name.as_str()), ("transition", "removed")];
    let transitions = "netdrop_link_transitions_total";
    assert_eq!(exporter.scrape().value(transitions, &removals), Some(0.0));
    drop(ports);
    let address = &port.address;
    let gone = format!("removed {DRIVER}, {address}, 25000 Mbit/s)");
    wait_for_lines(&exporter, &port, &[gone]);
    let metrics = exporter.scrape();
    assert_eq!(metrics.value(transitions, &removals), Some(1.0));
    // Nothing that its driver said is left.
    let device = [("device", port.name.as_str())];
    wait_until("the port is forgotten", SOON, || {
        let metrics = exporter.scrape();
        let read_at = metrics.series("netdrop_port_last_read_timestamp_seconds", &device);
        read_at.count() == 0
    });
}
