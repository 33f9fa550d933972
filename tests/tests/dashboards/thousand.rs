//! Synthetic series of a thousand hosts, one of them with five hundred links and thousands of distinct drops, in the
//! text format that promtool makes blocks of. Links without hardware lose their carrier much more often than those with,
//! as where containers come and go; most often on the hosts whose hardware does it least.

use std::collections::BTreeSet;
use std::fmt::Write;

/// Hosts. The large one is the first, and the first by name.
const HOSTS: usize = 1000;
/// Links of the one large host beyond those that every host has, as of a machine full of containers.
const VETHS: usize = 500;
/// The links of every host that are hardware.
pub(crate) const HARDWARE: [&str; 2] = ["eth0", "eth1"];
/// How many hosts have a namesake.
const TWICE: usize = 5;
/// Distinct drops of the large host.
const DROPS: usize = 3000;
/// Scrapes of each host, and the seconds between them.
const SCRAPES: u32 = 10;
pub(crate) const INTERVAL: u32 = 15;
/// From the first to the last scrape.
pub(crate) const SECONDS: u32 = (SCRAPES - 1) * INTERVAL;

const CATEGORIES: [&str; 9] = [
    "congestion",
    "connection",
    "expected",
    "link",
    "malformed",
    "policy",
    "resource",
    "unknown",
    "unreachable",
];
const REASONS: [(&str, &str); 3] = [
    ("QDISC_DROP", "congestion"),
    ("NO_SOCKET", "unreachable"),
    ("TCP_INVALID_SEQUENCE", "connection"),
];
const STATES: [&str; 3] = ["SYN_SENT", "ESTABLISHED", ""];

/// The exporter of a host, as Prometheus calls it.
pub(crate) fn instance(host: usize) -> String {
    match host {
        // What stands in a regular expression for something else.
        0 => "[2001:db8::1]:10095".to_owned(),
        _ => format!("host-{host:04}.example:10095"),
    }
}

/// The hosts whose hardware loses its carrier most often.
pub(crate) fn worst(hosts: usize) -> BTreeSet<String> {
    (HOSTS - hosts..HOSTS).map(instance).collect()
}

/// OpenMetrics text whose last samples are at `end`, in seconds since 1970.
pub(crate) fn openmetrics(end: u64) -> String {
    let mut series = Series {
        text: String::new(),
        begin: end - u64::from(SECONDS),
    };
    for host in 0..HOSTS {
        series.host(host, "eu");
    }
    // Both clusters have hosts of these names.
    for host in 0..TWICE {
        series.host(host, "us");
    }
    series.text.push_str("# EOF\n");
    series.text
}

struct Series {
    text: String,
    begin: u64,
}

impl Series {
    fn host(&mut self, host: usize, cluster: &str) {
        let instance = instance(host);
        let target = format!("cluster=\"{cluster}\",job=\"netdrop\",instance=\"{instance}\"");
        let speed = host as u64 + 1;
        let churn = 100 * (HOSTS - host) as u64;
        for name in ["up", "scrape_duration_seconds", "scrape_samples_scraped"] {
            self.gauge(name, &target, 1);
        }
        let build = format!("{target},version=\"0.1.0\",revision=\"x\",target=\"x\"");
        self.gauge("netdrop_exporter_build_info", &build, 1);
        self.own_state(&target, speed);
        for (n, category) in CATEGORIES.iter().enumerate() {
            let labels = format!("{target},category=\"{category}\"");
            self.counter(
                "netdrop_category_dropped_packets_total",
                &labels,
                speed * (n as u64 + 1),
            );
        }
        for (reason, category) in REASONS {
            let labels = format!("{target},reason=\"{reason}\",category=\"{category}\"");
            self.gauge("netdrop_reason_info", &labels, 1);
        }
        let large = host == 0;
        for drop in 0..if large { DROPS } else { 6 } {
            self.drop(&target, drop, speed);
        }
        for link in HARDWARE {
            self.link(&target, link, "true", speed);
            self.port(&target, link, speed);
            let node = instance.replace(":10095", ":9100");
            let node =
                format!("cluster=\"{cluster}\",job=\"node\",instance=\"{node}\",device=\"{link}\"");
            for direction in ["receive", "transmit"] {
                self.counter(
                    &format!("node_network_{direction}_bytes_total"),
                    &node,
                    1000,
                );
            }
        }
        for category in ["congestion", "unreachable"] {
            let labels = format!("{target},category=\"{category}\",device=\"eth0\",netns=\"host\"");
            self.gauge(
                "instance_device_category:netdrop_dropped_packets:rate5m",
                &labels,
                speed,
            );
        }
        for veth in 0..if large { VETHS } else { 1 } {
            self.link(&target, &format!("veth{veth}"), "false", churn);
        }
    }

