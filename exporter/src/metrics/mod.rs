//! Collectors and the exposition that is made of them.
//!
//! The format is Prometheus' text format 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>), written by the prometheus
//! crate's encoder.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::anyhow;
use log::{info, warn};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

mod selection;
mod text;

use crate::error::one_line;
pub use selection::{Selection, SelectionError};
use text::FamilyText;

/// The release, as Cargo.toml has it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit this was built from: `NETDROP_REVISION` in the environment of the build.
pub const REVISION: &str = match option_env!("NETDROP_REVISION") {
    Some(revision) if !revision.is_empty() => revision,
    _ => "unknown",
};

/// Something that contributes metric families to a scrape.
pub trait Collector: Send + Sync {
    /// The value of the `collector` label, for example `drops`.
    fn name(&self) -> &'static str;

    /// Appends this collector's families. What was appended before an error is still served;
    /// the error itself becomes `netdrop_collector_success 0`.
    fn collect(&self, families: &mut Vec<MetricFamily>) -> anyhow::Result<()>;

    /// What has to be done between scrapes, every few seconds and on the thread that scrapes.
    ///
    /// # Errors
    ///
    /// The next scrape meets the same error, and reports it.
    fn work(&self) -> anyhow::Result<()> {
        Ok(())
    }

    /// A number that is another one as soon as `collect` would append something else. While it
    /// stays, the text of the last scrape is served again, which for hundreds of links is most of
    /// what a scrape costs. `None`: nobody can tell.
    fn version(&self) -> Option<u64> {
        None
    }
}

/// An error of [`Collector::collect`] whose beginning and end the collector logs itself.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct AlreadyLogged(pub String);

/// One metric family. It may be empty: [`Exposition::scrape`] leaves such families out.
pub fn family(
    name: &str,
    help: &str,
    kind: MetricType,
    samples: impl IntoIterator<Item = Metric>,
) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(samples.into_iter().collect());
    family
}

/// A family of counters, as [`family`].
pub fn counter(name: &str, help: &str, samples: impl IntoIterator<Item = Metric>) -> MetricFamily {
    family(name, help, MetricType::COUNTER, samples)
}

/// A family of gauges, as [`family`].
pub fn gauge(name: &str, help: &str, samples: impl IntoIterator<Item = Metric>) -> MetricFamily {
    family(name, help, MetricType::GAUGE, samples)
}

/// One series of a counter or gauge family, with its labels as (name, value).
///
/// Counters of packets and bytes are integers in an `f64`, as everywhere in Prometheus: exact up
/// to 2^53.
pub fn sample(labels: &[(&str, &str)], value: f64) -> Metric {
    let mut metric = Metric::from_label(labels.iter().map(label).collect());
    // The encoder reads the one that the family's type names. Both are plain fields, so a sample
    // need not know its family and cannot disagree with it.
    let (mut counter, mut gauge) = (Counter::default(), Gauge::default());
    counter.set_value(value);
    gauge.set_value(value);
    metric.set_counter(counter);
    metric.set_gauge(gauge);
    metric
}

/// The collectors of this process, and what a scrape of all of them says.
#[derive(Default)]
pub struct Exposition {
    running: Vec<Running>,
    failed: Vec<&'static str>,
}

impl Exposition {
    /// An exposition that so far says nothing but what was built.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a collector to every scrape from now on.
    pub fn add(&mut self, collector: Box<dyn Collector>) {
        self.running.push(Running::new(collector));
    }

    /// Adds a collector that could not start, so that every scrape shows it as failed.
    pub fn add_failed(&mut self, name: &'static str) {
        self.failed.push(name);
    }

    /// The collectors that could not start.
    pub fn failed(&self) -> &[&'static str] {
        &self.failed
    }

