//! Some time of everything at once: the highest rate of drops, two scrapers, devices that come and go.

use std::thread;
use std::time::{Duration, Instant};

use netdrop_tests::ledger::never_backwards;
use netdrop_tests::netns::{Veth, rename};
use netdrop_tests::send::{two_cpus, under_flood};
use netdrop_tests::{Exporter, Flood, Ledger, Metrics, Namespace, Pair, Room};

const STORM: Duration = Duration::from_secs(20);
/// By then the exporter has all buffers that a flood makes it have, and the rest of the storm adds none.
const WARM: Duration = Duration::from_secs(6);
/// How much the resident memory may grow from then on.
const GROWTH: f64 = 1.1;
/// How many times the median of a quiet scrape the median of the storm may be.
const SLOWER: u32 = 20;
/// No scrape takes longer: Prometheus would give it up (`scrape_timeout`). What else runs on the machine may delay one
/// by seconds.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(10);
const QUIET_SCRAPES: usize = 50;
/// What each scraper waits between scrapes: many times the rate of any Prometheus.
const PAUSE: Duration = Duration::from_millis(100);
/// Names that the devices take turns with, so that the series are all there when the memory is first looked at.
const NAMES: usize = 8;
/// Frames for each device that comes and goes, under each of its two names.
const EACH: u64 = 50;

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_storm_is_counted_exactly_with_flat_memory_and_prompt_scrapes() {
    let _room = Room::enter();
    let pair = Pair::new();
    let exporter = &pair.exporter;
    let quiet = median((0..QUIET_SCRAPES).map(|_| scrape(exporter).0).collect());
    let ledger = Ledger::open(exporter);

    let begin = Instant::now();
    let storm = |_: &_| {
        thread::scope(|scope| {
            let scraper = || scrape_until(exporter, begin + STORM);
            let scrapers = [scope.spawn(scraper), scope.spawn(scraper)];
            let churn = scope.spawn(|| churn_until(&pair.host, &pair.peer, begin + STORM));
            thread::sleep(WARM);
            let warm = exporter.resident_kib();
            let devices = churn.join().unwrap();
            println!("{devices} devices came and went");
            assert!(devices >= 2 * NAMES, "only {devices} devices came and went");
            (scrapers.map(|thread| thread.join().unwrap()).concat(), warm)
        })
    };
    let (sent, (mut times, warm)) = under_flood(&pair.peer, &pair.veth.b, &two_cpus(), storm);
    let end = exporter.resident_kib();

    ledger.balance();
    assert!(ledger.seen() >= sent, "{sent} frames");
    times.sort_unstable();
    let (slowest, stormy) = (times[times.len() - 1], times[times.len() / 2]);
    println!("{sent} frames, {} scrapes", times.len());
    println!("99 of 100 within {:?}", times[times.len() * 99 / 100]);
    println!("median {stormy:?}, when it was quiet {quiet:?}");
    assert!(stormy <= quiet * SLOWER, "{stormy:?}, quiet {quiet:?}");
    assert!(slowest <= SCRAPE_TIMEOUT, "{slowest:?}");
    println!("{warm} KiB resident after {WARM:?}, {end} KiB at the end");
    assert!(end as f64 <= warm as f64 * GROWTH, "{warm} -> {end} KiB");
}

/// How long each scrape took; no counter went backwards meanwhile.
fn scrape_until(exporter: &Exporter, end: Instant) -> Vec<Duration> {
    let mut times = Vec::new();
    let (_, mut earlier) = scrape(exporter);
    while Instant::now() < end {
        thread::sleep(PAUSE);
        let (took, later) = scrape(exporter);
        times.push(took);
        let pair = [earlier, later];
        never_backwards(&pair);
        [_, earlier] = pair;
    }
    times
}

/// One scrape, and how long the exporter took for it.
fn scrape(exporter: &Exporter) -> (Duration, Metrics) {
    let begin = Instant::now();
    let text = exporter.scrape_text();
    (begin.elapsed(), Metrics::parse(&text))
}

/// Creates devices, renames and deletes them, and drops packets at each under both names. Returns how many.
fn churn_until(here: &Namespace, there: &Namespace, end: Instant) -> usize {
    let mut devices = 0;
    while Instant::now() < end {
        let [first, second, far] =
            ["calm", "storm", "far"].map(|name| format!("{name}{}", devices % NAMES));
        let mut veth = Veth::named(here, &first, there, &far, None);
        there.enter(|| Flood::over(&veth.b, EACH).send());
        rename(here, &veth.a, &second);
        veth.a = second;
        there.enter(|| Flood::over(&veth.b, EACH).send());
        devices += 1;
    }
    devices
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
