//! What the exporter itself takes: memory, disk, and time to the first answer.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed step of a test ends the test, with the step's name"
)]

use std::{fmt::Write, fs, time::Instant};

use netdrop_tests::{
    Exporter, Flood, Namespace, Room, launch, netns::Veth, wait::SOON, wait_until,
};

/// Series of dropped packets, each of a device of its own.
const SERIES: usize = 1_000;
const MIB: u64 = 1024 * 1024;
/// The bound on memory and on the binary.
const LIMIT: u64 = 8 * MIB;

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn after_100_scrapes_of_1000_series_it_takes_less_than_8_mib() {
    let _room = Room::enter();
    let (here, there) = (Namespace::new(), Namespace::new());
    let devices = devices_without_carrier(&here, &there);
    let begin = Instant::now();
    let exporter = Exporter::launch().namespace(&here).start();
    exporter.scrape();
    let first_answer = begin.elapsed();

    here.enter(|| {
        for device in &devices.names {
            Flood {
                bypass_qdisc: true,
                ..Flood::over(device, 1)
            }
            .send();
        }
    });
    for _ in 0..100 {
        exporter.scrape();
    }

    let last = exporter.scrape();
    let with_device = |n: &&String| {
        last.value("netdrop_dropped_packets_total", &[("device", n.as_str())]) == Some(1.0)
    };
    assert_eq!(devices.names.iter().filter(with_device).count(), SERIES);
    let status = fs::read_to_string(format!("/proc/{}/status", exporter.pid())).unwrap();
    let kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|value| value.trim().trim_end_matches(" kB").parse().ok())
        .unwrap();
    println!(
        "first answer {} ms after the start",
        first_answer.as_millis()
    );
    println!(
        "{:.1} MiB resident after 100 scrapes of {SERIES} series",
        kib as f64 / 1024.0
    );
    assert!(kib * 1024 < LIMIT, "{kib} KiB resident");
}

#[test]
#[ignore = "needs the release build: run by tests/run.sh"]
fn the_binary_takes_less_than_8_mib() {
    let size = fs::metadata(launch::binary()).unwrap().len();
    println!("the binary takes {:.1} MiB", size as f64 / MIB as f64);
    assert!(size < LIMIT, "{size} bytes");
}

struct Devices {
    names: Vec<String>,
    _lower: Veth,
}

/// Macvlans above a device that has lost its carrier: what is sent on one is dropped there.
fn devices_without_carrier(here: &Namespace, there: &Namespace) -> Devices {
    let lower = Veth::between(here, there);
    // First: the loss would take a moment to reach devices that exist already.
    there.ip(&["link", "set", "dev", &lower.b, "down"]);
    wait_until("the loss of carrier is seen", SOON, || {
        here.ip(&["link", "show", "dev", &lower.a])
            .contains("NO-CARRIER")
    });
    let names: Vec<_> = (0..SERIES).map(|n| format!("m{n}")).collect();
    let mut batch = String::new();
    for name in &names {
        writeln!(
            batch,
            "link add {name} link {} up type macvlan mode private",
            lower.a
        )
        .unwrap();
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), batch).unwrap();
    here.ip(&["-batch", file.path().to_str().unwrap()]);
    Devices {
        names,
        _lower: lower,
    }
}
