//! The state of every link of a namespace, as the kernel tells it to `ip` and by rtnetlink, and as the
//! exporter serves it: two maps to compare.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use crate::metrics::Metrics;
use crate::netns::Namespace;
use crate::rtnl;
use crate::send::name_to_index_here;

const TRANSITIONS: &str = "netdrop_link_transitions_total";
const LAST_TRANSITION: &str = "netdrop_link_last_transition_timestamp_seconds";

/// What there is to say about a link at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// What `ip -d link` calls it; empty for `lo`.
    pub kind: String,
    /// The driver of its bus device.
    pub driver: String,
    /// The device that it is enslaved to.
    pub master: String,
    /// The device it sits on, or its peer, in the same namespace.
    pub lower: String,
    /// Whether it has a bus device.
    pub physical: bool,
    /// IFF_UP.
    pub admin_up: bool,
    /// Also of a link that is down.
    pub carrier: bool,
    /// In sysfs's spelling, such as `lowerlayerdown`.
    pub operstate: String,
    /// How often it got carrier.
    pub carrier_ups: u64,
    /// How often it lost it.
    pub carrier_downs: u64,
}

/// Links by name.
pub type Links = BTreeMap<String, Link>;

/// How often each transition was served for a device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Transitions {
    /// Carrier came.
    pub carrier_up: u64,
    /// Carrier was lost while the link was up.
    pub carrier_down: u64,
    /// Somebody took it up.
    pub admin_up: u64,
    /// Somebody took it down.
    pub admin_down: u64,
}

impl Transitions {
    /// With so many more of one of them.
    #[must_use]
    pub fn and(mut self, transition: &str, times: u64) -> Self {
        *match transition {
            "carrier_up" => &mut self.carrier_up,
            "carrier_down" => &mut self.carrier_down,
            "admin_up" => &mut self.admin_up,
            "admin_down" => &mut self.admin_down,
            other => panic!("no transition is called {other}"),
        } += times;
        self
    }
}

/// What the kernel says of all links of a namespace, by `ip -j -d link` and rtnetlink. None of them has a bus device:
/// those are in the machine's own namespace.
pub fn kernel(namespace: &Namespace) -> Links {
    let links: Value = serde_json::from_str(&namespace.ip(&["-j", "-d", "link"])).unwrap();
    let links = links.as_array().unwrap().iter();
    // In one thread for all: there can be hundreds.
    let carriers = || -> Vec<_> {
        let index = |link: &Value| u32::try_from(link["ifindex"].as_u64().unwrap()).unwrap();
        links
            .clone()
            .map(|link| rtnl::carrier(index(link)))
            .collect()
    };
    let carriers = namespace.enter(carriers);
    links
        .zip(carriers)
        .map(|(link, carrier)| {
            let flags = link["flags"].as_array().unwrap();
            let of_kernel = Link {
                kind: text(&link["linkinfo"]["info_kind"]),
                driver: String::new(),
                master: label(&link["master"]),
                lower: label(&link["link"]),
                physical: false,
                admin_up: flags.iter().any(|flag| flag == "UP"),
                carrier: carrier.is_there,
                operstate: text(&link["operstate"]).to_lowercase(),
                carrier_ups: carrier.ups,
                carrier_downs: carrier.downs,
            };
            (label(&link["ifname"]), of_kernel)
        })
        .collect()
}

/// What a scrape says of all links. Every device must have each series exactly once.
pub fn served(metrics: &Metrics) -> Links {
    // Only the device's own series are searched: there can be thousands of others.
    by_device(metrics)
        .into_values()
        .filter_map(|metrics| {
            let mut infos = metrics.series("netdrop_link_info", &[]);
            let info = infos.next()?;
            assert_eq!((info.value, infos.next()), (1.0, None), "{info:?}");
            let label = |name: &str| info.labels[name].clone();
            let device = label("device");
            let value = |name: &str| {
                let found = metrics.value(name, &[("device", &device)]);
                found.unwrap_or_else(|| panic!("no {name} of {device}"))
            };
            let of_metrics = Link {
                kind: label("kind"),
                driver: label("driver"),
                master: label("master"),
                lower: label("lower"),
                physical: truth(&label("physical")),
                admin_up: value("netdrop_link_admin_up") == 1.0,
                carrier: value("netdrop_link_carrier") == 1.0,
                operstate: operstate(&metrics, &device),
                carrier_ups: value("netdrop_link_carrier_up_changes_total") as u64,
                carrier_downs: value("netdrop_link_carrier_down_changes_total") as u64,
            };
            Some((device, of_metrics))
        })
        .collect()
}

