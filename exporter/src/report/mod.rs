//! What a person wants to know first, out of two scrapes: links that are down or flapped, then drops by rate.
//!
//! Pure, and from the metrics alone: it shows what `/metrics` shows.

use std::{collections::BTreeMap, time::Duration};

use prometheus::proto::MetricFamily;
use serde::Serialize;

use crate::kernel::reasons::{Category, category, meaning};

mod families;

use families::{Families, count, label, value};

const DROPPED: &str = "netdrop_dropped_packets_total";
const BY_CATEGORY: &str = "netdrop_category_dropped_packets_total";
const LINK_DOWN: &str = "netdrop_link_down_dropped_packets_total";
const UNATTRIBUTED: &str = "netdrop_unattributed_packets_total";
const TRANSITIONS: &str = "netdrop_link_transitions_total";

/// What happened between two scrapes. As JSON these names are stable.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Time between the two, in seconds.
    pub seconds: f64,
    /// Links that are down, flapped or cost packets: those without carrier first.
    pub links: Vec<LinkReport>,
    /// Dropped packets, most first.
    pub drops: Vec<DropReport>,
    /// Packets by category, of all drops; only categories that grew.
    pub categories: BTreeMap<&'static str, u64>,
    /// Packets that were counted without reason, function, state and device.
    pub unattributed: u64,
    /// Collectors that failed or could not start.
    pub failed_collectors: Vec<String>,
}

/// A link that needs a look.
#[derive(Debug, Serialize)]
pub struct LinkReport {
    /// Its name.
    pub device: String,
    /// What `ip -d link` calls it; empty for a plain port.
    pub kind: String,
    /// Its driver; empty if it has no bus device.
    pub driver: String,
    /// How it is.
    pub state: LinkState,
    /// When it last lost carrier, in seconds since 1970; absent if the collector did not see it.
    pub since: Option<f64>,
    /// Why it is down, as the driver says; empty if it does not.
    pub reason: String,
    /// Losses of carrier between the two scrapes.
    pub carrier_losses: u64,
    /// Packets dropped between the two scrapes because the link was down.
    pub lost_packets: u64,
}

/// How a link is, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// Administratively up, without carrier.
    NoCarrier,
    /// It has carrier again.
    Up,
    /// Somebody set it down.
    AdminDown,
}

/// Packets of one series, between two scrapes.
#[derive(Debug, Serialize)]
pub struct DropReport {
    /// As the label.
    pub reason: String,
    /// Of the reason, or `link` where every one of these packets died of a link that was down.
    pub category: &'static str,
    /// What that means, in half a sentence; empty if nobody knows.
    pub meaning: &'static str,
    /// As the label.
    pub function: String,
    /// As the label.
    pub state: String,
    /// As the label.
    pub device: String,
    /// As the label.
    pub netns: String,
    /// How many.
    pub packets: u64,
    /// Packets per second.
    pub rate: f64,
}

impl Report {
    /// What happened between two scrapes, which were `elapsed` apart.
    pub fn between(before: &[MetricFamily], after: &[MetricFamily], elapsed: Duration) -> Self {
        let (before, after) = (Families(before), Families(after));
        let seconds = elapsed.as_secs_f64();
        Self {
            seconds,
            links: links(before, after),
            drops: drops(before, after, seconds),
            categories: categories(before, after),
            unattributed: after
                .samples(UNATTRIBUTED)
                .map(|sample| after.growth(before, UNATTRIBUTED, sample))
                .sum(),
            failed_collectors: failed_collectors(after),
        }
    }
}

fn links(before: Families<'_>, after: Families<'_>) -> Vec<LinkReport> {
    let mut links: Vec<_> = after
        .samples("netdrop_link_info")
        .filter_map(|info| {
            let device = label(info, "device");
            let is = |name| after.of_device(name, device).map(|value| value != 0.0);
            let state = match (is("netdrop_link_admin_up")?, is("netdrop_link_carrier")?) {
                (false, _) => LinkState::AdminDown,
                (true, false) => LinkState::NoCarrier,
                (true, true) => LinkState::Up,
            };
            let carrier_losses = of_link(before, after, TRANSITIONS, device, "carrier_down");
            let lost_packets = lost_packets(before, after, device);
            let needs_a_look =
                state == LinkState::NoCarrier || carrier_losses > 0 || lost_packets > 0;
            needs_a_look.then(|| LinkReport {
                device: device.to_owned(),
                kind: label(info, "kind").to_owned(),
                driver: label(info, "driver").to_owned(),
                state,
                since: lost_at(after, device),
                reason: down_reason(after, device),
                carrier_losses,
                lost_packets,
            })
        })
        .collect();
    // Ports before virtual links: of those without carrier on a busy host most mean nothing.
    links.sort_by(|a, b| {
        let rank = |link: &LinkReport| (link.state, link.driver.is_empty());
        (rank(a).cmp(&rank(b)))
            .then(b.lost_packets.cmp(&a.lost_packets))
            .then(a.device.cmp(&b.device))
    });
    links
}

