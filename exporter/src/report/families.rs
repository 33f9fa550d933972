//! Samples of metric families, by name and label.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use prometheus::proto::{Metric, MetricFamily};

/// The families of one scrape.
#[derive(Clone, Copy)]
pub(crate) struct Families<'a>(pub(crate) &'a [MetricFamily]);

impl<'a> Families<'a> {
    /// The samples of a family; none if the scrape does not have it.
    pub(crate) fn samples(self, name: &str) -> impl Iterator<Item = &'a Metric> {
        let mut families = self.0.iter();
        let family = families.find(|family| family.name() == name);
        family.into_iter().flat_map(MetricFamily::get_metric)
    }

    /// The value for one device of a gauge with the label `device` alone.
    pub(super) fn of_device(self, name: &str, device: &str) -> Option<f64> {
        let mut samples = self.samples(name);
        samples
            .find(|sample| label(sample, "device") == device)
            .map(value)
    }
}

/// A series: the name of its family, and its labels in the order of the scrape.
type Series<'a> = (&'a str, Vec<(&'a str, &'a str)>);

/// What counters were in an earlier scrape.
pub(super) struct Earlier<'a>(HashMap<Series<'a>, u64>);

impl<'a> Earlier<'a> {
    /// The counters of these names.
    pub(super) fn of(scrape: Families<'a>, names: &[&'a str]) -> Self {
        let samples = names
            .iter()
            .flat_map(|&name| scrape.samples(name).map(move |sample| (name, sample)));
        let counts = samples.map(|(name, sample)| ((name, labels(sample)), count(sample)));
        Self(counts.collect())
    }

    /// How much a counter has grown since then. A series that is new began at 0.
    pub(super) fn growth(&self, name: &str, now: &Metric) -> u64 {
        let before = self.0.get(&(name, labels(now))).copied().unwrap_or(0);
        count(now).saturating_sub(before)
    }
}

/// Of which devices and states every packet died of its link. The metrics say how many of a device and state did, not
/// of which reason: only where all did, the link is what each of them died of.
pub(crate) fn died_of_links<K: Eq + Hash>(
    dropped_while_down: impl Iterator<Item = (K, u64)>,
    dropped: impl Iterator<Item = (K, u64)>,
) -> HashSet<K> {
    let (of_link, all) = (sums(dropped_while_down), sums(dropped));
    let died = of_link
        .into_iter()
        .filter(|(key, packets)| *packets > 0 && all.get(key) == Some(packets));
    died.map(|(key, _)| key).collect()
}

fn sums<K: Eq + Hash>(counts: impl Iterator<Item = (K, u64)>) -> HashMap<K, u64> {
    let mut sums = HashMap::new();
    for (key, count) in counts {
        *sums.entry(key).or_default() += count;
    }
    sums
}

fn labels(sample: &Metric) -> Vec<(&str, &str)> {
    let pairs = sample.get_label().iter();
    pairs.map(|pair| (pair.name(), pair.value())).collect()
}

/// The value of a label; empty if the sample does not have it.
pub(crate) fn label<'a>(sample: &'a Metric, name: &str) -> &'a str {
    let mut labels = sample.get_label().iter();
    labels
        .find(|label| label.name() == name)
        .map_or("", |label| label.value())
}

/// The value of a counter of packets: an integer, as all of ours.
pub(crate) fn count(sample: &Metric) -> u64 {
    value(sample) as u64
}

/// The value of a sample made by [`crate::metrics::sample`], which sets counter and gauge alike.
pub(crate) fn value(sample: &Metric) -> f64 {
    sample.get_gauge().get_value()
}