    fn own_state(&mut self, target: &str, speed: u64) {
        for collector in ["drops", "link", "process"] {
            let labels = format!("{target},collector=\"{collector}\"");
            // Every collector of every host has failed: the longest list there can be.
            self.gauge("netdrop_collector_success", &labels, 0);
            self.gauge("netdrop_collector_duration_seconds", &labels, 1);
        }
        for cause in ["map_full", "nested"] {
            let labels = format!("{target},cause=\"{cause}\"");
            self.counter("netdrop_unattributed_packets_total", &labels, speed);
        }
        for name in [
            "netdrop_netlink_overruns_total",
            "netdrop_netlink_resyncs_total",
            "process_cpu_seconds_total",
            "netdrop_bpf_runs_total",
            "netdrop_bpf_run_seconds_total",
        ] {
            self.counter(name, target, speed);
        }
        for name in [
            "netdrop_drop_map_entries",
            "netdrop_drop_map_capacity",
            "process_resident_memory_bytes",
            "process_start_time_seconds",
            "netdrop_conntrack_entries",
            "netdrop_conntrack_entries_limit",
        ] {
            self.gauge(name, target, speed);
        }
    }

    fn drop(&mut self, target: &str, drop: usize, speed: u64) {
        let (reason, _) = REASONS[drop % REASONS.len()];
        let state = STATES[drop / REASONS.len() % STATES.len()];
        let labels = format!(
            "{target},reason=\"{reason}\",function=\"function_{}\",state=\"{state}\",device=\"veth{}\",netns=\"ns{}\"",
            drop % 50,
            drop % VETHS,
            drop % 400
        );
        self.counter("netdrop_dropped_packets_total", &labels, speed);
    }

    /// What the card says of a port, and the rules of a port that has no carrier.
    fn port(&mut self, target: &str, device: &str, speed: u64) {
        let link = format!("{target},device=\"{device}\"");
        for name in [
            "netdrop_link_speed_bits_per_second",
            "netdrop_link_max_speed_bits_per_second",
            "netdrop_link_full_duplex",
            "netdrop_link_redundant",
        ] {
            self.gauge(name, &link, 1);
        }
        for (name, labels) in [
            (
                "netdrop_port_info",
                "port=\"da\",driver_version=\"1\",firmware_version=\"2\"",
            ),
            (
                "netdrop_link_down_reason_info",
                "reason=\"no_cable\",detail=\"\"",
            ),
        ] {
            self.gauge(name, &format!("{link},{labels}"), 1);
        }
        for (name, labels) in [
            (
                "netdrop_port_lost_packets_total",
                ",direction=\"receive\",cause=\"missed\"",
            ),
            ("netdrop_link_errors_total", ",error=\"fcs\""),
            ("netdrop_link_fec_corrected_blocks_total", ""),
            ("netdrop_link_fec_uncorrectable_blocks_total", ""),
            ("netdrop_link_tx_timeouts_total", ",queue=\"0\""),
        ] {
            self.counter(name, &format!("{link}{labels}"), speed);
        }
        let watched = format!("{link},host=\"h\",watch=\"page\",port=\"{device}\",bond=\"\"");
        for (name, value) in [
            ("instance_device:netdrop_link_info:watched", 1),
            ("instance_device:netdrop_link_carrier_lost:watched", 1),
            (
                "instance_device:netdrop_link_carrier_losses:increase5m",
                speed,
            ),
        ] {
            self.gauge(name, &watched, value);
        }
        let down = format!("{link},host=\"h\",link=\"no_carrier\",state=\"SYN_SENT\"");
        self.gauge(
            "instance_device:netdrop_link_down_dropped_packets:increase5m",
            &down,
            speed,
        );
    }

    /// A link that has no carrier and loses it again at each scrape.
    fn link(&mut self, target: &str, device: &str, physical: &str, speed: u64) {
        let link = format!("{target},device=\"{device}\"");
        let info = format!(
            "{link},kind=\"\",driver=\"x\",lower=\"\",master=\"\",bond=\"\",watch=\"page\",port=\"{device}\",physical=\"{physical}\""
        );
        self.gauge("netdrop_link_info", &info, 1);
        self.gauge("netdrop_link_admin_up", &link, 1);
        self.gauge("netdrop_link_carrier", &link, 0);
        self.gauge("netdrop_link_carrier_lost", &link, 1);
        self.counter("netdrop_link_carrier_losses_total", &link, speed);
        self.counter("netdrop_link_carrier_up_changes_total", &link, speed);
        for transition in ["carrier_up", "carrier_down", "admin_up", "admin_down"] {
            let labels = format!("{link},transition=\"{transition}\"");
            self.counter("netdrop_link_transitions_total", &labels, speed);
            let begin = self.begin;
            self.gauge(
                "netdrop_link_last_transition_timestamp_seconds",
                &labels,
                begin,
            );
        }
        for state in STATES {
            let labels = format!("{link},link=\"no_carrier\",state=\"{state}\"");
            self.counter("netdrop_link_down_dropped_packets_total", &labels, speed);
        }
    }

    fn gauge(&mut self, name: &str, labels: &str, value: u64) {
        self.samples(name, labels, |_| value);
    }

    /// Grows by `speed` from scrape to scrape.
    fn counter(&mut self, name: &str, labels: &str, speed: u64) {
        self.samples(name, labels, |scrape| u64::from(scrape + 1) * speed);
    }

    fn samples(&mut self, name: &str, labels: &str, value: impl Fn(u32) -> u64) {
        for scrape in 0..SCRAPES {
            let time = self.begin + u64::from(scrape * INTERVAL);
            writeln!(self.text, "{name}{{{labels}}} {} {time}", value(scrape)).unwrap();
        }
    }
}