    /// All collectors, those that could not start included.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        let running = self.running.iter().map(|running| running.collector.name());
        running.chain(self.failed.iter().copied())
    }

    /// Has every collector do what it does between scrapes.
    pub fn work(&self) {
        for running in &self.running {
            if let Err(e) = running.collector.work() {
                let name = running.collector.name();
                let why = one_line(&e);
                log::debug!("collector {name} cannot work between scrapes: {why}");
            }
        }
    }

    /// Runs every collector and returns all families in the text format, sorted by name and labels.
    /// No two collectors have families of one name.
    ///
    /// This blocks for as long as the collectors do. A collector that fails or panics costs only
    /// its own families.
    pub fn scrape(&self) -> String {
        self.scrape_some(&Selection::ALL)
    }

    /// As [`Exposition::scrape`], of the selected collectors.
    pub fn scrape_some(&self, selection: &Selection) -> String {
        let mut success = Vec::new();
        let mut duration = Vec::new();
        let mut texts = Vec::new();
        let running = self.running.iter();
        for running in running.filter(|running| selection.has(running.collector.name())) {
            let labels = [("collector", running.collector.name())];
            let started = Instant::now();
            let (succeeded, text) = running.collect();
            duration.push(sample(&labels, started.elapsed().as_secs_f64()));
            success.push(sample(&labels, f64::from(u8::from(succeeded))));
            texts.push(text);
        }
        let failed = self.failed.iter().filter(|name| selection.has(name));
        success.extend(failed.map(|&name| sample(&[("collector", name)], 0.0)));
        texts.push(text::encode(own_families(success, duration)).into());
        text::join(texts.iter().flat_map(|text| text.iter()))
    }

    /// Runs every collector and returns all families, unsorted, for readers in this process. It blocks and survives a
    /// collector's failure as [`Self::scrape`] does.
    pub fn families(&self) -> Vec<MetricFamily> {
        let mut families = Vec::new();
        let mut success = Vec::new();
        for running in &self.running {
            let labels = [("collector", running.collector.name())];
            let succeeded = running.run(&mut families);
            success.push(sample(&labels, f64::from(u8::from(succeeded))));
        }
        let failed = self.failed.iter();
        success.extend(failed.map(|&name| sample(&[("collector", name)], 0.0)));
        families.extend(own_families(success, Vec::new()));
        families
    }
}

fn own_families(success: Vec<Metric>, duration: Vec<Metric>) -> Vec<MetricFamily> {
    vec![
        build_info(),
        family(
            "netdrop_collector_success",
            "Whether the collector succeeded in this scrape; 0 if it could not start.",
            MetricType::GAUGE,
            success,
        ),
        family(
            "netdrop_collector_duration_seconds",
            "Time the collector took in this scrape, including encoding.",
            MetricType::GAUGE,
            duration,
        ),
    ]
}

/// A collector that started, what the log was last told about it, and what it last said.
struct Running {
    collector: Box<dyn Collector>,
    failing: AtomicBool,
    /// Of a collector that tells versions; as large as its part of the exposition.
    last: Mutex<Option<(u64, Arc<[FamilyText]>)>>,
}

impl Running {
    fn new(collector: Box<dyn Collector>) -> Self {
        Self {
            collector,
            failing: AtomicBool::new(false),
            last: Mutex::new(None),
        }
    }

    /// Collects and encodes, and returns whether collecting succeeded.
    fn collect(&self) -> (bool, Arc<[FamilyText]>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // Asked first: what changes while it collects belongs to the next version, too.
        let version = self.collector.version();
        if let Some((known, text)) = &*last
            && version == Some(*known)
        {
            return (true, Arc::clone(text));
        }
        let mut families = Vec::new();
        let succeeded = self.run(&mut families);
        let text: Arc<[FamilyText]> = text::encode(families).into();
        *last = version
            .filter(|_| succeeded)
            .map(|version| (version, Arc::clone(&text)));
        (succeeded, text)
    }

    /// Appends what the collector says, and returns whether it succeeded.
    fn run(&self, families: &mut Vec<MetricFamily>) -> bool {
        // Unwind safe: a push that panicked leaves a valid vector, and what a collector guards by
        // its own locks is poisoned for itself.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.collector.collect(families)))
            .unwrap_or_else(|panic| Err(anyhow!("panicked: {}", panic_text(panic.as_ref()))));
        self.log_change(outcome.as_ref().err());
        outcome.is_ok()
    }

    /// Logs the first failure and the recovery only: a line per scrape would bury the rest.
    fn log_change(&self, error: Option<&anyhow::Error>) {
        if error.is_some_and(|error| error.is::<AlreadyLogged>()) {
            return;
        }
        let name = self.collector.name();
        let was_failing = self.failing.swap(error.is_some(), Ordering::Relaxed);
        match error {
            Some(error) if !was_failing => {
                warn!("collector {name} fails: {}", one_line(error));
            }
            None if was_failing => info!("collector {name} works again"),
            _ => {}
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    // `panic!` gives one of these two; only `panic_any` can give something else.
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

fn build_info() -> MetricFamily {
    let labels = [
        ("version", VERSION),
        ("revision", REVISION),
        ("target", &target()),
    ];
    family(
        "netdrop_exporter_build_info",
        "Version, revision and target of this build; always 1.",
        MetricType::GAUGE,
        [sample(&labels, 1.0)],
    )
}

/// What this was built for, for example `x86_64-linux-gnu`.
fn target() -> String {
    use std::env::consts::{ARCH, OS};

    let libc = if cfg!(target_env = "musl") {
        "musl"
    } else {
        "gnu"
    };
    format!("{ARCH}-{OS}-{libc}")
}

fn label((name, value): &(&str, &str)) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name((*name).to_owned());
    pair.set_value((*value).to_owned());
    pair
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
