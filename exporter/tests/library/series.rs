//! What holds for the series of drops after any order of drains, vanishing devices and time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::damage::cases;

use netdrop_exporter::{
    abi::Link,
    collectors::drops::series::{Drops, Labels, LinkDownLabels, RETIREMENT, Series, Tally},
    kernel::{
        cgroups::Workload,
        netns::{HOST, OTHER},
        reasons::Category,
    },
};

/// Those that can vanish, and the two that are none.
const DEVICES: [&str; 5] = ["eth0", "eth1", "veth0", OTHER, ""];
const NAMESPACES: [&str; 5] = [HOST, OTHER, "", "blue", "green"];
const STATES: [&str; 2] = ["", "SYN_SENT"];
/// Cgroups; the last is nobody's.
const CGROUPS: [&str; 4] = ["/a.service", "/b.service", "/c", "/"];
const MAX_WORKLOADS: usize = 2;

#[derive(Clone, Debug)]
enum Event {
    Drained(Drops),
    Vanished(&'static str),
    CameBack(&'static str),
    Passed(Duration),
    Retired,
}

fn arb_labels() -> impl Strategy<Value = Labels> {
    (
        0..3_u8,
        0..2_u8,
        prop::sample::select(&STATES[..]),
        prop::sample::select(&DEVICES[..]),
        prop::sample::select(&NAMESPACES[..]),
    )
        .prop_map(|(reason, function, state, device, netns)| Labels {
            reason: format!("REASON_{reason}").into(),
            function: format!("function_{function}").into(),
            state,
            device: device.into(),
            netns: netns.into(),
        })
}

fn arb_drops() -> impl Strategy<Value = Drops> {
    (
        arb_labels(),
        prop::sample::select(&CGROUPS[..]),
        prop::sample::select(&Category::ALL[..]),
        (0..4_u8).prop_map(Link::from_u8),
        1..u64::from(u32::MAX),
        any::<u32>(),
    )
        .prop_map(|(labels, cgroup, category, link, packets, bytes)| Drops {
            labels,
            workload: Workload::of_cgroup(cgroup.as_bytes()).map(Into::into),
            category,
            link,
            packets,
            bytes: bytes.into(),
        })
}

fn arb_event() -> impl Strategy<Value = Event> {
    let device = || prop::sample::select(&DEVICES[..3]);
    prop_oneof![
        8 => arb_drops().prop_map(Event::Drained),
        1 => device().prop_map(Event::Vanished),
        1 => device().prop_map(Event::CameBack),
        2 => (0..400_u64).prop_map(|s| Event::Passed(Duration::from_secs(s))),
        3 => Just(Event::Retired),
    ]
}

/// The series beside a plain account of what was done to them.
struct World {
    series: Series,
    now: Instant,
    present: BTreeSet<&'static str>,
    added: Tally,
    retired: Tally,
    served: BTreeMap<Labels, Tally>,
    /// When a series last had a drop, or a retirement found its device.
    last_alive: BTreeMap<Labels, Instant>,
    retired_workloads: u64,
    added_while_down: u64,
    retired_link_down: u64,
    served_link_down: BTreeMap<LinkDownLabels, u64>,
}

impl World {
    fn new(max_series: usize) -> Self {
        Self {
            series: Series::new(max_series, MAX_WORKLOADS),
            now: Instant::now(),
            present: DEVICES[..3].iter().copied().collect(),
            added: Tally::default(),
            retired: Tally::default(),
            served: BTreeMap::new(),
            last_alive: BTreeMap::new(),
            retired_workloads: 0,
            added_while_down: 0,
            retired_link_down: 0,
            served_link_down: BTreeMap::new(),
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Drained(drops) => self.drain(drops),
            Event::Vanished(device) => {
                self.present.remove(device);
            }
            Event::CameBack(device) => {
                self.present.insert(device);
            }
            Event::Passed(time) => self.now += time,
            Event::Retired => self.retire(),
        }
    }

    fn drain(&mut self, drops: Drops) {
        self.added.packets += drops.packets;
        self.added.bytes += drops.bytes;
        let down = matches!(drops.link, Link::NoCarrier | Link::AdminDown);
        if down && drops.labels.netns == HOST {
            self.added_while_down += drops.packets;
        }
        self.series.add(drops);
        let ended = self.look();
        assert!(ended.is_empty(), "a drop ended {ended:?}");
    }

    fn retire(&mut self) {
        for labels in self.served.keys() {
            if self.exists(labels) {
                self.last_alive.insert(labels.clone(), self.now);
            }
        }
        let present = &self.present;
        let before = self.of_workloads();
        self.series
            .retire(self.now, |device| present.contains(&*device.label()));
        self.retired_workloads += before - self.of_workloads();
        for (labels, tally) in self.look() {
            let alive = self.last_alive.remove(&labels).expect("it was served");
            let quiet = self.now - alive;
            assert!(quiet >= RETIREMENT, "{labels:?} ended after {quiet:?}");
            assert!(!self.stays(&labels), "{labels:?} ended");
            self.retired.packets += tally.packets;
            self.retired.bytes += tally.bytes;
        }
    }

    /// Takes in what is served now, which must not have gone backwards, and returns what ended.
    fn look(&mut self) -> Vec<(Labels, Tally)> {
        let mut ended = Vec::new();
        let now: BTreeMap<_, _> = owned(self.series.drops());
        for (labels, before) in std::mem::take(&mut self.served) {
            match now.get(&labels) {
                Some(n) => assert!(n.packets >= before.packets && n.bytes >= before.bytes),
                None => ended.push((labels.clone(), before)),
            }
            if now.get(&labels).is_some_and(|n| *n != before) {
                self.last_alive.insert(labels, self.now);
            }
        }
        for labels in now.keys() {
            self.last_alive.entry(labels.clone()).or_insert(self.now);
        }
        self.served = now;

        let now: BTreeMap<_, _> = owned(self.series.link_down());
        for (labels, before) in &self.served_link_down {
            match now.get(labels) {
                Some(packets) => assert!(packets >= before),
                None => self.retired_link_down += before,
            }
        }
        self.served_link_down = now;
        ended
    }

    fn of_workloads(&self) -> u64 {
        let packets = self
            .series
            .workloads()
            .iter()
            .flat_map(|(_, packets)| packets);
        packets.map(|(_, packets)| packets).sum()
    }

    fn exists(&self, labels: &Labels) -> bool {
        labels.netns == HOST && self.present.contains(&*labels.device.label())
    }

    /// Whether this series must be served for good.
    fn stays(&self, labels: &Labels) -> bool {
        let no_device = ["", OTHER].contains(&&*labels.device.label());
        let no_name = [HOST, OTHER, ""].contains(&&*labels.netns.label());
        self.exists(labels) || (no_device && no_name)
    }

    fn assert_nothing_is_lost(&self) {
        let categories: u64 = self.series.categories().map(|(_, packets)| packets).sum();
        assert_eq!(categories, self.added.packets);

        assert_eq!(self.of_workloads() + self.retired_workloads, categories);

        let packets: u64 = self.served.values().map(|tally| tally.packets).sum();
        let bytes: u64 = self.served.values().map(|tally| tally.bytes).sum();
        assert_eq!(packets + self.retired.packets, self.added.packets);
        assert_eq!(bytes + self.retired.bytes, self.added.bytes);

        let down: u64 = self.served_link_down.values().sum();
        assert_eq!(down + self.retired_link_down, self.added_while_down);
    }

    fn assert_bounded(&self, max_series: usize) {
        // 3 reasons, 2 functions, 2 states, and host, other or unknown as namespace.
        assert!(self.series.drops().len() <= max_series + 3 * 2 * 2 * 3);
        // Nobody and the others.
        assert!(self.series.workloads().iter().count() <= MAX_WORKLOADS + 2);
        // 2 ways to be down, 2 states.
        assert!(self.series.link_down().len() <= max_series + 2 * 2);
        let reasons: BTreeSet<_> = self.served.keys().map(|l| &*l.reason).collect();
        assert!(self.series.reasons().into_keys().eq(reasons));
    }
}

fn owned<'a, L: Clone + Ord + 'a, V>(series: impl Iterator<Item = (&'a L, V)>) -> BTreeMap<L, V> {
    series
        .map(|(labels, value)| (labels.clone(), value))
        .collect()
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn every_packet_is_in_a_category_and_in_a_series_until_it_retires(
        max_series in 0..12_usize,
        events in prop::collection::vec(arb_event(), 0..120),
    ) {
        let mut world = World::new(max_series);
        for event in events {
            world.happen(event);
            world.assert_nothing_is_lost();
            world.assert_bounded(max_series);
        }
    }

    #[test]
    fn a_series_without_a_sign_of_life_ends(
        max_series in 0..100_usize,
        events in prop::collection::vec(arb_event(), 0..60),
    ) {
        let mut world = World::new(max_series);
        for event in events {
            world.happen(event);
        }
        world.retire();
        world.now += RETIREMENT;
        world.retire();
        for labels in world.served.keys() {
            prop_assert!(world.stays(labels), "{labels:?} is still served");
        }
        for labels in world.served_link_down.keys() {
            let stays = world.present.contains(&*labels.device.label())
                || ["", OTHER].contains(&&*labels.device.label());
            prop_assert!(stays, "{labels:?} is still served");
        }
    }

    #[test]
    fn a_device_that_is_back_within_five_minutes_goes_on_with_its_series(
        first in arb_drops(),
        absence in 0..RETIREMENT.as_secs(),
        second in any::<u32>(),
    ) {
        let mut series = Series::new(10, 10);
        let start = Instant::now();
        series.add(first.clone());
        series.retire(start, |_| false);
        series.retire(start + Duration::from_secs(absence), |_| false);
        series.add(Drops { packets: second.into(), bytes: 1, ..first.clone() });
        let tallies: Vec<_> = series.drops().map(|(_, tally)| tally).collect();
        let both = Tally { packets: first.packets + u64::from(second), bytes: first.bytes + 1 };
        prop_assert_eq!(tallies, [both]);
    }
}
