//! Collectors and the exposition that is made of them.

use prometheus::proto::MetricFamily;

/// Something that contributes metric families to a scrape.
pub trait Collector: Send + Sync {
    /// The value of the `collector` label, for example `drops`.
    fn name(&self) -> &'static str;

    /// Appends this collector's families. What was appended before an error is still served;
    /// the error itself becomes `netdrop_collector_success 0`.
    fn collect(&self, families: &mut Vec<MetricFamily>) -> anyhow::Result<()>;
}
