//! Samples of metric families, by name and label.

use prometheus::proto::{Metric, MetricFamily};

/// The families of one scrape.
#[derive(Clone, Copy)]
pub(super) struct Families<'a>(pub(super) &'a [MetricFamily]);

impl<'a> Families<'a> {
    /// The samples of a family; none if the scrape does not have it.
    pub(super) fn samples(self, name: &str) -> impl Iterator<Item = &'a Metric> {
        let mut families = self.0.iter();
        let family = families.find(|family| family.name() == name);
        family.into_iter().flat_map(MetricFamily::get_metric)
    }

    /// The sample with exactly the labels of `like`.
    fn like(self, name: &str, like: &Metric) -> Option<&'a Metric> {
        self.samples(name)
            .find(|sample| sample.get_label() == like.get_label())
    }

    /// How much a counter has grown since an earlier scrape. A series that is new began at 0.
    pub(super) fn growth(self, earlier: Self, name: &str, now: &Metric) -> u64 {
        let before = earlier.like(name, now).map_or(0, count);
        count(now).saturating_sub(before)
    }

    /// The value for one device of a gauge with the label `device` alone.
    pub(super) fn of_device(self, name: &str, device: &str) -> Option<f64> {
        let mut samples = self.samples(name);
        samples
            .find(|sample| label(sample, "device") == device)
            .map(value)
    }
}

/// The value of a label; empty if the sample does not have it.
pub(super) fn label<'a>(sample: &'a Metric, name: &str) -> &'a str {
    let mut labels = sample.get_label().iter();
    labels
        .find(|label| label.name() == name)
        .map_or("", |label| label.value())
}

/// The value of a counter of packets: an integer, as all of ours.
pub(super) fn count(sample: &Metric) -> u64 {
    value(sample) as u64
}

/// The value of a sample made by [`crate::metrics::sample`], which sets counter and gauge alike.
pub(super) fn value(sample: &Metric) -> f64 {
    sample.get_gauge().get_value()
}
