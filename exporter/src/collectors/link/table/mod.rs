//! Which links there are and what happened to them: messages in, events out. Pure.
//!
//! **A device is its ifindex**, from its first message on. It keeps its transitions when it is
//! renamed, as the kernel's own counts do. A message that cannot be of the same device (the kernel's
//! counts went back, or it is of another kind) is of a new one, that starts at 0; so does one that
//! was deleted, or moved to another namespace, and comes back.
//!
//! What happened before a device was first seen is not known, so it is not counted.
//!
//! **A device that goes** is closed first. Whether the kernel did that because it removes or moves
//! the device, or the device's driver, bond or lower device did it and the device stays, is known
//! only from what follows; so it is an admin down if nothing follows for [`REMOVAL_WAIT`].

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::{Duration, Instant, SystemTime},
};

use super::{
    message::{Admin, Link, LinkMessage},
    sysfs::Facts,
    transitions::{PerTransition, Transition, is_same_device},
};
use crate::{
    devices::{DeviceFilter, IfIndex},
    kernel::name::Name,
};

mod carrier;
mod device;
mod pending;
mod removals;
mod rows;
mod topology;

use device::Device;
use removals::Removals;
pub use removals::Removed;
pub use rows::Row;

/// How long the kernel may take to remove a device that it has closed. It does both under one RTNL
/// lock, in milliseconds; but a driver may close its device, shut the card down and only then remove
/// it, and with a bond go thousands of VLANs that sit on it.
const REMOVAL_WAIT: Duration = Duration::from_secs(5);

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
    /// How it went, if it did.
    pub left: Option<Departure>,
    /// How long it could not carry packets, if it can again.
    pub outage: Option<Duration>,
}

/// How a device went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// It was removed: the card, its driver, or by a command.
    Removed,
    /// It is in another network namespace.
    Moved,
    /// One of the two, and the message that said which was lost.
    Missing,
}

/// All links of the namespace.
#[derive(Debug)]
pub struct Table {
    filter: DeviceFilter,
    /// Which links may page.
    pages: DeviceFilter,
    /// How long a link settles.
    settle: Duration,
    devices: HashMap<IfIndex, Device>,
    /// Who has the name now. A device whose name another one took has none until it is heard of
    /// again: its message was lost.
    names: BTreeMap<Name, IfIndex>,
    /// The devices that were heard of since a dump began.
    dump: Option<HashSet<IfIndex>>,
    /// Devices that the kernel has closed, and when: to be removed, or for another reason.
    closed: BTreeMap<IfIndex, Moment>,
    /// Devices of which something is decided later: whether a loss counts, or whether one that has
    /// left its bond stands alone.
    pending: BTreeSet<IfIndex>,
    removals: Removals,
    version: u64,
}

impl Table {
    /// No links yet. Those that the filter does not show are known, for others may sit on them.
    pub fn new(filter: DeviceFilter) -> Self {
        Self {
            filter,
            pages: DeviceFilter::All,
            settle: Duration::ZERO,
            devices: HashMap::new(),
            names: BTreeMap::new(),
            dump: None,
            closed: BTreeMap::new(),
            pending: BTreeSet::new(),
            removals: Removals::default(),
            version: 0,
        }
    }

    /// The same, where only these links may page.
    #[must_use]
    pub fn paging(self, pages: DeviceFilter) -> Self {
        Self { pages, ..self }
    }

    /// The same, where links settle for so long after they appeared or were set up.
    #[must_use]
    pub fn settling(self, settle: Duration) -> Self {
        Self { settle, ..self }
    }

