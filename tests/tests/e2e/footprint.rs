//! What the exporter itself takes: memory, disk, and time to the first answer.

use std::{fs, time::Instant};

use netdrop_tests::{Exporter, Namespace, Room, launch, links, packet, send};

/// Pairs of links; each end drops a frame of every kind.
const PAIRS: usize = 50;
/// Series of dropped packets.
const SERIES: usize = 1_000;
const MIB: u64 = 1024 * 1024;
/// The bound on memory and on the binary.
const LIMIT: u64 = 8 * MIB;

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn after_100_scrapes_of_1000_series_it_takes_less_than_8_mib() {
    let _room = Room::enter();
    let here = Namespace::with_veths(PAIRS);
    let begin = Instant::now();
    let exporter = Exporter::launch().namespace(&here).start();
    exporter.scrape();
    let first_answer = begin.elapsed();

    let frames = packet::of_every_kind();
    here.enter(|| {
        for n in 0..PAIRS {
            for end in ["a", "b"] {
                send::send_frames(&format!("v{n}{end}"), &frames);
            }
        }
    });
    for _ in 0..100 {
        exporter.scrape();
    }

    let last = exporter.scrape();
    let drops = last.series("netdrop_dropped_packets_total", &[("netns", "host")]);
    let of_veths = drops.filter(|drop| drop.labels["device"].starts_with('v') && drop.value == 1.0);
    assert_eq!(of_veths.count(), SERIES);
    let links = links::served(&last).len();
    assert_eq!(links, 2 * PAIRS + 1);
    let kib = exporter.resident_kib();
    println!(
        "first answer {} ms after the start",
        first_answer.as_millis()
    );
    println!(
        "{:.1} MiB resident after 100 scrapes of {SERIES} series of drops and {links} links",
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
