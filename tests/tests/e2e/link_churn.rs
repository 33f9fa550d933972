//! Links that come, go, move and change their names by the hundred, and others that keep the kernel's RTNL
//! lock busy: a scrape neither fails nor waits.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use netdrop_tests::wait::StopOnDrop;
use netdrop_tests::{Exporter, Metrics, Namespace, Room, Watched, links, rtnl};

const PAIRS: usize = 250;
/// Rounds without a move, which is what takes long.
const SHORT_ROUNDS: usize = 13;
/// After so many of them the allocator has what it needs: the heap grows in steps, and less and less.
const WARM: usize = 3;
/// 200 bytes that were kept of each of the 5,000 devices since then.
const GROWTH_KIB: u64 = 1024;
/// Scrapes and looks at the lock of one measurement.
const SAMPLES: usize = 100;

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn hundreds_of_links_come_and_go_while_it_is_scraped() {
    let _room = Room::enter();
    let watched = Watched::new();
    let away = Namespace::new();
    let done = AtomicBool::new(false);
    let (scrapes, seen) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        let scraper = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let links = check(&watched.exporter.scrape());
                seen.fetch_max(links, Ordering::Relaxed);
                scrapes.fetch_add(1, Ordering::Relaxed);
            }
        });
        // Also when a round fails, or nobody would end the scraper.
        let _stop = StopOnDrop(&done);
        churn(&watched.host, Some(&away), 0);
        let mut before = 0;
        for round in 1..=SHORT_ROUNDS {
            assert!(!scraper.is_finished(), "a scrape failed");
            churn(&watched.host, None, round);
            if round == WARM {
                before = watched.exporter.resident_kib();
            }
        }
        let after = watched.exporter.resident_kib();
        println!("resident: {before} KiB, then {after} KiB");
        assert!(
            after <= before + GROWTH_KIB,
            "grew from {before} to {after} KiB"
        );
    });
    let (links, metrics) = watched.same_with_scrape();
    assert_eq!(links.keys().collect::<Vec<_>>(), ["lo"]);
    let left = links::devices_with_series(&metrics);
    assert_eq!(left, BTreeSet::from(["lo".to_owned()]));
    let (scrapes, seen) = (scrapes.into_inner(), seen.into_inner());
    println!("{scrapes} scrapes, of up to {seen} links");
    assert!(
        scrapes >= 10 && seen > PAIRS,
        "it was not scraped meanwhile"
    );
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_scrape_takes_no_longer_while_the_rtnl_lock_is_busy() {
    let _room = Room::enter();
    // Without drops: to read those takes long enough to hide a wait for the lock.
    let launch = Exporter::launch().arguments(&["--no-collector.drops"]);
    let watched = Watched::launch(Namespace::new(), launch);
    let others = [Namespace::new(), Namespace::new()];
    let moving: String = (0..20)
        .map(|n| format!("link add m{n} type ifb\n"))
        .collect();
    others[0].ip_batch(&moving);
    let mut links = String::new();
    for n in 0..50 {
        writeln!(links, "link add l{n} up type veth peer name p{n}").unwrap();
        writeln!(links, "link set p{n} up").unwrap();
    }
    watched.host.ip_batch(&links);
    watched.same();

    let quiet = medians(&watched);
    let done = AtomicBool::new(false);
    let busy = thread::scope(|scope| {
        scope.spawn(|| {
            // The kernel holds the lock over the grace periods of a move (__dev_change_net_namespace).
            let all = |to: &Namespace| -> String {
                (0..20)
                    .map(|n| format!("link set m{n} netns {}\n", to.name()))
                    .collect()
            };
            while !done.load(Ordering::Relaxed) {
                others[0].ip_batch(&all(&others[1]));
                others[1].ip_batch(&all(&others[0]));
            }
        });
        let _stop = StopOnDrop(&done);
        medians(&watched)
    });

    println!("scrape: {:?}, then {:?}", quiet.0, busy.0);
    println!("RTM_GETLINK: {:?}, then {:?}", quiet.1, busy.1);
    // On a busy machine both take longer, but who waits for the lock takes as long as the question.
    assert!(
        busy.0 * 4 < busy.1,
        "scrapes wait for the lock, or it was not busy"
    );
}

/// How long a scrape takes, and a question that the kernel answers under the lock. In turns, so that both
/// meet the same machine.
fn medians(watched: &Watched) -> (Duration, Duration) {
    let mut times = [const { Vec::new() }; 2];
    for _ in 0..SAMPLES {
        let begin = Instant::now();
        watched.exporter.scrape_text();
        times[0].push(begin.elapsed());
        times[1].push(watched.host.enter(|| {
            let begin = Instant::now();
            assert!(rtnl::carrier(1).is_there);
            begin.elapsed()
        }));
    }
    let [scrape, lock] = times.map(|mut times| {
        times.sort_unstable();
        times[SAMPLES / 2]
    });
    (scrape, lock)
}

/// Creates pairs, takes them up, renames, moves away, half of them back, and deletes them all.
fn churn(host: &Namespace, away: Option<&Namespace>, round: usize) {
    let lines =
        |line: &dyn Fn(usize) -> String| -> String { (0..PAIRS).map(|n| line(n) + "\n").collect() };
    host.ip_batch(&lines(&|n| {
        format!("link add r{round}a{n} up group 7 type veth peer name r{round}b{n} group 7")
    }));
    host.ip_batch(&lines(&|n| format!("link set r{round}b{n} up")));
    host.ip_batch(&lines(&|n| {
        format!("link set r{round}a{n} name r{round}c{n}")
    }));
    if let Some(away) = away {
        host.ip_batch(&lines(&|n| {
            format!("link set r{round}c{n} netns {}", away.name())
        }));
        let back: String = (0..PAIRS / 2)
            .map(|n| format!("link set r{round}c{n} netns {}\n", host.name()))
            .collect();
        away.ip_batch(&back);
        away.ip(&["link", "delete", "group", "7"]);
    }
    // One by one, and all at once.
    let some: String = (0..20)
        .map(|n| format!("link del r{round}c{n}\n"))
        .collect();
    host.ip_batch(&some);
    host.ip(&["link", "delete", "group", "7"]);
}

/// That every collector succeeded and every link is whole; returns how many links there were.
fn check(metrics: &Metrics) -> usize {
    for collector in ["link", "drops", "process"] {
        assert_eq!(metrics.success(collector), Some(true), "{collector} failed");
    }
    let served = links::served(metrics);
    let devices = links::devices_with_series(metrics);
    assert!(devices.iter().eq(served.keys()), "series without info");
    served.len()
}
