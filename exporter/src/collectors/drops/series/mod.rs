//! What was drained, counted into series by name: folded, retired and bounded. Pure.
//!
//! Every packet counts in two places. The category totals keep it for good. A series keeps it for
//! as long as the series is served: a vanished device's series end, so that a host on which
//! devices come and go does not collect them for ever.
//!
//! Counts saturate at `u64::MAX`, because a counter must never go backwards. No host gets there:
//! at 10^9 packets or 10^11 bytes a second it takes 584 or 5.8 years of running.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{
    abi::Link,
    kernel::{
        cgroups::Workload,
        name::Name,
        netns::{HOST, OTHER},
        reasons::Category,
    },
};

mod workloads;

pub use workloads::Workloads;

/// How long a series is served after the last sign of life of its device. Long enough for several
/// scrapes and for a device that a restart takes away for a moment; short enough that containers'
/// devices do not pile up.
pub const RETIREMENT: Duration = Duration::from_secs(5 * 60);

/// The labels of a series of dropped packets. Cheap to clone, and cheap to make where the caller
/// keeps the strings.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels {
    /// The kernel's name of the reason; empty where the kernel gives none.
    pub reason: Arc<str>,
    /// The kernel function that freed the packet; empty when unknown.
    pub function: Arc<str>,
    /// TCP state of the packet's socket; empty without one.
    pub state: &'static str,
    /// Device name; [`OTHER`] for devices that are not told apart, empty without a device.
    pub device: Name,
    /// [`HOST`], [`OTHER`], the name of a namespace, or empty when unknown.
    pub netns: Name,
}

/// One drained key, resolved to names, and what was counted for it since the last drain.
#[derive(Clone, Debug)]
pub struct Drops {
    /// What the drops are called.
    pub labels: Labels,
    /// Whose packets they were, if anybody's.
    pub workload: Option<Arc<Workload>>,
    /// The category of the reason.
    pub category: Category,
    /// The state of the device's link when they were dropped.
    pub link: Link,
    /// Socket buffers.
    pub packets: u64,
    /// Their length.
    pub bytes: u64,
}

/// The labels of a series of packets dropped while their device's link was down; of devices of
/// the [`HOST`] namespace only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkDownLabels {
    /// As [`Labels::device`].
    pub device: Name,
    /// `no_carrier` or `admin_down`.
    pub link: &'static str,
    /// As [`Labels::state`].
    pub state: &'static str,
}

/// What a series has counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Socket buffers.
    pub packets: u64,
    /// Their length.
    pub bytes: u64,
}

/// All drops that were read so far.
#[derive(Debug)]
pub struct Series {
    max_series: usize,
    drops: HashMap<Labels, DropSeries>,
    link_down: HashMap<LinkDownLabels, LinkDownSeries>,
    /// One for each category; so few that a search beats a hash.
    categories: Vec<(Category, u64)>,
    workloads: Workloads,
    /// [`OTHER`], kept so that folding does not allocate.
    other: Name,
}

#[derive(Debug)]
struct DropSeries {
    tally: Tally,
    /// Of the reason, whatever the link was.
    category: Category,
    life: Life,
}

#[derive(Debug, Default)]
struct LinkDownSeries {
    packets: u64,
    life: Life,
}

impl Series {
    /// No series yet, and every category at 0.
    ///
    /// `max_series` bounds the series of drops. When there are that many, a new set of labels is
    /// counted with `device="other"`, and with `netns="other"` if it names a namespace; a series
    /// that exists goes on as itself. Nothing may be lost, so these folded series are made even
    /// then: there can be as many more as there are combinations of reason, function, state and
    /// `host`, `other` or an unknown namespace. The function mostly decides the reason, so that is
    /// some hundreds on a busy host.
    ///
    /// The link-down series are bounded by the same number, and fold likewise. `max_workloads` bounds the
    /// workloads; there are some categories of each.
    pub fn new(max_series: usize, max_workloads: usize) -> Self {
        Self {
            max_series,
            drops: HashMap::new(),
            link_down: HashMap::new(),
            categories: Category::ALL.map(|category| (category, 0)).into(),
            workloads: Workloads::new(max_workloads),
            other: OTHER.into(),
        }
    }

    /// Counts what was drained for one key.
    ///
    /// Drops while the link was down count in [`Category::Link`], whatever their reason.
    pub fn add(&mut self, drops: Drops) {
        let down = down_label(drops.link);
        let category = match down {
            Some(_) => Category::Link,
            None => drops.category,
        };
        self.add_to_category(category, drops.packets);
        self.workloads
            .add(drops.workload.as_ref(), category, drops.packets);
        if let Some(link) = down
            && drops.labels.netns == HOST
        {
            self.add_to_link_down(link, &drops);
        }
        self.add_to_drops(drops);
    }