    /// Grows with every change of [`Table::rows`] and [`Table::removed`], and at times without one.
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
            LinkMessage::Present(link) => self.update(link, false, facts, now, &mut events),
            LinkMessage::Closed(link) => self.update(link, true, facts, now, &mut events),
            LinkMessage::Deleted(index) => self.remove(index, Departure::Removed, now, &mut events),
            LinkMessage::Moved(index) => self.remove(index, Departure::Moved, now, &mut events),
        }
        events
    }

    /// When [`Table::expire`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let closed = self.closed.values().map(|at| at.monotonic + REMOVAL_WAIT);
        let pending = self.pending.iter().filter_map(|i| self.devices.get(i));
        let pending = pending.filter_map(|device| device.deadline(self.settle));
        closed.chain(self.removals.deadline()).chain(pending).min()
    }

    /// Decides on devices that were closed and not removed, or have settled, and forgets old removals.
    /// Not to be called while messages are missing: that of a removal may be one of them.
    pub fn expire(&mut self, now: Instant) -> Vec<Event> {
        let is_due = |at: &Moment| now.saturating_duration_since(at.monotonic) >= REMOVAL_WAIT;
        let due = self.closed.iter().filter(|(_, at)| is_due(at));
        let due: Vec<IfIndex> = due.map(|(&index, _)| index).collect();
        if self.removals.expire(now) {
            self.version += 1;
        }
        self.decide_pending(now);
        let stayed = due.into_iter().filter_map(|index| self.has_stayed(index));
        stayed.collect()
    }

    /// A dump begins: each device is heard of from here on, or has gone.
    pub fn begin_dump(&mut self) {
        self.dump = Some(HashSet::new());
    }

    /// The dump has ended. Devices that were not in it have gone, unless it is `incomplete`.
    pub fn end_dump(&mut self, incomplete: bool, now: Moment) -> Vec<Event> {
        let mut events = Vec::new();
        let heard_of = self.dump.take().filter(|_| !incomplete);
        if let Some(heard_of) = heard_of {
            let all = self.devices.keys();
            let gone: Vec<_> = all.filter(|&i| !heard_of.contains(i)).copied().collect();
            for index in gone {
                self.remove(index, Departure::Missing, now, &mut events);
            }
        }
        events
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

    /// Keeps the speed of a device, to tell it when the link goes down. In Mbit/s.
    pub fn set_speed(&mut self, index: IfIndex, speed: u32) {
        if let Some(device) = self.devices.get_mut(&index) {
            device.speed = Some(speed);
        }
    }

    fn update(
        &mut self,
        link: Link,
        closed: bool,
        facts: Option<Facts>,
        now: Moment,
        events: &mut Vec<Event>,
    ) {
        let index = link.index;
        if let Some(heard_of) = &mut self.dump {
            heard_of.insert(index);
        }
        if self
            .devices
            .get(&index)
            .is_some_and(|device| !is_same_device(&device.link, &link))
        {
            self.remove(index, Departure::Missing, now, events);
        }
        if link.admin == Admin::Up {
            // Whatever closed it did not remove it.
            events.extend(self.has_stayed(index));
        }
        let known = self.devices.get(&index).map(|device| &device.link);
        if known != Some(&link) || facts.is_some() {
            self.version += 1;
        }
        if known.is_some_and(|known| known.master != link.master) {
            self.remember_master(index);
        }
        let name = link.name.clone();
        if self.claim_name(&link, now) {
            self.version += 1;
            events.push(Event::Named(index, name.clone()));
        }
        match self.devices.get_mut(&index) {
            Some(device) => {
                if device.link.name != name {
                    device.shown = self.filter.shows(&name);
                }
                if facts.is_some() {
                    device.facts = facts;
                }
                let undecided = closed && device.closes(&link);
                if undecided {
                    self.closed.insert(index, now);
                }
                let change = device.change(link, undecided, now, self.settle);
                events.extend(change.map(Event::Changed));
            }
            None => {
                let shown = self.filter.shows(&name);
                let device =
                    Device::new(self.version, link, facts, shown, now.monotonic, self.settle);
                self.devices.insert(index, device);
            }
        }
        self.observe_master(index, now.monotonic);
        self.observe_pending(index);
        self.observe_removals(&name, now);
    }

    /// A device that was closed is still here: somebody set it down.
    fn has_stayed(&mut self, index: IfIndex) -> Option<Event> {
        let at = self.closed.remove(&index)?;
        self.version += 1;
        let mut happened = PerTransition::default();
        *happened.get_mut(Transition::AdminDown) = 1;
        let change = self.devices.get_mut(&index)?.count(happened, at.wall);
        change.map(Event::Changed)
    }

    /// Gives the name of the message to its device, and returns whether that is news.
    fn claim_name(&mut self, link: &Link, now: Moment) -> bool {
        if self.names.get(&link.name) == Some(&link.index) {
            return false;
        }
        self.release_name(link.index, now);
        self.names.insert(link.name.clone(), link.index);
        true
    }

    /// Returns the name, unless another device has it.
    fn release_name(&mut self, index: IfIndex, now: Moment) -> Option<Name> {
        let name = self.devices.get(&index)?.link.name.clone();
        if self.names.get(&name) != Some(&index) {
            return None;
        }
        self.names.remove(&name);
        self.observe_removals(&name, now);
        Some(name)
    }

    fn observe_removals(&mut self, name: &Name, now: Moment) {
        let device = self.names.get(name).and_then(|i| self.devices.get(i));
        let is_there = device.is_some_and(Device::is_shown_port);
        self.removals.observe(name, is_there, now.monotonic);
    }

    fn remove(&mut self, index: IfIndex, how: Departure, now: Moment, events: &mut Vec<Event>) {
        self.version += 1;
        self.pending.remove(&index);
        self.release_members(index);
        self.closed.remove(&index);
        let name = self.release_name(index, now);
        let Some(device) = self.devices.remove(&index) else {
            return;
        };
        events.push(Event::Gone(index));
        let mut happened = PerTransition::default();
        if let Some(name) = name
            && how == Departure::Removed
            && device.is_shown_port()
        {
            self.removals.count(&name, now);
            *happened.get_mut(Transition::Removed) = 1;
        }
        if device.shown {
            events.push(Event::Changed(device.tell(happened, Some(how))));
        }
    }
}

#[cfg(test)]
mod tests;
