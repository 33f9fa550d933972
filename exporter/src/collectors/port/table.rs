//! What is known of each port, and what of it is served. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    time::SystemTime,
};

use super::{
    counters::{Counter, Readings, Sources, counters},
    steady::Steady,
};
use crate::{
    collectors::{Answer, FollowedLink},
    devices::IfIndex,
    kernel::{
        driver_info::DriverInfo,
        name::Name,
        netlink::{
            bond::{BondMember, Bonding},
            ethtool::{
                down_reason::DownReason, link_info::Connector, link_modes::LinkModes,
                link_state::LinkState,
            },
        },
    },
};

/// All ports, and all members of bonds.
#[derive(Debug, Default)]
pub struct Table {
    ports: HashMap<IfIndex, Port>,
    version: u64,
}

/// What is known of one.
#[derive(Clone, Debug)]
pub struct Port {
    /// What the collector `link` knows of it.
    pub link: FollowedLink,
    /// Whether it is a port: it has a bus device, or a driver with statistics of ethtool. Unknown until
    /// it is asked.
    pub is_port: Option<bool>,
    /// What does not change while the device is there.
    pub facts: Option<Facts>,
    /// When that was read.
    pub facts_at: Option<SystemTime>,
    /// LINKSTATE, as it was read last.
    pub state: Option<LinkState>,
    /// LINKMODES, as they were read last.
    pub modes: Option<LinkModes>,
    /// How often its carrier changed, and whether the driver was asked for these two since.
    carrier_changes: u64,
    state_is_asked: bool,
    modes_are_asked: bool,
    /// What the bonding driver says of it.
    pub bonding: Bonding,
    /// When it was last read as a whole.
    pub read_at: Option<SystemTime>,
    /// How many questions it did not answer, or wrongly.
    pub failures: u64,
    counters: BTreeMap<Counter, Counted>,
    sources: Sources,
}

/// What a driver says of its device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Versions.
    pub driver: DriverInfo,
    /// What the cable goes into.
    pub connector: Option<Connector>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    steady: Steady,
    /// Whether the last reading had it. What a driver stops to tell is not served, but remembered.
    is_told: bool,
}

impl Port {
    fn new(link: FollowedLink) -> Self {
        Self {
            is_port: link.physical.then_some(true),
            link,
            facts: None,
            facts_at: None,
            state: None,
            modes: None,
            carrier_changes: 0,
            state_is_asked: false,
            modes_are_asked: false,
            bonding: Bonding::None,
            read_at: None,
            failures: 0,
            counters: BTreeMap::new(),
            sources: Sources::default(),
        }
    }

    /// The same device, of which something else is known now.
    fn with(self, link: FollowedLink) -> Self {
        let is_port = if link.physical {
            Some(true)
        } else {
            self.is_port
        };
        Self {
            link,
            is_port,
            ..self
        }
    }

    /// All counters that the last reading had.
    pub fn counters(&self) -> impl Iterator<Item = (Counter, u64)> + '_ {
        let told = self.counters.iter().filter(|(_, counted)| counted.is_told);
        told.map(|(&counter, counted)| (counter, counted.steady.value()))
    }

    /// Why its link is down.
    pub fn down_reason(&self) -> Answer<DownReason> {
        match self.state_is_asked {
            true => Answer::of(self.state.and_then(|state| state.down_reason)),
            false => Answer::Awaited,
        }
    }

    /// How fast it runs, in Mbit/s.
    pub fn speed(&self) -> Answer<u32> {
        match self.modes_are_asked {
            true => Answer::of(self.modes.and_then(|modes| modes.speed)),
            false => Answer::Awaited,
        }
    }

    /// How often its carrier changed.
    pub fn carrier_changes(&self) -> u64 {
        self.carrier_changes
    }

    /// Takes the state, asked for when the carrier had changed so often. If it has changed again, the
    /// answer is of the past.
    pub fn take_state(&mut self, state: Option<LinkState>, carrier_changes: u64) {
        if self.carrier_changes == carrier_changes {
            (self.state, self.state_is_asked) = (state, true);
        }
    }

    /// As [`Port::take_state`].
    pub fn take_modes(&mut self, modes: Option<LinkModes>, carrier_changes: u64) {
        if self.carrier_changes == carrier_changes {
            (self.modes, self.modes_are_asked) = (modes, true);
        }
    }
}

