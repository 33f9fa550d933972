//! The exporter's account of all drops of the machine, beside the kernel's own.

use std::collections::{BTreeMap, BTreeSet};

use crate::exporter::Exporter;
use crate::metrics::Metrics;
use crate::tracefs::Witness;
use crate::wait::{SOON, poll_for};

const DROPPED: &str = "netdrop_dropped_packets_total";
const CATEGORIES: &str = "netdrop_category_dropped_packets_total";
const WORKLOADS: &str = "netdrop_workload_dropped_packets_total";
const UNATTRIBUTED: &str = "netdrop_unattributed_packets_total";

/// Counts from its opening on.
#[derive(Debug)]
pub struct Ledger<'a> {
    exporter: &'a Exporter,
    witness: Witness,
    opening: Page,
}

/// What both sides have counted at a moment without drops.
#[derive(Debug, Clone, Copy)]
struct Page {
    seen: u64,
    seen_in_init: u64,
    counted: f64,
}

impl<'a> Ledger<'a> {
    /// Opens it for an exporter that runs already.
    pub fn open(exporter: &'a Exporter) -> Self {
        let witness = Witness::of_all();
        let (opening, _) = settle(exporter, &witness);
        Self {
            exporter,
            witness,
            opening,
        }
    }

    /// Asserts that the exporter has counted every drop since the opening, once, and that its two views of
    /// them agree. Returns the scrape.
    ///
    /// Drops in the context of process 1 are all there or all missing, see [`Witness::count_in_init`].
    pub fn balance(&self) -> Metrics {
        let (page, metrics) = settle(self.exporter, &self.witness);
        let seen = page.seen - self.opening.seen;
        let in_init = page.seen_in_init - self.opening.seen_in_init;
        let counted = page.counted - self.opening.counted;
        println!("{counted} counted of {seen}, {in_init} of them in the context of process 1");
        assert!(
            counted == seen as f64 || counted == (seen - in_init) as f64,
            "{counted} counted of {seen}, {in_init} of them in the context of process 1"
        );
        // No series ends within a test's time, so none takes packets with it.
        assert_eq!(
            metrics.sum(CATEGORIES, &[]),
            metrics.sum(DROPPED, &[]),
            "categories and series are two views of the same packets"
        );
        if metrics.types.contains_key(WORKLOADS) {
            assert_eq!(
                metrics.sum(WORKLOADS, &[]),
                metrics.sum(CATEGORIES, &[]),
                "workloads are a third one"
            );
        }
        metrics
    }

    /// How many drops the kernel has seen since the opening.
    pub fn seen(&self) -> u64 {
        self.witness.count() - self.opening.seen
    }

    /// Asserts that `counted`, a part of the scrape, is `expected` but for what has no key by the scrape's own
    /// word, and for what no BPF program was shown.
    pub fn assert_part(&self, metrics: &Metrics, counted: f64, expected: u64) {
        self.assert_part_but(metrics, counted, expected, 0.0);
    }

    /// The same, with so many drops at most that have another key.
    pub fn assert_part_but(&self, metrics: &Metrics, counted: f64, expected: u64, others: f64) {
        let in_init = self.witness.count_in_init() - self.opening.seen_in_init;
        let without_key = metrics.sum(UNATTRIBUTED, &[]);
        let missing = expected as f64 - counted;
        assert!(
            (0.0..=others + without_key + in_init as f64).contains(&missing),
            "{counted} of {expected}, {others} with another key, {without_key} without one, {in_init} in process 1"
        );
    }
}

/// A scrape during which the machine dropped nothing.
fn settle(exporter: &Exporter, witness: &Witness) -> (Page, Metrics) {
    poll_for("a scrape without a drop beside it", 3 * SOON, || {
        let seen = || (witness.count(), witness.count_in_init());
        let before = seen();
        let metrics = exporter.scrape();
        let page = Page {
            seen: before.0,
            seen_in_init: before.1,
            counted: total(&metrics),
        };
        (seen() == before).then_some((page, metrics))
    })
}

/// Every drop since the exporter's start.
fn total(metrics: &Metrics) -> f64 {
    metrics.sum(CATEGORIES, &[]) + metrics.sum(UNATTRIBUTED, &[])
}

/// What the drops in the witness' buffer were: reason and function.
pub fn causes(witness: &Witness) -> BTreeSet<(String, String)> {
    let drops = witness.drops().into_iter();
    drops.map(|drop| (drop.reason, drop.function)).collect()
}

/// Asserts that the series of these causes in the exporter's namespace are all that the witness saw, but for what
/// nested, of which it does not know whose it was; and that categories and series are two views of the same packets.
pub fn assert_all_there(metrics: &Metrics, causes: &BTreeSet<(String, String)>, witness: &Witness) {
    let of_cause = |(reason, function): &(String, String)| {
        let cause = [("reason", reason.as_str()), ("function", function)];
        metrics.sum(DROPPED, &[cause[0], cause[1], ("netns", "host")])
    };
    let packets: f64 = causes.iter().map(of_cause).sum();
    let cause = |cause| metrics.value(UNATTRIBUTED, &[("cause", cause)]).unwrap();
    assert_eq!(cause("map_full"), 0.0, "the maps were large enough");
    witness.assert_all_seen(packets, cause("nested"));
    assert_eq!(metrics.sum(CATEGORIES, &[]), metrics.sum(DROPPED, &[]));
}

/// Asserts that no counter of a scrape is smaller or gone in the next, and returns how many scrapes had
/// more drops than the one before.
pub fn never_backwards(scrapes: &[Metrics]) -> usize {
    let mut grown = 0;
    for pair in scrapes.windows(2) {
        let [earlier, later] = pair else { continue };
        let later_values: BTreeMap<_, _> = later
            .samples
            .iter()
            .map(|sample| ((&sample.name, &sample.labels), sample.value))
            .collect();
        for sample in &earlier.samples {
            // Counters of a link end with it, and begin again with one that is made anew.
            let name = sample.name.as_str();
            let of_link = name.starts_with("netdrop_link_") && !name.contains("_dropped_");
            if earlier.types[name] != "counter" || of_link {
                continue;
            }
            let value = later_values.get(&(&sample.name, &sample.labels));
            let value = value.unwrap_or_else(|| panic!("{sample:?} is gone"));
            assert!(*value >= sample.value, "{sample:?} went back to {value}");
        }
        grown += usize::from(total(later) > total(earlier));
    }
    grown
}
