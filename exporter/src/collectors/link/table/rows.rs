//! The table as a scrape serves it.

use std::{collections::HashMap, time::SystemTime};

use super::{Removed, Table, device::is_port, topology::Topology};
use crate::{
    collectors::{
        FollowedLink,
        link::{
            message::Link,
            sysfs::{Facts, is_physical},
            transitions::{PerTransition, Transition},
            watch::Watch,
        },
    },
    devices::IfIndex,
    kernel::name::Name,
};

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
    /// The port, bond or team that carries it.
    pub port: Option<Name>,
    /// The bond or team that it is a member of.
    pub bond: Option<Name>,
    /// What to do when it loses its carrier.
    pub watch: Watch,
    /// Whether another member of the same bond, team or Open vSwitch has a carrier; of watched links.
    pub redundant: Option<bool>,
    /// Whether it is set up and has no carrier, but had one.
    pub carrier_lost: bool,
    /// How many losses of its carrier count.
    pub carrier_losses: u64,
    /// How often each happened since the device is known; removals, to a device of this name.
    pub transitions: PerTransition<u64>,
    /// When each happened last.
    pub last: PerTransition<Option<SystemTime>>,
}

impl Row {
    /// Whether this transition is served of it: removals only of ports, bonds and teams.
    pub fn has(&self, transition: Transition) -> bool {
        transition != Transition::Removed || is_port(&self.link, self.facts.as_ref())
    }
}

impl Table {
    /// The links that are shown, sorted by name. Each name is there once.
    pub fn rows(&self) -> Vec<Row> {
        let peers = self.veth_peers();
        let topology = Topology::new(&self.devices, &self.pages);
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
                port: topology.port(device).cloned(),
                bond: topology.bond(device).cloned(),
                watch: topology.watch(device),
                redundant: topology.redundant(device),
                carrier_lost: device.carrier.is_lost(&device.link),
                carrier_losses: device.carrier.losses(),
                transitions: device.transitions,
                last: device.last,
            })
            .map(|row| self.with_removals(row))
            .collect()
    }

    /// The ports that are gone, sorted by name; none of them is among [`Table::rows`].
    pub fn removed(&self) -> Vec<Removed> {
        self.removals.gone().collect()
    }

    fn with_removals(&self, mut row: Row) -> Row {
        if row.has(Transition::Removed) {
            let (times, last) = self.removals.get(&row.link.name);
            *row.transitions.get_mut(Transition::Removed) = times;
            *row.last.get_mut(Transition::Removed) = last;
        }
        row
    }

    /// The links that can be ports, those with a bus device and those that rtnetlink has no kind for;
    /// and bonds with their members. Only those that are shown.
    pub fn port_candidates(&self) -> Vec<FollowedLink> {
        let link_of = |index| self.devices.get(&index).map(|device| &device.link);
        let is_bond = |link: &Link| link.kind == *"bond";
        let bond = |link: &Link| {
            let master = link_of(link.master?)?;
            is_bond(master).then(|| master.name.clone())
        };
        let devices = self.names.values().filter_map(|i| self.devices.get(i));
        let candidates = devices.filter(|device| device.shown).filter_map(|device| {
            let link = &device.link;
            let (facts, bond) = (device.facts.as_ref(), bond(link));
            let physical = is_physical(link, facts);
            let is_bond = is_bond(link);
            let is_candidate = physical || is_bond || bond.is_some() || link.kind.is_empty();
            is_candidate.then(|| FollowedLink {
                index: link.index,
                serial: device.serial,
                name: link.name.clone(),
                driver: facts.map(|facts| facts.driver.clone()).unwrap_or_default(),
                physical,
                is_bond,
                bond,
            })
        });
        candidates.collect()
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
}

fn is_veth(link: &Link) -> bool {
    link.kind == "veth"
}