impl Table {
    /// Another number as soon as anything else would be served.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// These are the links that are read; others have gone. A device that was renamed is the same.
    /// Returns those that are new.
    pub fn set_links(&mut self, links: Vec<FollowedLink>) -> Vec<IfIndex> {
        let is_known =
            |link: &FollowedLink| self.get(link.index).is_some_and(|it| it.link == *link);
        if links.len() == self.ports.len() && links.iter().all(is_known) {
            return Vec::new();
        }
        self.version += 1;
        let mut known = std::mem::take(&mut self.ports);
        let mut new = Vec::new();
        for link in links {
            let index = link.index;
            let known = known.remove(&index);
            let port = match known.filter(|port| port.link.serial == link.serial) {
                Some(port) => port.with(link),
                None => {
                    new.push(index);
                    Port::new(link)
                }
            };
            self.ports.insert(index, port);
        }
        new
    }

    /// Changes what is known of a port, if it is still there. Returns whether that is another answer to
    /// the collector `link`.
    pub fn update(&mut self, index: IfIndex, change: impl FnOnce(&mut Port)) -> bool {
        let Some(port) = self.ports.get_mut(&index) else {
            return false;
        };
        self.version += 1;
        let before = (port.down_reason(), port.speed());
        change(port);
        before != (port.down_reason(), port.speed())
    }

    /// What is known of a port.
    pub fn get(&self, index: IfIndex) -> Option<&Port> {
        self.ports.get(&index)
    }

    /// All, sorted by name.
    pub fn by_name(&self) -> Vec<&Port> {
        let mut ports: Vec<_> = self.ports.values().collect();
        ports.sort_unstable_by(|a, b| a.link.name.cmp(&b.link.name));
        ports
    }

    /// The indexes of all.
    pub fn indexes(&self) -> Vec<IfIndex> {
        self.ports.keys().copied().collect()
    }
}

impl Port {
    /// The carrier changed: how the link is, and why, is not known until it is read again.
    pub fn carrier_changed(&mut self) {
        self.carrier_changes += 1;
        (self.state_is_asked, self.modes_are_asked) = (false, false);
        self.state = self.state.map(|state| LinkState {
            down_reason: None,
            ..state
        });
        self.modes = self.modes.map(|modes| LinkModes {
            speed: None,
            duplex: None,
            ..modes
        });
    }

    /// It could not be read: nothing that was known still holds. Counters go on when it can.
    pub fn forget(&mut self) {
        (self.state, self.modes, self.bonding) = (None, None, Bonding::None);
        (self.state_is_asked, self.modes_are_asked) = (true, true);
        for counted in self.counters.values_mut() {
            counted.is_told = false;
        }
    }

    /// It was read as a whole.
    pub fn count(&mut self, readings: &Readings, at: SystemTime) {
        self.read_at = Some(at);
        for counted in self.counters.values_mut() {
            counted.is_told = false;
        }
        let before = self.sources;
        self.sources.learn(readings);
        for (counter, reading) in counters(readings, self.sources, &self.link.driver.label()) {
            let counted = self.counters.entry(counter).or_default();
            counted.is_told = true;
            if self.sources.differ_for(counter, before) {
                counted.steady.go_on_from(reading);
            } else {
                counted.steady.update(reading);
            }
        }
    }

    /// The bond that it is a member of, and how.
    pub fn membership(&self) -> Option<(&Name, BondMember)> {
        match (&self.link.bond, &self.bonding) {
            (Some(bond), Bonding::Member(member)) => Some((bond, *member)),
            _ => None,
        }
    }
}
