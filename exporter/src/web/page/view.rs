//! What the page shows, from the families of a scrape: the links, the drops, and the collectors.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use prometheus::proto::{Metric, MetricFamily};

use crate::kernel::reasons::{self, Category};
use crate::report::{Families, HOST, THE_LINK_WAS_DOWN, count, died_of_links, label, value};

/// All of the page.
#[derive(Debug, Default)]
pub(super) struct View {
    /// Those that are down or flapped first.
    pub(super) links: Vec<Link>,
    /// In no order.
    pub(super) drops: Vec<Drops>,
    pub(super) collectors: Vec<Collector>,
}

/// A link and what happened to it.
#[derive(Debug, Default)]
pub(super) struct Link {
    pub(super) device: String,
    pub(super) kind: String,
    pub(super) driver: String,
    pub(super) is_physical: bool,
    pub(super) admin_up: Option<bool>,
    pub(super) carrier: Option<bool>,
    /// Carriers lost while it was set up, since the exporter knows it.
    pub(super) losses: f64,
    /// The last transition and its Unix time.
    pub(super) last: Option<(String, f64)>,
    /// Why it is down, if the driver says so.
    pub(super) reason: String,
    /// Packets dropped while it was down.
    pub(super) lost: f64,
}

/// How bad it is; the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    NoCarrier,
    Removed,
    Flapped,
    AdminDown,
    Unknown,
    Up,
}

/// Dropped packets of one series.
#[derive(Debug)]
pub(super) struct Drops {
    /// Of the series: name and value of each label.
    pub(super) labels: BTreeMap<String, String>,
    pub(super) category: &'static str,
    /// What that means, in half a sentence; empty if nobody knows.
    pub(super) meaning: &'static str,
    pub(super) packets: f64,
}

/// Whether a collector works.
#[derive(Debug)]
pub(super) struct Collector {
    pub(super) name: String,
    pub(super) succeeded: bool,
}

impl View {
    pub(super) fn of(families: &[MetricFamily]) -> Self {
        let mut links: BTreeMap<String, Link> = BTreeMap::new();
        let mut view = Self::default();
        for family in families {
            for metric in family.get_metric() {
                match family.name() {
                    "netdrop_dropped_packets_total" => view.drops.push(Drops::of(metric)),
                    "netdrop_collector_success" => view.collectors.push(Collector {
                        name: label(metric, "collector").to_owned(),
                        succeeded: value(metric) == 1.0,
                    }),
                    name => {
                        let device = label(metric, "device");
                        if let Some(tell) = teller(name)
                            && !device.is_empty()
                        {
                            let link = links.entry(device.to_owned()).or_default();
                            tell(link, metric);
                        }
                    }
                }
            }
        }
        view.links = links
            .into_iter()
            .map(|(device, link)| Link { device, ..link })
            .filter(Link::is_known)
            .collect();
        view.links.sort_by_key(Link::rank);
        blame_links(families, &mut view.drops);
        view.collectors.sort_by(|a, b| a.name.cmp(&b.name));
        view
    }
}

/// A queue that dropped a packet because its link was down was not full.
fn blame_links(families: &[MetricFamily], drops: &mut [Drops]) {
    let families = Families(families);
    let key = |sample| (label(sample, "device"), label(sample, "state"));
    let died = died_of_links(
        families
            .samples("netdrop_link_down_dropped_packets_total")
            .map(|sample| (key(sample), count(sample))),
        families
            .samples("netdrop_dropped_packets_total")
            .filter(|sample| label(sample, "netns") == HOST)
            .map(|sample| (key(sample), count(sample))),
    );
    for drops in drops {
        let is_of_link = drops.label("netns") == HOST
            && died.contains(&(drops.label("device"), drops.label("state")));
        if is_of_link {
            drops.category = Category::Link.as_str();
            drops.meaning = THE_LINK_WAS_DOWN;
        }
    }
}

/// What a family says of a link.
fn teller(family: &str) -> Option<fn(&mut Link, &Metric)> {
    Some(match family {
        "netdrop_link_info" => |link, metric| {
            link.kind = label(metric, "kind").to_owned();
            link.driver = label(metric, "driver").to_owned();
            link.is_physical = label(metric, "physical") == "true";
        },
        "netdrop_link_admin_up" => |link, metric| link.admin_up = Some(value(metric) == 1.0),
        "netdrop_link_carrier" => |link, metric| link.carrier = Some(value(metric) == 1.0),
        "netdrop_link_transitions_total" => |link, metric| {
            if label(metric, "transition") == "carrier_down" {
                link.losses = value(metric);
            }
        },
        "netdrop_link_last_transition_timestamp_seconds" => |link, metric| {
            let time = value(metric);
            if link.last.as_ref().is_none_or(|(_, last)| *last <= time) {
                link.last = Some((label(metric, "transition").to_owned(), time));
            }
        },
        "netdrop_link_down_reason_info" => |link, metric| {
            let words = [label(metric, "reason"), label(metric, "detail")];
            link.reason = words.join(" ").trim().to_owned();
        },
        "netdrop_link_down_dropped_packets_total" => |link, metric| link.lost += value(metric),
        _ => return None,
    })
}

impl Link {
    /// Drops of a device that is none of ours have a name, too.
    fn is_known(&self) -> bool {
        self.admin_up.is_some() || self.carrier.is_some() || self.last.is_some()
    }

    pub(super) fn state(&self) -> State {
        match (self.admin_up, self.carrier, &self.last) {
            (Some(false), ..) => State::AdminDown,
            (Some(true), Some(false), _) => State::NoCarrier,
            (Some(true), Some(true), _) if self.losses > 0.0 => State::Flapped,
            (Some(true), Some(true), _) => State::Up,
            (.., Some((last, _))) if last == "removed" => State::Removed,
            _ => State::Unknown,
        }
    }

    /// Ports before virtual links, and what happened last first.
    fn rank(&self) -> (State, bool, Reverse<u64>, String) {
        let last = self.last.as_ref().map_or(0.0, |(_, time)| *time);
        let device = self.device.clone();
        (
            self.state(),
            !self.is_physical,
            Reverse(last as u64),
            device,
        )
    }
}

impl Drops {
    fn of(metric: &Metric) -> Self {
        let labels = metric.get_label().iter();
        let reason = label(metric, "reason");
        Self {
            labels: labels
                .map(|pair| (pair.name().to_owned(), pair.value().to_owned()))
                .collect(),
            category: reasons::category(reason).as_str(),
            meaning: reasons::meaning(reason),
            packets: value(metric),
        }
    }

    pub(super) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}
