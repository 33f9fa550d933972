//! Which links there are and what happened to them: messages in, events out. Pure.
//!
//! **A device is its ifindex**, from its first message on. It keeps its transitions when it is
//! renamed, as the kernel's own counts do. A message that cannot be of the same device (the kernel's
//! counts went back, or it is of another kind) is of a new one, that starts at 0; so does one that
//! was deleted, or moved to another namespace, and comes back.
//!
//! What happened before a device was first seen is not known, so it is not counted.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, Instant, SystemTime},
};

use super::{
    message::{Link, LinkMessage},
    sysfs::Facts,
    transitions::{PerTransition, between, is_same_device, works},
};
use crate::{
    devices::{DeviceFilter, IfIndex},
    kernel::name::Name,
};

/// When something happened, by both clocks: one to tell, one to measure with.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The time of day.
    pub wall: SystemTime,
    /// Never goes back.
    pub monotonic: Instant,
}

/// What a message changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A device has this name from now on.
    Named(IfIndex, Name),
    /// A device is not here any more.
    Gone(IfIndex),
    /// Something happened to a link that is shown.
    Changed(Change),
}

/// What happened to one link.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Its state now.
    pub link: Link,
    /// The driver and whether the device is physical.
    pub facts: Option<Facts>,
    /// The last speed that was read, in Mbit/s.
    pub speed: Option<u32>,
    /// How often each transition happened.
    pub happened: PerTransition<u32>,
    /// How long it could not carry packets, if it can again.
    pub outage: Option<Duration>,
}

/// All links of the namespace.
#[derive(Debug)]
pub struct Table {
    filter: DeviceFilter,
    devices: HashMap<IfIndex, Device>,
    /// Who has the name now. A device whose name another one took has none until it is heard of
    /// again: its message was lost.
    names: BTreeMap<Name, IfIndex>,
    /// The devices that were heard of since a dump began.
    dump: Option<HashSet<IfIndex>>,
    version: u64,
}

#[derive(Debug)]
struct Device {
    link: Link,
    facts: Option<Facts>,
    speed: Option<u32>,
    shown: bool,
    transitions: PerTransition<u64>,
    last: PerTransition<Option<SystemTime>>,
    /// Since when it cannot carry packets, if it ever could.
    down_since: Option<Instant>,
}

/// What is served of one link.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The state, with the device's name.
    pub link: Link,
    /// What sysfs says; nothing where it does not show the device.
    pub facts: Option<Facts>,
    /// The name of [`Link::lower`].
    pub lower: Option<Name>,
    /// The name of [`Link::master`].
    pub master: Option<Name>,
    /// How often each happened since the device is known.
    pub transitions: PerTransition<u64>,
    /// When each happened last.
    pub last: PerTransition<Option<SystemTime>>,
}

impl Table {
    /// No links yet. Those that the filter does not show are known, for others may sit on them.
    pub fn new(filter: DeviceFilter) -> Self {
        Self {
            filter,
            devices: HashMap::new(),
            names: BTreeMap::new(),
            dump: None,
            version: 0,
        }
    }

    /// Grows with every change of [`Table::rows`], and at times without one.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether [`Table::apply`] needs facts to go with this message: the device is new, or has none.
    pub fn lacks_facts(&self, link: &Link) -> bool {
        let known = self.devices.get(&link.index);
        !known.is_some_and(|device| device.facts.is_some() && is_same_device(&device.link, link))
    }

    /// Takes what the kernel said. Facts are those of the message's device, if they were read.
    pub fn apply(&mut self, message: LinkMessage, facts: Option<Facts>, now: Moment) -> Vec<Event> {
        let mut events = Vec::new();
        match message {
            LinkMessage::Gone(index) => events.extend(self.remove(index)),
            LinkMessage::Present(link) => self.update(link, facts, now, &mut events),
        }
        events
    }

    /// A dump begins: each device is heard of from here on, or has gone.
    pub fn begin_dump(&mut self) {
        self.dump = Some(HashSet::new());
    }

    /// The dump has ended. Devices that were not in it have gone, unless it is `incomplete`.
    pub fn end_dump(&mut self, incomplete: bool) -> Vec<Event> {
        let Some(heard_of) = self.dump.take() else {
            return Vec::new();
        };
        if incomplete {
            return Vec::new();
        }
        let gone = self
            .devices
            .keys()
            .filter(|index| !heard_of.contains(index));
        let gone: Vec<IfIndex> = gone.copied().collect();
        gone.into_iter()
            .filter_map(|index| self.remove(index))
            .collect()
    }

    /// What each device is called.
    pub fn names(&self) -> HashMap<IfIndex, Name> {
        let names = self.names.iter();
        names.map(|(name, &index)| (index, name.clone())).collect()
    }

    /// What is known of a device.
    pub fn link(&self, index: IfIndex) -> Option<Link> {
        Some(self.devices.get(&index)?.link.clone())
    }

