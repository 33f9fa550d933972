//! What the drop collector knows at a scrape, as metric families. Pure.

use prometheus::proto::{Metric, MetricFamily};

use super::{
    drain::UnattributedPackets,
    program::RunStats,
    series::{Series, Tally},
};
use crate::metrics::{counter, gauge, sample};

/// What there is to serve.
pub(super) struct Snapshot<'a> {
    pub(super) series: &'a Series,
    pub(super) unattributed: UnattributedPackets,
    pub(super) run_stats: RunStats,
    /// Keys in the fullest drain since the last scrape.
    pub(super) fullest: usize,
    /// Elements in each of the kernel's maps.
    pub(super) max_entries: u32,
    /// Whether bytes are served, too.
    pub(super) bytes: bool,
    /// Whether it is known whose packets they were.
    pub(super) workloads: bool,
}

/// Appends everything that the drop collector serves.
pub(super) fn append(snapshot: &Snapshot<'_>, families: &mut Vec<MetricFamily>) {
    let series = snapshot.series;
    families.extend([
        dropped_packets(series),
        categories(series),
        link_down(series),
    ]);
    if snapshot.bytes {
        families.push(dropped_bytes(series));
    }
    families.extend([unattributed(snapshot), reasons(series)]);
    if snapshot.workloads {
        families.extend([workloads(series), workload_info(series)]);
    }
    families.extend(map_fill(snapshot.fullest, snapshot.max_entries));
    families.extend(run_stats(snapshot.run_stats));
}

fn dropped_packets(series: &Series) -> MetricFamily {
    counter(
        "netdrop_dropped_packets_total",
        "Packets (skbs) the kernel freed as dropped.",
        by_labels(series, |tally| tally.packets),
    )
}

fn dropped_bytes(series: &Series) -> MetricFamily {
    counter(
        "netdrop_dropped_bytes_total",
        "Length of the packets the kernel freed as dropped, measured at the drop.",
        by_labels(series, |tally| tally.bytes),
    )
}

