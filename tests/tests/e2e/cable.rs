//! A virtio card whose cable is pulled, on every kernel: it gives no reason, and older kernels could not say it.

use netdrop_tests::monitor;
use netdrop_tests::wait::SOON;
use netdrop_tests::{Room, wait_until};

use crate::modules::removals::Watch;

const LAST_READ: &str = "netdrop_port_last_read_timestamp_seconds";

/// What virtio cards do not tell.
const ABSENT: [&str; 7] = [
    "netdrop_link_down_events_total",
    "netdrop_link_down_reason_info",
    "netdrop_link_fec_corrected_blocks_total",
    "netdrop_link_fec_uncorrectable_blocks_total",
    "netdrop_link_pause_frames_total",
    "netdrop_link_speed_bits_per_second",
    "netdrop_link_sqi",
];

#[test]
#[ignore = "needs the monitor of an emulator: run by tests/kernels/run.sh"]
fn a_card_that_does_not_say_why_its_cable_is_pulled_has_no_reason_and_no_warnings() {
    let _room = Room::enter();
    let watch = Watch::begin();
    let device = [("device", watch.port.as_str())];
    let value = |name: &str| watch.exporter.scrape().value(name, &device);
    let carrier = |up: f64| {
        wait_until("the carrier changes", SOON, || {
            value("netdrop_link_carrier") == Some(up)
        });
    };
    carrier(1.0);
    wait_until("the port is read", SOON, || value(LAST_READ).is_some());
    monitor::tell("set_link card0 off");
    carrier(0.0);
    // After the loss all is read twice, and five seconds later.
    let lost = value(LAST_READ);
    for _ in 0..2 {
        let before = value(LAST_READ);
        wait_until("the port is read again", SOON, || value(LAST_READ) > before);
    }
    assert!(value(LAST_READ) > lost);

    let metrics = watch.exporter.scrape();
    for name in ABSENT {
        assert_eq!(metrics.series(name, &device).next(), None, "{name}");
    }
    let value =
        |name: &str, labels: &[(&str, &str)]| metrics.value(name, &[&device[..], labels].concat());
    assert_eq!(metrics.success("port"), Some(true));
    assert_eq!(value("netdrop_port_read_failures_total", &[]), Some(0.0));
    // From the old counters, which every kernel has.
    let fcs = value("netdrop_link_errors_total", &[("error", "fcs")]);
    assert_eq!(fcs, Some(0.0));
    for cause in ["missed", "driver"] {
        let labels = [("direction", "receive"), ("cause", cause)];
        assert_eq!(
            value("netdrop_port_lost_packets_total", &labels),
            Some(0.0),
            "{cause}"
        );
    }

    let about = format!("{}: ", watch.port);
    let complaints = watch.exporter.complaints();
    let complaints: Vec<_> = complaints
        .iter()
        .filter_map(|line| line.split_once(&about))
        .map(|(_, text)| text)
        // An emulated machine may be slow.
        .filter(|text| !text.contains("to be read, so"))
        .collect();
    assert_eq!(
        complaints,
        ["carrier down (driver virtio_net, speed unknown)"]
    );
    monitor::tell("set_link card0 on");
    carrier(1.0);
}
