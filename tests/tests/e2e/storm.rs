//! A minute of everything at once: the highest rate of drops, two scrapers, devices that come and go.

use std::thread;
use std::time::{Duration, Instant};

use netdrop_tests::counters::{never_backwards, total};
use netdrop_tests::netns::Veth;
use netdrop_tests::pressure::under_flood;
use netdrop_tests::wait::SOON;
use netdrop_tests::{Exporter, Flood, Metrics, Namespace, Room, Witness, poll_for};

const STORM: Duration = Duration::from_secs(60);
/// By then the exporter has all buffers that a flood makes it have, and the rest of the storm adds none.
const WARM: Duration = Duration::from_secs(10);
/// How much the resident memory may grow from then on.
const GROWTH: f64 = 1.1;
/// How many times the median of a quiet scrape 99 of 100 may take. The others may meet what else runs on the machine.
const SLOWER: u32 = 20;
const QUIET_SCRAPES: usize = 50;
/// What each scraper waits between scrapes: many times the rate of any Prometheus.
const PAUSE: Duration = Duration::from_millis(100);
/// Names that the devices take turns with, so that the series are all there when the memory is first looked at.
const NAMES: usize = 8;
/// Frames for each device that comes and goes, under each of its two names.
const EACH: u64 = 50;

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_minute_of_storm_is_counted_exactly_with_flat_memory_and_prompt_scrapes() {
    let _room = Room::enter();
    let (here, there) = (Namespace::new(), Namespace::new());
    let veth = Veth::between(&here, &there);
    let exporter = Exporter::launch().namespace(&here).start();
    let quiet = median((0..QUIET_SCRAPES).map(|_| scrape(&exporter).0).collect());
    let witness = Witness::of_all();
    let before = look(&exporter, &witness);

    let begin = Instant::now();
    let (sent, (mut times, warm)) = under_flood(&there, &veth.b, |_| {
        thread::scope(|scope| {
            let scraper = || scrape_until(&exporter, begin + STORM);
            let scrapers = [scope.spawn(scraper), scope.spawn(scraper)];
            let churn = scope.spawn(|| churn_until(&here, &there, begin + STORM));
            thread::sleep(WARM);
            let warm = exporter.resident_kib();
            let devices = churn.join().unwrap();
            println!("{devices} devices came and went");
            assert!(devices >= 50, "only {devices} devices came and went");
            (scrapers.map(|thread| thread.join().unwrap()).concat(), warm)
        })
    });
    let end = exporter.resident_kib();
    let after = look(&exporter, &witness);

    assert_exact(&before, &after, &witness);
    assert!(
        after.seen - before.seen >= sent,
        "{sent} frames in {after:?}"
    );
    times.sort_unstable();
    let slow = times[times.len() * 99 / 100];
    println!("{sent} frames, {} scrapes", times.len());
    println!("99 of 100 within {slow:?}, the slowest {:?}", times.last());
    println!("median {:?}, when it was quiet {quiet:?}", median(times));
    assert!(
        slow <= quiet * SLOWER,
        "{slow:?}, and a quiet one {quiet:?}"
    );
    println!("{warm} KiB resident after {WARM:?}, {end} KiB at the end");
    assert!(end as f64 <= warm as f64 * GROWTH, "{warm} -> {end} KiB");
}

/// What exporter and witness have counted at the same moment.
#[derive(Debug)]
struct Look {
    counted: f64,
    seen: u64,
}

/// One scrape between two counts of the witness that are the same.
fn look(exporter: &Exporter, witness: &Witness) -> Look {
    poll_for("a moment without drops", SOON, || {
        let seen = witness.count();
        let counted = total(&exporter.scrape());
        (seen == witness.count()).then_some(Look { counted, seen })
    })
}

/// Every drop of the machine between two looks is counted, of whatever kind and wherever; as
/// [`Witness::assert_all_seen`] says, but for those in the context of process 1 where no program sees them.
fn assert_exact(before: &Look, after: &Look, witness: &Witness) {
    let counted = after.counted - before.counted;
    let seen = (after.seen - before.seen) as f64;
    let in_init = witness.count_in_init() as f64;
    assert!(
        counted == seen || counted == seen - in_init,
        "{counted} counted of {seen}, {in_init} of them in the context of process 1"
    );
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
        // Older kernels rename a device only while it is down.
        here.ip(&["link", "set", "dev", &veth.a, "down"]);
        here.ip(&["link", "set", "dev", &veth.a, "name", &second]);
        here.ip(&["link", "set", "dev", &second, "up"]);
        veth.a = second;
        here.wait_for_carrier(&veth.a);
        there.enter(|| Flood::over(&veth.b, EACH).send());
        devices += 1;
    }
    devices
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
