//! What the exporter says of ports, held against what was set in the driver and what ethtool(8) reads of it.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use netdrop_tests::testport::{TestPort, TestPorts};
use netdrop_tests::wait::SOON;
use netdrop_tests::{Exporter, Metrics, Room, poll_for, wait_until};

mod bonds;
mod cost;
mod lines;
mod lost;
mod numbers;
mod optics;

/// Drops are not counted here.
const PORTS_ONLY: [&str; 1] = ["--no-collector.drops"];

/// What drivers can say, out of the headers of this kernel (tests/kernels/module/build.sh): in each line the
/// number of a state and of a substate, 0 for none, and their names.
const REASONS: &str = "/testport-reasons";

fn value(metrics: &Metrics, name: &str, port: &TestPort, labels: &[(&str, &str)]) -> Option<f64> {
    let mut all = vec![("device", port.name.as_str())];
    all.extend(labels);
    metrics.value(name, &all)
}

/// A scrape after the port was read as a whole once more. That is done soon after its carrier changed.
fn next_reading(exporter: &Exporter, port: &TestPort) -> Metrics {
    let read_at = |metrics: &Metrics| {
        value(
            metrics,
            "netdrop_port_last_read_timestamp_seconds",
            port,
            &[],
        )
    };
    let before = read_at(&exporter.scrape());
    for carrier in [0, 1] {
        port.set("carrier", carrier);
    }
    poll_for("the port is read", SOON, || {
        let metrics = exporter.scrape();
        (read_at(&metrics) > before).then_some(metrics)
    })
}

/// Without those that tell of a carrier, and of a machine that is slow, as an emulated one may be.
fn complaints(exporter: &Exporter) -> Vec<String> {
    let mut complaints = exporter.complaints();
    let others = [": carrier down", ": link is down", "to be read, so"];
    complaints.retain(|line| !others.iter().any(|it| line.contains(it)));
    complaints
}

fn down_reason(metrics: &Metrics, port: &TestPort) -> Option<(String, String)> {
    let labels = [("device", port.name.as_str())];
    let found = metrics
        .series("netdrop_link_down_reason_info", &labels)
        .next()?;
    Some((
        found.labels["reason"].clone(),
        found.labels["detail"].clone(),
    ))
}

#[test]
#[ignore = "needs the test module: run by tests/kernels/run.sh"]
fn every_reason_of_the_kernels_headers_is_served_by_its_name() {
    let _room = Room::enter();
    let list = fs::read_to_string(REASONS).unwrap();
    let reasons: Vec<Vec<&str>> = list.lines().map(|line| line.split(' ').collect()).collect();
    // All states, and all substates of six of them.
    assert!(reasons.len() > 30, "{list}");
    let ports = TestPorts::load(reasons.len() + 1);
    let mut expected = BTreeMap::new();
    for (place, reason) in reasons.iter().enumerate() {
        let &[state, substate, name, detail] = &reason[..] else {
            panic!("{reason:?}");
        };
        let port = ports.port(place);
        port.set("ext_state", state);
        port.set("ext_substate", substate);
        port.up();
        let detail = detail.trim_start_matches('-');
        expected.insert(port.name, (name.to_owned(), detail.to_owned()));
    }
    // One that no kernel has yet.
    let later = ports.port(reasons.len());
    later.set("ext_state", 200);
    later.set("ext_substate", 7);
    later.up();
    expected.insert(later.name, ("200".to_owned(), "7".to_owned()));

    let exporter = Exporter::start(&PORTS_ONLY);
    let served = poll_for("all ports are read", SOON, || {
        let metrics = exporter.scrape();
        let served: BTreeMap<_, _> = metrics
            .series("netdrop_link_down_reason_info", &[])
            .map(|sample| {
                let label = |name: &str| sample.labels[name].clone();
                (label("device"), (label("reason"), label("detail")))
            })
            .collect();
        (served.len() == expected.len()).then_some(served)
    });
    assert_eq!(served, expected);
}

#[test]
#[ignore = "needs the test module: run by tests/kernels/run.sh"]
fn a_pulled_cable_has_its_reason_within_two_seconds_and_a_plugged_one_has_none() {
    let _room = Room::enter();
    let ports = TestPorts::load(1);
    let port = ports.port(0);
    port.set("carrier", 1);
    port.up();
    let exporter = Exporter::start(&PORTS_ONLY);
    let metrics = next_reading(&exporter, &port);
    assert_eq!(down_reason(&metrics, &port), None);
    port.set("ext_state", 4);
    port.set("carrier", 0);
    let pulled = Instant::now();
    wait_until("it is known why the link is down", SOON, || {
        down_reason(&exporter.scrape(), &port) == Some(("no_cable".into(), String::new()))
    });
    assert!(
        pulled.elapsed() < Duration::from_secs(2),
        "{:?}",
        pulled.elapsed()
    );

    // A driver that goes on telling the last reason.
    port.set("carrier", 1);
    wait_until("the link is up, and for no reason down", SOON, || {
        let metrics = exporter.scrape();
        let speed = value(&metrics, "netdrop_link_speed_bits_per_second", &port, &[]);
        down_reason(&metrics, &port).is_none() && speed == Some(25e9)
    });
}

