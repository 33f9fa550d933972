//! What a person wants to know first, out of two scrapes: links that are down or flapped, then drops by rate.
//!
//! Pure, and from the metrics alone: it shows what `/metrics` shows.

use std::{collections::BTreeMap, time::Duration};

use prometheus::proto::MetricFamily;
use serde::Serialize;

use crate::kernel::reasons::{Category, category, meaning};

mod families;

use families::Earlier;
pub(crate) use families::{Families, count, died_of_links, label, value};

const DROPPED: &str = "netdrop_dropped_packets_total";
const BY_CATEGORY: &str = "netdrop_category_dropped_packets_total";
const LINK_DOWN: &str = "netdrop_link_down_dropped_packets_total";
const UNATTRIBUTED: &str = "netdrop_unattributed_packets_total";
const TRANSITIONS: &str = "netdrop_link_transitions_total";

/// The label `netns` of the exporter's own network namespace, the only one whose links it knows.
pub(crate) const HOST: &str = "host";

/// What a drop means that died of its link, whatever its reason.
pub(crate) const THE_LINK_WAS_DOWN: &str = "the link was down";

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
        let counters = [DROPPED, BY_CATEGORY, LINK_DOWN, UNATTRIBUTED, TRANSITIONS];
        let (before, after) = (&Earlier::of(Families(before), &counters), Families(after));
        let seconds = elapsed.as_secs_f64();
        Self {
            seconds,
            links: links(before, after),
            drops: drops(before, after, seconds),
            categories: categories(before, after),
            unattributed: after
                .samples(UNATTRIBUTED)
                .map(|sample| before.growth(UNATTRIBUTED, sample))
                .sum(),
            failed_collectors: failed_collectors(after),
        }
    }
}

fn links(before: &Earlier<'_>, after: Families<'_>) -> Vec<LinkReport> {
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
            let carrier_losses = carrier_losses(before, after, device);
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

fn carrier_losses(before: &Earlier<'_>, after: Families<'_>, device: &str) -> u64 {
    after
        .samples(TRANSITIONS)
        .filter(|s| label(s, "device") == device && label(s, "transition") == "carrier_down")
        .map(|sample| before.growth(TRANSITIONS, sample))
        .sum()
}

fn lost_packets(before: &Earlier<'_>, after: Families<'_>, device: &str) -> u64 {
    after
        .samples(LINK_DOWN)
        .filter(|sample| label(sample, "device") == device)
        .map(|sample| before.growth(LINK_DOWN, sample))
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

fn drops(before: &Earlier<'_>, after: Families<'_>, seconds: f64) -> Vec<DropReport> {
    let mut drops: Vec<_> = after
        .samples(DROPPED)
        .filter_map(|sample| {
            let packets = before.growth(DROPPED, sample);
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

fn blame_links(before: &Earlier<'_>, after: Families<'_>, drops: &mut [DropReport]) {
    let while_down = after.samples(LINK_DOWN).map(|sample| {
        let key = (label(sample, "device"), label(sample, "state"));
        (key, before.growth(LINK_DOWN, sample))
    });
    let key =
        |drop: &DropReport| (drop.netns == HOST).then(|| (drop.device.clone(), drop.state.clone()));
    let dropped: Vec<_> = drops
        .iter()
        .filter_map(|d| Some((key(d)?, d.packets)))
        .collect();
    let dropped = dropped
        .iter()
        .map(|((device, state), packets)| ((&**device, &**state), *packets));
    let died = died_of_links(while_down, dropped);
    for drop in drops {
        if drop.netns == HOST && died.contains(&(&*drop.device, &*drop.state)) {
            drop.category = Category::Link.as_str();
            drop.meaning = THE_LINK_WAS_DOWN;
        }
    }
}

fn categories(before: &Earlier<'_>, after: Families<'_>) -> BTreeMap<&'static str, u64> {
    after
        .samples(BY_CATEGORY)
        .filter_map(|sample| {
            let category: Category = label(sample, "category").parse().ok()?;
            let packets = before.growth(BY_CATEGORY, sample);
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
