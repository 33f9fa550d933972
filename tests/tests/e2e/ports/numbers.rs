//! The numbers that a port tells, all at once and while they rise.

use netdrop_tests::testport::{TestPort, TestPorts, run};
use netdrop_tests::{Exporter, Metrics, Room};

use super::{PORTS_ONLY, complaints, next_reading, value};

#[test]
#[ignore = "needs the test module: run by tests/kernels/run.sh"]
fn numbers_are_those_that_were_set_and_that_ethtool_reads() {
    let _room = Room::enter();
    let ports = TestPorts::load(2);
    let port = ports.port(0);
    port.set("active_fec", 16);
    port.set("supported", "5,12,31");
    port.set("advertised", "5,12,31");
    port.set("peer", "5,12");
    port.set("lanes", 4);
    port.set("sqi", 3);
    port.set("sqi_max", 7);
    port.set("carrier", 1);
    port.up();
    for (group, first) in [("mac", 100), ("phy", 200), ("rmon", 300), ("pause", 400)] {
        port.count(group, first);
    }
    port.set("fec/corrected_blocks", 9000);
    port.set("fec/uncorrectable_blocks", 17);
    port.set("link/link_down_events", 5);
    port.set("stats64/rx_missed_errors", 77);
    port.set("stats64/rx_dropped", 55);
    let exporter = Exporter::start(&PORTS_ONLY);
    let metrics = next_reading(&exporter, &port);
    assert_agrees_with_ethtool(&metrics, &port);
    let of = |metrics: &Metrics, name: &str, labels: &[(&str, &str)]| {
        value(metrics, name, &port, labels)
    };
    let told = |name: &str| of(&metrics, name, &[]);
    assert_eq!(
        told("netdrop_link_fec_corrected_blocks_total"),
        Some(9000.0)
    );
    assert_eq!(told("netdrop_link_speed_bits_per_second"), Some(25e9));
    assert_eq!(told("netdrop_link_max_speed_bits_per_second"), Some(10e9));
    assert_eq!(told("netdrop_link_full_duplex"), Some(1.0));
    assert_eq!(told("netdrop_link_lanes"), Some(4.0));
    assert_eq!(told("netdrop_link_sqi"), Some(3.0));
    // Debian 12's kernel 6.1 does not tell it yet, and refuses whoever asks for it.
    let down_events = port.has("qstats").then_some(5.0);
    assert_eq!(told("netdrop_link_down_events_total"), down_events);
    let lost = |metrics: &Metrics, cause| {
        let labels = [("direction", "receive"), ("cause", cause)];
        of(metrics, "netdrop_port_lost_packets_total", &labels)
    };
    assert_eq!(lost(&metrics, "missed"), Some(77.0));
    assert_eq!(lost(&metrics, "driver"), Some(55.0));
    let info = metrics
        .series("netdrop_port_info", &[("device", &port.name)])
        .next()
        .unwrap();
    assert_eq!(info.labels["driver_version"], "1.2.3-test");
    assert_eq!(
        info.labels["firmware_version"],
        "22.31.1014 (TST0000000001)"
    );
    assert_eq!(info.labels["port"], "fibre");

    // A dying cable: everything rises.
    for (group, first) in [
        ("mac", 1100),
        ("phy", 1200),
        ("rmon", 1300),
        ("pause", 1400),
    ] {
        port.count(group, first);
    }
    port.set("fec/corrected_blocks", 19_000);
    if port.has("qstats") {
        port.set("qstats/rx_hw_drops", 30);
        port.set("qstats/rx_hw_drop_overruns", 20);
    }
    let metrics = next_reading(&exporter, &port);
    assert_agrees_with_ethtool(&metrics, &port);
    let fec = of(&metrics, "netdrop_link_fec_corrected_blocks_total", &[]);
    assert_eq!(fec, Some(19_000.0));
    if port.has("qstats") {
        assert_eq!(lost(&metrics, "overrun"), Some(20.0));
        assert_eq!(lost(&metrics, "hardware"), Some(10.0));
        assert_eq!(lost(&metrics, "missed"), None);
    }
    assert_eq!(complaints(&exporter), Vec::<String>::new());
}

/// `ethtool` prints the standard counters by the kernel's names, `NAME: NUMBER` in each line.
fn assert_agrees_with_ethtool(metrics: &Metrics, port: &TestPort) {
    let groups = ["eth-phy", "eth-mac", "rmon"];
    let mut text = run(
        "ethtool",
        &[&["-S", &port.name, "--groups"], &groups[..]].concat(),
    );
    text += &run("ethtool", &["-I", "--show-fec", &port.name]);
    text += &run("ethtool", &["-I", "--show-pause", &port.name]);
    let number = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
        let line = line.unwrap_or_else(|| panic!("{name} in {text}"));
        line.trim_start_matches(':').trim().parse().unwrap()
    };
    let errors = [
        ("symbol", "eth-phy-SymbolErrorDuringCarrier"),
        ("fcs", "eth-mac-FrameCheckSequenceErrors"),
        ("alignment", "eth-mac-AlignmentErrors"),
        ("late_collision", "eth-mac-LateCollisions"),
        ("excessive_collisions", "eth-mac-FramesAbortedDueToXSColls"),
        ("mac_transmit", "eth-mac-FramesLostDueToIntMACXmitError"),
        ("carrier", "eth-mac-CarrierSenseErrors"),
        ("mac_receive", "eth-mac-FramesLostDueToIntMACRcvError"),
        ("excessive_deferral", "eth-mac-FramesWithExcessiveDeferral"),
        ("length", "eth-mac-InRangeLengthErrors"),
        ("length_field", "eth-mac-OutOfRangeLengthField"),
        ("too_long", "eth-mac-FrameTooLongErrors"),
        ("undersize", "rmon-etherStatsUndersizePkts"),
        ("oversize", "rmon-etherStatsOversizePkts"),
        ("fragments", "rmon-etherStatsFragments"),
        ("jabbers", "rmon-etherStatsJabbers"),
    ];
    let device = [("device", port.name.as_str())];
    let served = metrics.series("netdrop_link_errors_total", &device);
    assert_eq!(served.count(), errors.len());
    for (error, name) in errors {
        let served = value(
            metrics,
            "netdrop_link_errors_total",
            port,
            &[("error", error)],
        );
        assert_eq!(served, Some(number(name)), "{error}");
    }
    for (name, ethtool) in [
        (
            "netdrop_link_fec_corrected_blocks_total",
            "corrected_blocks",
        ),
        (
            "netdrop_link_fec_uncorrectable_blocks_total",
            "uncorrectable_blocks",
        ),
    ] {
        assert_eq!(
            value(metrics, name, port, &[]),
            Some(number(ethtool)),
            "{name}"
        );
    }
    for (direction, ethtool) in [
        ("receive", "rx_pause_frames"),
        ("transmit", "tx_pause_frames"),
    ] {
        let labels = [("direction", direction)];
        let served = value(metrics, "netdrop_link_pause_frames_total", port, &labels);
        assert_eq!(served, Some(number(ethtool)), "{direction}");
    }
}