fn by_labels(series: &Series, value: impl Fn(Tally) -> u64) -> impl Iterator<Item = Metric> {
    series.drops().map(move |(labels, tally)| {
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

fn categories(series: &Series) -> MetricFamily {
    counter(
        "netdrop_category_dropped_packets_total",
        "Packets the kernel freed as dropped, by category. Together with the unattributed ones: every drop since the start.",
        series.categories().map(|(category, packets)| {
            sample(&[("category", category.as_str())], as_float(packets))
        }),
    )
}

fn link_down(series: &Series) -> MetricFamily {
    counter(
        "netdrop_link_down_dropped_packets_total",
        "Packets dropped while their device had no carrier or was administratively down.",
        series.link_down().map(|(labels, packets)| {
            let labels = [
                ("device", &*labels.device.label()),
                ("link", labels.link),
                ("state", labels.state),
            ];
            sample(&labels, as_float(packets))
        }),
    )
}

fn unattributed(snapshot: &Snapshot<'_>) -> MetricFamily {
    let nested = snapshot.unattributed.busy + snapshot.run_stats.recursion_misses;
    counter(
        "netdrop_unattributed_packets_total",
        "Dropped packets counted without reason, function, state and device: the drop map was full, or the drop interrupted the program itself.",
        [
            ("map_full", snapshot.unattributed.map_full),
            ("nested", nested),
        ]
        .map(|(cause, packets)| sample(&[("cause", cause)], as_float(packets))),
    )
}

fn reasons(series: &Series) -> MetricFamily {
    gauge(
        "netdrop_reason_info",
        "The category of each reason that has a series; always 1.",
        series.reasons().into_iter().map(|(reason, category)| {
            sample(&[("category", category.as_str()), ("reason", reason)], 1.0)
        }),
    )
}

fn workloads(series: &Series) -> MetricFamily {
    counter(
        "netdrop_workload_dropped_packets_total",
        "Packets the kernel freed as dropped, by the service, container or pod they belong to, and by category.",
        series.workloads().iter().flat_map(|(workload, packets)| {
            let (kind, name) = workload.map_or(("", ""), |workload| {
                (workload.kind.as_str(), &workload.name)
            });
            packets.iter().map(move |(category, packets)| {
                let labels = [
                    ("category", category.as_str()),
                    ("kind", kind),
                    ("workload", name),
                ];
                sample(&labels, as_float(*packets))
            })
        }),
    )
}

fn workload_info(series: &Series) -> MetricFamily {
    gauge(
        "netdrop_workload_info",
        "What is known about each workload that has a series; always 1.",
        series.workloads().iter().filter_map(|(workload, _)| {
            let workload = workload?;
            let labels = [
                ("container_id", &*workload.container_id),
                ("kind", workload.kind.as_str()),
                ("pod_uid", &workload.pod_uid),
                ("runtime", workload.runtime),
                ("unit", &workload.unit),
                ("workload", &workload.name),
            ];
            Some(sample(&labels, 1.0))
        }),
    )
}

fn map_fill(fullest: usize, max_entries: u32) -> [MetricFamily; 2] {
    let single = |name, help, value| gauge(name, help, [sample(&[], value)]);
    [
        single(
            "netdrop_drop_map_entries",
            "Entries in the kernel's drop map: the most found by any read since the last scrape.",
            as_float(fullest as u64),
        ),
        single(
            "netdrop_drop_map_capacity",
            "Entries the kernel's drop map can hold.",
            f64::from(max_entries),
        ),
    ]
}

/// Nothing unless the kernel keeps statistics of BPF programs (`kernel.bpf_stats_enabled`).
fn run_stats(run_stats: RunStats) -> Vec<MetricFamily> {
    if run_stats.runs == 0 {
        return Vec::new();
    }
    vec![
        counter(
            "netdrop_bpf_runs_total",
            "Runs of the BPF program, while kernel.bpf_stats_enabled is 1.",
            [sample(&[], as_float(run_stats.runs))],
        ),
        counter(
            "netdrop_bpf_run_seconds_total",
            "Time spent in the BPF program, while kernel.bpf_stats_enabled is 1.",
            [sample(&[], run_stats.run_time.as_secs_f64())],
        ),
    ]
}

/// Prometheus counts in floating point, which is exact up to 2^53.
fn as_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        abi::Link,
        collectors::drops::series::{Drops, Labels},
        kernel::{cgroups::Workload, netns::HOST, reasons::category},
        metrics::testing::assert_golden,
    };

    fn drops(reason: &str, device: &str, state: &'static str, link: Link) -> Drops {
        Drops {
            labels: Labels {
                reason: reason.into(),
                function: "__dev_queue_xmit".into(),
                state,
                device: device.into(),
                netns: HOST.into(),
            },
            workload: Workload::of_cgroup(cgroup_at(device).as_bytes()).map(Into::into),
            category: category(reason),
            link,
            packets: 5,
            bytes: 330,
        }
    }

    /// Whose traffic a device has.
    fn cgroup_at(device: &str) -> String {
        if device != "eth0" {
            return String::new();
        }
        let pod = "kubepods-burstable-pod0b1c2d3e_4f50_6172_8394_a5b6c7d8e9f0.slice";
        let id = "0123456789abcdef".repeat(4);
        format!("/kubepods.slice/kubepods-burstable.slice/{pod}/cri-containerd-{id}.scope")
    }

    #[test]
    fn an_outage_is_served_as_in_the_golden_page() {
        let mut series = Series::new(10, 10);
        series.add(drops("QDISC_DROP", "eth0", "SYN_SENT", Link::NoCarrier));
        series.add(drops("QDISC_DROP", "eth0", "ESTABLISHED", Link::NoCarrier));
        series.add(drops("0x0003002a", "eth1", "", Link::Up));
        let snapshot = Snapshot {
            series: &series,
            unattributed: UnattributedPackets {
                map_full: 2,
                busy: 1,
            },
            run_stats: RunStats {
                recursion_misses: 3,
                runs: 12,
                run_time: Duration::from_nanos(1500),
            },
            fullest: 3,
            max_entries: 4096,
            bytes: true,
            workloads: true,
        };
        let mut families = Vec::new();
        append(&snapshot, &mut families);
        assert_golden("drops", families);
    }
}