    /// Ends the series of devices that have been without a sign of life for [`RETIREMENT`]; call it
    /// after each drain.
    ///
    /// `exists` answers whether a device of the [`HOST`] namespace is known to exist now. In other
    /// namespaces that cannot be known; a drop is a sign of life too, so such series end
    /// [`RETIREMENT`] after their last one. The time counts from the first call that finds a series
    /// without, so it is never served for less.
    ///
    /// Not asked, and never ended, are the series of no device and of [`OTHER`], except in
    /// namespaces that have a name: those come and go themselves.
    pub fn retire(&mut self, now: Instant, exists: impl Fn(&Name) -> bool) {
        let is_none = |device: &Name| device.is_empty() || *device == OTHER;
        self.drops.retain(|Labels { netns, device, .. }, series| {
            let stays = is_none(device) && !is_named(netns);
            let alive = stays || (*netns == HOST && exists(device));
            series.life.goes_on(alive, now)
        });
        self.link_down
            .retain(|LinkDownLabels { device, .. }, series| {
                let alive = is_none(device) || exists(device);
                series.life.goes_on(alive, now)
            });
        self.workloads.retire(now);
    }

    /// The series of drops, in no particular order.
    pub fn drops(&self) -> impl ExactSizeIterator<Item = (&Labels, Tally)> {
        self.drops
            .iter()
            .map(|(labels, series)| (labels, series.tally))
    }

    /// The packets that were dropped while their link was down, in no particular order.
    pub fn link_down(&self) -> impl ExactSizeIterator<Item = (&LinkDownLabels, u64)> {
        self.link_down
            .iter()
            .map(|(labels, series)| (labels, series.packets))
    }

    /// All packets ever added, by category; every category is there.
    pub fn categories(&self) -> impl ExactSizeIterator<Item = (Category, u64)> {
        self.categories.iter().copied()
    }

    /// Whose packets they were.
    pub fn workloads(&self) -> &Workloads {
        &self.workloads
    }

    /// The reasons that have a series, each with its own category.
    pub fn reasons(&self) -> BTreeMap<&str, Category> {
        self.drops
            .iter()
            .map(|(labels, series)| (&*labels.reason, series.category))
            .collect()
    }

    fn add_to_category(&mut self, category: Category, packets: u64) {
        match self.categories.iter_mut().find(|(c, _)| *c == category) {
            Some((_, total)) => *total = total.saturating_add(packets),
            None => self.categories.push((category, packets)),
        }
    }

    fn add_to_drops(&mut self, drops: Drops) {
        let mut labels = drops.labels;
        if self.drops.len() >= self.max_series && !self.drops.contains_key(&labels) {
            labels.device = self.other.clone();
            if is_named(&labels.netns) {
                labels.netns = self.other.clone();
            }
        }
        let series = self.drops.entry(labels).or_insert_with(|| DropSeries {
            tally: Tally::default(),
            category: drops.category,
            life: Life::default(),
        });
        series.tally.packets = series.tally.packets.saturating_add(drops.packets);
        series.tally.bytes = series.tally.bytes.saturating_add(drops.bytes);
        series.life = Life::default();
    }

    fn add_to_link_down(&mut self, link: &'static str, drops: &Drops) {
        let mut labels = LinkDownLabels {
            device: drops.labels.device.clone(),
            link,
            state: drops.labels.state,
        };
        if self.link_down.len() >= self.max_series && !self.link_down.contains_key(&labels) {
            labels.device = self.other.clone();
        }
        let series = self.link_down.entry(labels).or_default();
        series.packets = series.packets.saturating_add(drops.packets);
        series.life = Life::default();
    }
}

/// Whether a series' device shows that it is there; new with every drop.
#[derive(Debug, Default)]
struct Life {
    /// When the device was first found missing after its last sign of life.
    missing_since: Option<Instant>,
}

impl Life {
    fn goes_on(&mut self, alive: bool, now: Instant) -> bool {
        if alive {
            self.missing_since = None;
            return true;
        }
        let since = *self.missing_since.get_or_insert(now);
        now.saturating_duration_since(since) < RETIREMENT
    }
}

/// The value of the label `link` while the link is down.
fn down_label(link: Link) -> Option<&'static str> {
    match link {
        Link::NoCarrier => Some("no_carrier"),
        Link::AdminDown => Some("admin_down"),
        Link::Up | Link::Unknown => None,
    }
}

/// Whether the label names one namespace, which can vanish.
fn is_named(netns: &Name) -> bool {
    !netns.is_empty() && *netns != HOST && *netns != OTHER
}

#[cfg(test)]
mod tests;
