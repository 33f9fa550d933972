//! What 64 ports cost that tell all they can: the thread that asks them, and scrapes.

use std::fs;
use std::time::{Duration, Instant};

use netdrop_tests::testport::{TestPort, TestPorts};
use netdrop_tests::wait::SOON;
use netdrop_tests::{Exporter, Room, poll_for};

use super::PORTS_ONLY;

const PORTS: usize = 64;
const SCRAPES: usize = 31;

/// How much longer a scrape may take than its text is longer.
const SLOWER: f64 = 1.5;

/// The time that the thread which reads ports has run (`Documentation/scheduler/sched-stats.rst`).
fn reader_ran(exporter: &Exporter) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{}/task", exporter.pid())).unwrap();
    let mut tasks = tasks.map(|task| task.unwrap().path());
    let is_reader = |name: String| name.trim() == "ports";
    let reader = tasks.find(|task| fs::read_to_string(task.join("comm")).is_ok_and(is_reader));
    let ran = fs::read_to_string(reader.unwrap().join("schedstat")).unwrap();
    let nanoseconds = ran.split(' ').next().unwrap().parse().unwrap();
    Duration::from_nanos(nanoseconds)
}

/// When each port was read last.
fn read_at(exporter: &Exporter) -> Vec<f64> {
    let metrics = exporter.scrape();
    let read_at = metrics.series("netdrop_port_last_read_timestamp_seconds", &[]);
    read_at.map(|sample| sample.value).collect()
}

/// Waits until each port was read once more, and returns what the thread took for that.
fn round(exporter: &Exporter) -> Duration {
    let (before, ran) = (read_at(exporter), reader_ran(exporter));
    poll_for("each port is read again", SOON, || {
        std::thread::sleep(Duration::from_millis(500));
        let now = read_at(exporter);
        let mut pairs = before.iter().zip(&now);
        pairs
            .all(|(before, now)| now > before)
            .then(|| reader_ran(exporter) - ran)
    })
}

#[test]
#[ignore = "needs the test module: run by tests/kernels/run.sh"]
fn a_scrape_of_64_ports_takes_longer_only_as_its_text_is_longer() {
    let _room = Room::enter();
    let ports = TestPorts::load(PORTS);
    let ports: Vec<TestPort> = (0..PORTS).map(|number| ports.port(number)).collect();
    for port in &ports {
        port.set("carrier", 1);
        port.set("active_fec", 16);
        for (group, first) in [("mac", 100), ("phy", 200), ("rmon", 300), ("pause", 400)] {
            port.count(group, first);
        }
        port.up();
    }
    let with = Exporter::start(&PORTS_ONLY);
    let without = Exporter::start(&["--no-collector.drops", "--no-collector.port"]);
    poll_for("all ports are read", SOON, || {
        (read_at(&with).len() == PORTS).then_some(())
    });
    let took = round(&with);
    // They take turns, so that a machine that slows down slows both.
    let (mut times, mut bytes) = ([Duration::MAX; 2], [0; 2]);
    for _ in 0..SCRAPES {
        for (n, exporter) in [&with, &without].into_iter().enumerate() {
            let began = Instant::now();
            bytes[n] = exporter.scrape_text().len();
            times[n] = times[n].min(began.elapsed());
        }
    }
    let [with, without] = times.map(|time| time.as_secs_f64() * 1e3);
    let (slower, longer) = (with / without, bytes[0] as f64 / bytes[1] as f64);
    println!("FEATURE ms_of_{PORTS}_ports {}", took.as_millis());
    println!(
        "{} KiB in {with:.2} ms, {} KiB in {without:.2} ms",
        bytes[0] / 1024,
        bytes[1] / 1024
    );
    assert!(
        slower < longer * SLOWER,
        "{slower} times slower, {longer} times longer"
    );
}
