//! Every dropped packet is counted, once, under load from several CPUs and while it is read all the time.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

use netdrop_tests::exporter::Exporter;
use netdrop_tests::netns::Veth;
use netdrop_tests::wait::SOON;
use netdrop_tests::{Flood, Metrics, Namespace, Room, Witness, send, wait_until};

const FRAMES: u64 = 500_000;
const DROPPED: &str = "netdrop_dropped_packets_total";
const BYTES: &str = "netdrop_dropped_bytes_total";
const CATEGORIES: &str = "netdrop_category_dropped_packets_total";
const UNATTRIBUTED: &str = "netdrop_unattributed_packets_total";

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn half_a_million_drops_from_two_cpus_are_counted_exactly_and_never_backwards() {
    let _room = Room::enter();
    let cpus = send::cpus();
    assert!(cpus.len() >= 2, "this test needs two CPUs");
    let (receiver, sender) = (Namespace::new(), Namespace::new());
    let veth = Veth::between(&receiver, &sender);
    let witness = Witness::of_protocol(send::ETHERTYPE);
    let exporter = Exporter::launch()
        .namespace(&receiver)
        .arguments(&["--collector.drops.bytes"])
        .start();
    let flood = Flood::over(&veth.b, FRAMES / 2);

    let (sent, scrapes) = while_scraping(&exporter, || {
        sender.enter(|| {
            thread::scope(|scope| {
                let start = |&cpu| {
                    let flood = Flood {
                        cpu: Some(cpu),
                        ..flood.clone()
                    };
                    scope.spawn(move || flood.send())
                };
                let running: Vec<_> = cpus[..2].iter().map(start).collect();
                running
                    .into_iter()
                    .map(|thread| thread.join().unwrap())
                    .sum::<u64>()
            })
        })
    });
    assert_eq!(sent, FRAMES);
    wait_until("the witness has seen every frame", SOON, || {
        witness.count() == FRAMES
    });

    let last = exporter.scrape();
    let kind = witness.only_kind();
    let labels = [
        ("reason", kind.reason.as_str()),
        ("function", kind.function.as_str()),
        ("state", ""),
        ("device", veth.a.as_str()),
        ("netns", "host"),
    ];
    let packets = last.value(DROPPED, &labels).unwrap_or(0.0);
    assert_eq!(
        last.sum(DROPPED, &[("device", &veth.a)]),
        packets,
        "a second series of the device"
    );
    assert_all_there(packets, &witness, &last);
    // The Ethernet header has been pulled off when the frame is dropped (eth_type_trans).
    let length = flood.length - send::ETHERNET_HEADER;
    assert_eq!(last.value(BYTES, &labels), Some(packets * length as f64));
    never_backwards(&scrapes, &last);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn the_sum_of_categories_and_unattributed_is_every_drop_of_the_machine() {
    let _room = Room::enter();
    let (receiver, sender) = (Namespace::new(), Namespace::new());
    let veth = Veth::between(&receiver, &sender);
    let exporter = Exporter::launch().namespace(&receiver).start();
    let witness = Witness::of_all();

    // Drops of the rest of the machine may fall between two looks, so each scrape stands between two counts
    // of the witness. On a quiet machine both are the same, and so is what they bound.
    let mut looks = Vec::new();
    for _ in 0..20 {
        sender.enter(|| Flood::over(&veth.b, 1_000).send());
        let before = witness.count();
        let metrics = exporter.scrape();
        looks.push((before, total(&metrics), witness.count()));
    }

    let (first, last) = (looks[0], looks[looks.len() - 1]);
    let counted = last.1 - first.1;
    assert!(counted >= 19_000.0, "{looks:?}");
    assert!(
        counted >= (last.0 - first.2) as f64 - witness.count_in_init() as f64,
        "some are missing: {looks:?}"
    );
    assert!(
        counted <= (last.2 - first.0) as f64,
        "some were counted twice: {looks:?}"
    );
}

/// What the list of possible CPUs says where something else covers it: fewer than there are, as a
/// container's may, more, and nonsense.
const FALSE_LISTS: [&str; 6] = ["0", "0-511", "0-4294967295", "3-0", "", "none"];

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_false_list_of_possible_cpus_changes_no_count() {
    let _room = Room::enter();
    let cpus = send::cpus();
    assert!(cpus.len() >= 2, "this test needs two CPUs");
    let (receiver, sender) = (Namespace::new(), Namespace::new());
    let veth = Veth::between(&receiver, &sender);
    for list in FALSE_LISTS {
        let file = NamedTempFile::new().unwrap();
        fs::write(file.path(), list).unwrap();
        let cover = "mount --bind \"$0\" /sys/devices/system/cpu/possible && exec \"$@\"";
        let path = file.path().to_str().unwrap();
        let exporter = Exporter::launch()
            .namespace(&receiver)
            .wrapper(&["unshare", "--mount", "sh", "-c", cover, path])
            .start();
        let witness = Witness::of_protocol(send::ETHERTYPE);
        let send_on = |&cpu| {
            let flood = Flood {
                cpu: Some(cpu),
                ..Flood::over(&veth.b, 100)
            };
            sender.enter(|| flood.send())
        };
        let sent: u64 = cpus.iter().map(send_on).sum();
        wait_until("the witness has seen every frame", SOON, || {
            witness.count() == sent
        });
        println!("{list:?}");
        let metrics = exporter.scrape();
        assert_all_there(
            metrics.sum(DROPPED, &[("device", &veth.a)]),
            &witness,
            &metrics,
        );
        assert_eq!(exporter.complaints(), Vec::<String>::new());
    }
}

/// Asserts that `packets` and those that the kernel could not attribute are what the witness saw.
fn assert_all_there(packets: f64, witness: &Witness, metrics: &Metrics) {
    let cause = |cause| metrics.value(UNATTRIBUTED, &[("cause", cause)]).unwrap();
    println!("{packets} in series, {} nested", cause("nested"));
    assert_eq!(
        cause("map_full"),
        0.0,
        "a map of this size is never full here"
    );
    witness.assert_all_seen(packets + cause("nested"));
    assert_eq!(
        metrics.sum(CATEGORIES, &[]),
        metrics.sum(DROPPED, &[]),
        "categories and series are two views of the same packets"
    );
}

/// Scrapes every 10 ms while `work` runs, and at least ten times.
fn while_scraping<T: Send>(
    exporter: &Exporter,
    work: impl FnOnce() -> T + Send,
) -> (T, Vec<Metrics>) {
    let working = AtomicBool::new(true);
    thread::scope(|scope| {
        let scraper = scope.spawn(|| {
            let mut scrapes = Vec::new();
            while working.load(Ordering::Relaxed) || scrapes.len() < 10 {
                let next = Instant::now() + Duration::from_millis(10);
                scrapes.push(exporter.scrape());
                thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            scrapes
        });
        let result = {
            // Also after a panic, or the scope would wait for the scraper for ever.
            let _end = OnDrop(|| working.store(false, Ordering::Relaxed));
            work()
        };
        (result, scraper.join().unwrap())
    })
}

struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        self.0();
    }
}

