//! The drop collector's state as metric families.

use prometheus::proto::{Metric, MetricFamily, MetricType};

use super::{DropCollector, State, series::Tally};
use crate::metrics::{family, sample};

/// Appends everything that the drop collector serves.
pub(super) fn append(state: &State, collector: &DropCollector, families: &mut Vec<MetricFamily>) {
    families.extend([dropped_packets(state), categories(state), link_down(state)]);
    if collector.bytes {
        families.push(dropped_bytes(state));
    }
    families.extend([unattributed(state), reasons(state)]);
    families.extend(map_fill(state, collector.max_entries));
    families.extend(run_stats(state));
}

fn dropped_packets(state: &State) -> MetricFamily {
    counter(
        "netdrop_dropped_packets_total",
        "Packets (skbs) that the kernel freed as dropped.",
        by_labels(state, |tally| tally.packets),
    )
}

fn dropped_bytes(state: &State) -> MetricFamily {
    counter(
        "netdrop_dropped_bytes_total",
        "Length of the packets that the kernel freed as dropped, at the point of the drop.",
        by_labels(state, |tally| tally.bytes),
    )
}

fn by_labels(state: &State, value: impl Fn(Tally) -> u64) -> impl Iterator<Item = Metric> {
    state.series.drops().map(move |(labels, tally)| {
        let labels = [
            ("device", &*labels.device.label()),
            ("function", &*labels.function),
            ("netns", &*labels.netns.label()),
            ("reason", &*labels.reason),
            ("state", labels.state),
        ];
        sample(&labels, as_float(value(tally)))
    })
}

fn categories(state: &State) -> MetricFamily {
    counter(
        "netdrop_category_dropped_packets_total",
        "All dropped packets by category. With the unattributed ones these are the drops since \
         start, exactly.",
        state.series.categories().map(|(category, packets)| {
            sample(&[("category", category.as_str())], as_float(packets))
        }),
    )
}

fn link_down(state: &State) -> MetricFamily {
    counter(
        "netdrop_link_down_dropped_packets_total",
        "Packets dropped while their device had no carrier or was down.",
        state.series.link_down().map(|(labels, packets)| {
            let labels = [
                ("device", &*labels.device.label()),
                ("link", labels.link),
                ("state", labels.state),
            ];
            sample(&labels, as_float(packets))
        }),
    )
}

fn unattributed(state: &State) -> MetricFamily {
    let nested = state.unattributed.busy + state.run_stats.recursion_misses;
    counter(
        "netdrop_unattributed_packets_total",
        "Dropped packets that were counted without reason, function, state and device.",
        [
            ("map_full", state.unattributed.map_full),
            ("nested", nested),
        ]
        .map(|(cause, packets)| sample(&[("cause", cause)], as_float(packets))),
    )
}

fn reasons(state: &State) -> MetricFamily {
    family(
        "netdrop_reason_info",
        "The category of each reason that has a series; 1.",
        MetricType::GAUGE,
        state
            .series
            .reasons()
            .into_iter()
            .map(|(reason, category)| {
                sample(&[("category", category.as_str()), ("reason", reason)], 1.0)
            }),
    )
}

fn map_fill(state: &State, max_entries: u32) -> [MetricFamily; 2] {
    let gauge = |name, help, value| family(name, help, MetricType::GAUGE, [sample(&[], value)]);
    [
        gauge(
            "netdrop_drop_map_entries",
            "Elements in the kernel's map of drops, in the fullest drain since the last scrape.",
            as_float(state.fullest as u64),
        ),
        gauge(
            "netdrop_drop_map_capacity",
            "Elements that the kernel's map of drops can hold.",
            f64::from(max_entries),
        ),
    ]
}

/// Nothing unless the kernel keeps statistics of BPF programs (`kernel.bpf_stats_enabled`).
fn run_stats(state: &State) -> Vec<MetricFamily> {
    if state.run_stats.runs == 0 {
        return Vec::new();
    }
    vec![
        counter(
            "netdrop_bpf_runs_total",
            "Runs of the BPF program while the kernel counted them.",
            [sample(&[], as_float(state.run_stats.runs))],
        ),
        counter(
            "netdrop_bpf_run_seconds_total",
            "Time that those runs took.",
            [sample(&[], state.run_stats.run_time.as_secs_f64())],
        ),
    ]
}

fn counter(name: &str, help: &str, samples: impl IntoIterator<Item = Metric>) -> MetricFamily {
    family(name, help, MetricType::COUNTER, samples)
}

/// Prometheus counts in floating point, which is exact up to 2^53.
fn as_float(count: u64) -> f64 {
    count as f64
}