/// The devices that any link series names.
pub fn devices_with_series(metrics: &Metrics) -> BTreeSet<String> {
    let of_links = |name: &str| {
        name.starts_with("netdrop_link_") && name != "netdrop_link_down_dropped_packets_total"
    };
    let samples = metrics.samples.iter();
    samples
        .filter(|sample| of_links(&sample.name))
        .map(|sample| sample.labels["device"].clone())
        .collect()
}

/// The transitions of a device. They are born at 0, so each must be there.
pub fn transitions(metrics: &Metrics, device: &str) -> Transitions {
    let count = |transition| {
        let labels = [("device", device), ("transition", transition)];
        let found = metrics.value(TRANSITIONS, &labels);
        found.unwrap_or_else(|| panic!("no series of {transition} for {device}")) as u64
    };
    Transitions {
        carrier_up: count("carrier_up"),
        carrier_down: count("carrier_down"),
        admin_up: count("admin_up"),
        admin_down: count("admin_down"),
    }
}

/// When a transition of a device last happened, in seconds since 1970.
pub fn last_transition(metrics: &Metrics, device: &str, transition: &str) -> Option<f64> {
    metrics.value(
        LAST_TRANSITION,
        &[("device", device), ("transition", transition)],
    )
}

/// How often the kernel says that a device got and lost carrier.
pub fn carrier_counts(namespace: &Namespace, device: &str) -> (u64, u64) {
    let carrier = namespace.enter(|| rtnl::carrier(name_to_index_here(device)));
    (carrier.ups, carrier.downs)
}

/// How many messages the kernel could not put into the netlink sockets of a process, which is when it
/// reports ENOBUFS to them (proc(5), `/proc/net/netlink`).
pub fn lost_messages(namespace: &Namespace, pid: u32) -> u64 {
    netlink_sockets(namespace, pid, "Drops")
}

/// How much memory the messages take that wait in the netlink sockets of a process.
pub fn waiting_messages(namespace: &Namespace, pid: u32) -> u64 {
    netlink_sockets(namespace, pid, "Rmem")
}

/// The sum of a column of `/proc/net/netlink` over the rtnetlink sockets of a process.
fn netlink_sockets(namespace: &Namespace, pid: u32, column: &str) -> u64 {
    let inodes: BTreeSet<_> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .filter_map(|target| {
            let target = target.to_str()?.strip_prefix("socket:[")?;
            Some(target.strip_suffix(']')?.to_owned())
        })
        .collect();
    let table = namespace.exec(&["cat", "/proc/net/netlink"]);
    let mut rows = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    // sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode; protocol 0 is NETLINK_ROUTE.
    let heading = rows.next().unwrap();
    let column = heading.iter().position(|name| *name == column).unwrap();
    let rows: Vec<_> = rows
        .filter(|row| row[1] == "0" && inodes.contains(row[9]))
        .collect();
    assert!(
        !rows.is_empty(),
        "process {pid} has no rtnetlink socket here"
    );
    let values = rows.iter().map(|row| row[column].parse::<u64>().unwrap());
    values.sum()
}

fn by_device(metrics: &Metrics) -> BTreeMap<&str, Metrics> {
    let mut devices: BTreeMap<&str, Metrics> = BTreeMap::new();
    for sample in &metrics.samples {
        if let Some(device) = sample.labels.get("device") {
            let own = devices.entry(device).or_default();
            own.samples.push(sample.clone());
        }
    }
    devices
}

fn operstate(metrics: &Metrics, device: &str) -> String {
    let current: Vec<_> = metrics
        .series("netdrop_link_operstate", &[("device", device)])
        .collect();
    assert_eq!(current.len(), 1, "{current:?}");
    assert_eq!(current[0].value, 1.0);
    current[0].labels["operstate"].clone()
}

/// A string of `ip`'s answer; empty where it leaves the field out.
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A name of `ip`'s answer as a label writes it.
fn label(name: &Value) -> String {
    text(name).replace('\\', r"\x5c")
}

fn truth(label: &str) -> bool {
    match label {
        "true" => true,
        "false" => false,
        other => panic!("neither true nor false: {other:?}"),
    }
}