/// How much the series of a transition of a device has grown.
fn of_link(
    before: Families<'_>,
    after: Families<'_>,
    name: &str,
    device: &str,
    transition: &str,
) -> u64 {
    after
        .samples(name)
        .filter(|s| label(s, "device") == device && label(s, "transition") == transition)
        .map(|s| after.growth(before, name, s))
        .sum()
}

fn lost_packets(before: Families<'_>, after: Families<'_>, device: &str) -> u64 {
    after
        .samples(LINK_DOWN)
        .filter(|sample| label(sample, "device") == device)
        .map(|sample| after.growth(before, LINK_DOWN, sample))
        .sum()
}

fn lost_at(after: Families<'_>, device: &str) -> Option<f64> {
    after
        .samples("netdrop_link_last_transition_timestamp_seconds")
        .find(|s| label(s, "device") == device && label(s, "transition") == "carrier_down")
        .map(value)
}

/// "autoneg, no partner detected", or nothing.
fn down_reason(after: Families<'_>, device: &str) -> String {
    let mut reasons = after.samples("netdrop_link_down_reason_info");
    let Some(info) = reasons.find(|sample| label(sample, "device") == device) else {
        return String::new();
    };
    let parts = [label(info, "reason"), label(info, "detail")];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(", ").replace('_', " ")
}

fn drops(before: Families<'_>, after: Families<'_>, seconds: f64) -> Vec<DropReport> {
    let mut drops: Vec<_> = after
        .samples(DROPPED)
        .filter_map(|sample| {
            let packets = after.growth(before, DROPPED, sample);
            (packets > 0).then(|| DropReport {
                reason: label(sample, "reason").to_owned(),
                category: category(label(sample, "reason")).as_str(),
                meaning: meaning(label(sample, "reason")),
                function: label(sample, "function").to_owned(),
                state: label(sample, "state").to_owned(),
                device: label(sample, "device").to_owned(),
                netns: label(sample, "netns").to_owned(),
                packets,
                rate: packets as f64 / seconds,
            })
        })
        .collect();
    blame_links(before, after, &mut drops);
    drops.sort_by(|a, b| (b.packets.cmp(&a.packets)).then_with(|| a.reason.cmp(&b.reason)));
    drops
}

/// The metrics say how many packets of a device and state died of the link, not of which reason: only where all of
/// them did, the link is what each of them died of.
fn blame_links(before: Families<'_>, after: Families<'_>, drops: &mut [DropReport]) {
    let mut by_link: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for sample in after.samples(LINK_DOWN) {
        let key = (label(sample, "device"), label(sample, "state"));
        *by_link.entry(key).or_default() += after.growth(before, LINK_DOWN, sample);
    }
    for ((device, state), died_of_link) in by_link {
        let is_of_link = |drop: &DropReport| {
            drop.netns == "host" && drop.device == device && drop.state == state
        };
        let all: u64 = drops
            .iter()
            .filter(|d| is_of_link(d))
            .map(|d| d.packets)
            .sum();
        if died_of_link > 0 && died_of_link == all {
            for drop in drops.iter_mut().filter(|drop| is_of_link(drop)) {
                drop.category = Category::Link.as_str();
                drop.meaning = "the link was down";
            }
        }
    }
}

fn categories(before: Families<'_>, after: Families<'_>) -> BTreeMap<&'static str, u64> {
    after
        .samples(BY_CATEGORY)
        .filter_map(|sample| {
            let category: Category = label(sample, "category").parse().ok()?;
            let packets = after.growth(before, BY_CATEGORY, sample);
            (packets > 0).then_some((category.as_str(), packets))
        })
        .collect()
}

fn failed_collectors(after: Families<'_>) -> Vec<String> {
    after
        .samples("netdrop_collector_success")
        .filter(|sample| count(sample) == 0)
        .map(|sample| label(sample, "collector").to_owned())
        .collect()
}

#[cfg(test)]
mod tests;