#[test]
#[ignore = "needs the test module: run by tests/kernels/run.sh"]
fn a_slow_driver_slows_no_scrape_and_no_other_port() {
    let _room = Room::enter();
    let ports = TestPorts::load(2);
    let (slow, fast) = (ports.port(0), ports.port(1));
    for port in [&slow, &fast] {
        port.set("carrier", 1);
        port.up();
    }
    let exporter = Exporter::start(&PORTS_ONLY);
    next_reading(&exporter, &slow);
    slow.set("delay_ms", 2000);
    let slow_is_told = || {
        exporter
            .complaints()
            .iter()
            .any(|line| line.contains("to be read"))
    };
    let mut scrapes = Vec::new();
    wait_until("the log says that the driver is slow", SOON, || {
        let began = Instant::now();
        exporter.scrape();
        scrapes.push(began.elapsed());
        slow_is_told()
    });
    // If they waited for the driver, half of them would take a second at least.
    scrapes.sort();
    let median = scrapes[scrapes.len() / 2];
    assert!(median < Duration::from_secs(1), "half took {median:?}");

    // In the middle of the slow one's next reading, or not.
    fast.set("ext_state", 4);
    fast.set("carrier", 0);
    wait_until(
        "the other port's reason is known",
        Duration::from_secs(10),
        || down_reason(&exporter.scrape(), &fast).is_some(),
    );
    slow.set("delay_ms", 0);
    let told = exporter
        .complaints()
        .iter()
        .filter(|line| line.contains("to be read"))
        .count();
    assert_eq!(told, 1, "{}", exporter.log());
}

#[test]
#[ignore = "needs the test module: run by tests/kernels/run.sh"]
fn a_driver_that_fails_makes_absent_what_it_tells_and_counters_go_on_afterwards() {
    let _room = Room::enter();
    let ports = TestPorts::load(1);
    let port = ports.port(0);
    port.set("carrier", 1);
    port.set("mac/FrameCheckSequenceErrors", 1000);
    port.up();
    let exporter = Exporter::start(&PORTS_ONLY);
    let fcs = |metrics: &Metrics| {
        value(
            metrics,
            "netdrop_link_errors_total",
            &port,
            &[("error", "fcs")],
        )
    };
    assert_eq!(fcs(&next_reading(&exporter, &port)), Some(1000.0));
    // EBUSY.
    port.set("error", 16);
    let metrics = next_reading(&exporter, &port);
    assert_eq!(
        metrics.value("netdrop_collector_success", &[("collector", "port")]),
        Some(1.0)
    );
    // LINKSTATE, LINKMODES, STATS, FEC and PAUSE; not the statistics of rtnetlink.
    let failures = value(&metrics, "netdrop_port_read_failures_total", &port, &[]);
    assert!(failures >= Some(5.0), "{failures:?}");
    assert_eq!(
        fcs(&metrics),
        None,
        "the old counters are not those of the standard"
    );
    assert_eq!(
        value(&metrics, "netdrop_link_speed_bits_per_second", &port, &[]),
        None
    );
    // Reset meanwhile.
    port.set("mac/FrameCheckSequenceErrors", 3);
    port.set("error", 0);
    assert_eq!(
        fcs(&next_reading(&exporter, &port)),
        Some(1000.0),
        "it may only be a moment"
    );
    port.set("mac/FrameCheckSequenceErrors", 5);
    assert_eq!(fcs(&next_reading(&exporter, &port)), Some(1005.0));
    let complaints = complaints(&exporter);
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    assert!(
        complaints[0].contains("Device or resource busy"),
        "{complaints:?}"
    );
}

#[test]
#[ignore = "needs the test module: run by tests/kernels/run.sh"]
fn a_hung_transmit_queue_is_counted() {
    let _room = Room::enter();
    let ports = TestPorts::load(1);
    let port = ports.port(0);
    port.set("carrier", 1);
    port.set("stuck_queues", 3);
    port.up();
    let exporter = Exporter::start(&PORTS_ONLY);
    // The neighbour discovery of its own address is enough to send.
    let total = poll_for("a queue hung", SOON, || {
        let metrics = exporter.scrape();
        let device = [("device", port.name.as_str())];
        let queues = metrics.series("netdrop_link_tx_timeouts_total", &device);
        let queues: Vec<_> = queues
            .map(|it| (it.labels["queue"].clone(), it.value))
            .collect();
        (!queues.is_empty()).then_some(queues)
    });
    for (queue, times) in total {
        let path = format!("/sys/class/net/{}/queues/tx-{queue}/tx_timeout", port.name);
        let now: f64 = fs::read_to_string(path).unwrap().trim().parse().unwrap();
        assert!((1.0..=now).contains(&times), "{times} of {now}");
    }
}
