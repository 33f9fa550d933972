//! The exporter's account of all drops of the machine, beside the kernel's own.

use crate::exporter::Exporter;
use crate::metrics::Metrics;
use crate::tracefs::Witness;
use crate::wait::{SOON, poll_for};

const DROPPED: &str = "netdrop_dropped_packets_total";
const CATEGORIES: &str = "netdrop_category_dropped_packets_total";
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
            metrics.sum(DROPPED, &[]),
            metrics.sum(CATEGORIES, &[]),
            "categories and series are two views of the same packets"
        );
        metrics
    }

    /// How many drops the kernel has seen since the opening.
    pub fn seen(&self) -> u64 {
        self.witness.count() - self.opening.seen
    }

    /// Asserts that `counted`, a part of the scrape, is `expected` but for what has no key by the scrape's own
    /// word, and for what no BPF program was shown.
    pub fn assert_part(&self, metrics: &Metrics, counted: f64, expected: u64) {
        let in_init = self.witness.count_in_init() - self.opening.seen_in_init;
        let without_key = metrics.sum(UNATTRIBUTED, &[]);
        let missing = expected as f64 - counted;
        assert!(
            (0.0..=without_key + in_init as f64).contains(&missing),
            "{counted} of {expected}, {without_key} without a key, {in_init} in process 1"
        );
    }
}

/// A scrape during which the machine dropped nothing.
fn settle(exporter: &Exporter, witness: &Witness) -> (Page, Metrics) {
    poll_for("a scrape without a drop beside it", 3 * SOON, || {
        let before = witness.count();
        let metrics = exporter.scrape();
        let page = Page {
            seen: witness.count(),
            seen_in_init: witness.count_in_init(),
            counted: metrics.sum(CATEGORIES, &[]) + metrics.sum(UNATTRIBUTED, &[]),
        };
        (page.seen == before).then_some((page, metrics))
    })
}