/// Asserts that no counter of one scrape is smaller or gone in the next.
fn never_backwards(scrapes: &[Metrics], last: &Metrics) {
    let mut steps = 0;
    for (earlier, later) in scrapes.iter().zip(scrapes[1..].iter().chain([last])) {
        let after: BTreeMap<_, _> = later
            .samples
            .iter()
            .map(|sample| ((&sample.name, &sample.labels), sample.value))
            .collect();
        for sample in &earlier.samples {
            if earlier.types[&sample.name] != "counter" {
                continue;
            }
            let value = after.get(&(&sample.name, &sample.labels));
            let value = value.unwrap_or_else(|| panic!("{sample:?} is gone"));
            assert!(*value >= sample.value, "{sample:?} went back to {value}");
        }
        steps += usize::from(total(later) > total(earlier));
    }
    println!(
        "{} scrapes, {steps} of them with more than the one before",
        scrapes.len()
    );
    assert!(steps > 1, "no scrape saw the flood on its way");
}

fn total(metrics: &Metrics) -> f64 {
    metrics.sum(CATEGORIES, &[]) + metrics.sum(UNATTRIBUTED, &[])
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn counters_with_known_labels_are_born_at_zero() {
    let _room = Room::enter();
    let quiet = Namespace::new();
    let metrics = Exporter::launch().namespace(&quiet).start().scrape();
    let categories = [
        "congestion",
        "policy",
        "malformed",
        "unreachable",
        "connection",
        "link",
        "resource",
        "expected",
        "unknown",
    ];
    for category in categories {
        let value = metrics.value(CATEGORIES, &[("category", category)]);
        assert!(
            value.is_some(),
            "category {category} is not there from the start"
        );
    }
    for cause in ["map_full", "nested"] {
        assert!(metrics.value(UNATTRIBUTED, &[("cause", cause)]).is_some());
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn scrapes_cause_no_drop_themselves() {
    const SCRAPES: u64 = 200;
    let _room = Room::enter();
    let host = Namespace::new();
    let exporter = Exporter::launch().namespace(&host).start();
    // Each on a connection that the server closes: without care the client's end comes too late.
    for _ in 0..SCRAPES {
        exporter.scrape();
    }
    let metrics = exporter.scrape();
    // Nothing else talks over the loopback device of this namespace.
    let caused = metrics.sum(DROPPED, &[("device", "lo"), ("netns", "host")]);
    assert_eq!(caused, 0.0);
}