    /// Keeps the speed of a device, to tell it when the link goes down.
    pub fn set_speed(&mut self, index: IfIndex, speed: Option<u32>) {
        if let Some(device) = self.devices.get_mut(&index) {
            device.speed = speed;
        }
    }

    /// The links that are shown, sorted by name. Each name is there once.
    pub fn rows(&self) -> Vec<Row> {
        let peers = self.veth_peers();
        let devices = self.names.values().filter_map(|i| self.devices.get(i));
        devices
            .filter(|device| device.shown)
            .map(|device| Row {
                link: device.link.clone(),
                facts: device.facts.clone(),
                lower: self.name(device.link.lower.or_else(|| {
                    let peer = peers.get(&device.link.index).copied();
                    peer.filter(|_| is_veth(&device.link))
                })),
                master: self.name(device.link.master),
                transitions: device.transitions,
                last: device.last,
            })
            .collect()
    }

    /// The ends of veth pairs by their other ends. The kernel announces the end that it makes first
    /// before there is another, and does not announce it again (`veth_newlink`,
    /// `drivers/net/veth.c`).
    fn veth_peers(&self) -> HashMap<IfIndex, IfIndex> {
        let links = self.devices.values().map(|device| &device.link);
        links
            .filter(|link| is_veth(link))
            .filter_map(|link| Some((link.lower?, link.index)))
            .collect()
    }

    fn name(&self, index: Option<IfIndex>) -> Option<Name> {
        let device = self.devices.get(&index?)?;
        Some(device.link.name.clone())
    }

    fn update(&mut self, link: Link, facts: Option<Facts>, now: Moment, events: &mut Vec<Event>) {
        let index = link.index;
        if let Some(heard_of) = &mut self.dump {
            heard_of.insert(index);
        }
        if self
            .devices
            .get(&index)
            .is_some_and(|device| !is_same_device(&device.link, &link))
        {
            events.extend(self.remove(index));
        }
        let known = self.devices.get(&index).map(|device| &device.link);
        if known != Some(&link) || facts.is_some() {
            self.version += 1;
        }
        if self.claim_name(&link) {
            self.version += 1;
            events.push(Event::Named(index, link.name.clone()));
        }
        match self.devices.get_mut(&index) {
            Some(device) => {
                let renamed = device.link.name != link.name;
                if renamed {
                    device.shown = self.filter.shows(&link.name);
                }
                if facts.is_some() {
                    device.facts = facts;
                }
                let change = device.change(link, now);
                events.extend(change.map(Event::Changed));
            }
            None => {
                let shown = self.filter.shows(&link.name);
                self.devices.insert(index, Device::new(link, facts, shown));
            }
        }
    }

    /// Gives the name of the message to its device, and returns whether that is news.
    fn claim_name(&mut self, link: &Link) -> bool {
        if self.names.get(&link.name) == Some(&link.index) {
            return false;
        }
        self.release_name(link.index);
        self.names.insert(link.name.clone(), link.index);
        true
    }

    fn release_name(&mut self, index: IfIndex) {
        if let Some(device) = self.devices.get(&index)
            && self.names.get(&device.link.name) == Some(&index)
        {
            self.names.remove(&device.link.name);
        }
    }

    fn remove(&mut self, index: IfIndex) -> Option<Event> {
        self.version += 1;
        self.release_name(index);
        self.devices.remove(&index).map(|_| Event::Gone(index))
    }
}

fn is_veth(link: &Link) -> bool {
    link.kind == "veth"
}

impl Device {
    fn new(link: Link, facts: Option<Facts>, shown: bool) -> Self {
        Self {
            link,
            facts,
            speed: None,
            shown,
            transitions: PerTransition::default(),
            last: PerTransition::default(),
            down_since: None,
        }
    }

    /// Takes the next state of the same device, and says what happened if that is to be told.
    fn change(&mut self, link: Link, now: Moment) -> Option<Change> {
        let happened = between(&self.link, &link);
        let worked = works(&self.link);
        self.link = link;
        let mut any = false;
        for (transition, times) in happened.iter().filter(|&(_, times)| times > 0) {
            *self.transitions.get_mut(transition) += u64::from(times);
            *self.last.get_mut(transition) = Some(now.wall);
            any = true;
        }
        let outage = self.note_outage(worked, now.monotonic);
        (any && self.shown).then(|| Change {
            link: self.link.clone(),
            facts: self.facts.clone(),
            speed: self.speed,
            happened,
            outage,
        })
    }

    fn note_outage(&mut self, worked: bool, now: Instant) -> Option<Duration> {
        if works(&self.link) {
            let since = self.down_since.take()?;
            return Some(now.saturating_duration_since(since));
        }
        if worked {
            self.down_since = Some(now);
        }
        None
    }
}

#[cfg(test)]
mod tests;
