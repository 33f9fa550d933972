//! What must hold between the scrapes of one exporter, and between a scrape and the kernel's own counts.

use std::collections::{BTreeMap, BTreeSet};

use crate::metrics::Metrics;
use crate::tracefs::Witness;
use crate::wait::{SOON, try_poll};

const DROPPED: &str = "netdrop_dropped_packets_total";
const CATEGORIES: &str = "netdrop_category_dropped_packets_total";
const UNATTRIBUTED: &str = "netdrop_unattributed_packets_total";
const OF_LINKS: [&str; 3] = [
    "netdrop_link_carrier_up_changes_total",
    "netdrop_link_carrier_down_changes_total",
    "netdrop_link_transitions_total",
];

/// Every drop since the exporter's start.
pub fn total(metrics: &Metrics) -> f64 {
    metrics.sum(CATEGORIES, &[]) + metrics.sum(UNATTRIBUTED, &[])
}

/// Waits until the witness has seen so many drops; panics with what it saw when it sees fewer, or more.
pub fn wait_for_drops(witness: &Witness, number: u64) {
    let all = || (witness.count() == number).then_some(());
    if try_poll(SOON, all).is_none() {
        let (seen, kinds) = (witness.count(), witness.kinds());
        panic!("{number} frames, but the witness saw {seen} drops, and of the last {kinds:?}");
    }
}

/// What the drops in the witness' buffer were: reason and function.
pub fn causes(witness: &Witness) -> BTreeSet<(String, String)> {
    let drops = witness.drops().into_iter();
    drops.map(|drop| (drop.reason, drop.function)).collect()
}

/// Asserts that the series of these causes in the exporter's namespace, and those drops that the kernel could
/// not attribute, are all that the witness saw; and that categories and series are two views of the same
/// packets.
pub fn assert_all_there(metrics: &Metrics, causes: &BTreeSet<(String, String)>, witness: &Witness) {
    let of_cause = |(reason, function): &(String, String)| {
        let cause = [("reason", reason.as_str()), ("function", function)];
        metrics.sum(DROPPED, &[cause[0], cause[1], ("netns", "host")])
    };
    let packets: f64 = causes.iter().map(of_cause).sum();
    let cause = |cause| metrics.value(UNATTRIBUTED, &[("cause", cause)]).unwrap();
    assert_eq!(cause("map_full"), 0.0, "the maps were large enough");
    witness.assert_all_seen(packets + cause("nested"));
    assert_eq!(metrics.sum(CATEGORIES, &[]), metrics.sum(DROPPED, &[]));
}

/// Asserts that no counter of a scrape is smaller or gone in the next, and returns how many scrapes had
/// more drops than the one before.
pub fn never_backwards(scrapes: &[Metrics]) -> usize {
    scrapes
        .windows(2)
        .filter(|pair| {
            assert_forward(&pair[0], &pair[1]);
            total(&pair[1]) > total(&pair[0])
        })
        .count()
}

fn assert_forward(earlier: &Metrics, later: &Metrics) {
    let after: BTreeMap<_, _> = later
        .samples
        .iter()
        .map(|sample| ((&sample.name, &sample.labels), sample.value))
        .collect();
    for sample in &earlier.samples {
        // Counters of a link end with it, and begin again with one that is made anew.
        if earlier.types[&sample.name] != "counter" || OF_LINKS.contains(&sample.name.as_str()) {
            continue;
        }
        let value = after.get(&(&sample.name, &sample.labels));
        let value = value.unwrap_or_else(|| panic!("{sample:?} is gone"));
        assert!(*value >= sample.value, "{sample:?} went back to {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrape(value: u32) -> Metrics {
        Metrics::parse(&format!(
            "# TYPE {CATEGORIES} counter\n{CATEGORIES}{{category=\"link\"}} {value}\n"
        ))
    }

    #[test]
    fn scrapes_with_more_drops_are_counted() {
        let scrapes: Vec<_> = [1, 1, 3, 4].map(scrape).into();
        assert_eq!(never_backwards(&scrapes), 2);
    }

    #[test]
    #[should_panic(expected = "went back to 2")]
    fn a_smaller_counter_is_an_error() {
        never_backwards(&[scrape(3), scrape(2)]);
    }

    #[test]
    #[should_panic(expected = "is gone")]
    fn a_vanished_counter_is_an_error() {
        never_backwards(&[scrape(3), Metrics::default()]);
    }
}
