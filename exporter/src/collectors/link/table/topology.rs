//! Which port carries a link, what it is a member of, and how it is watched. Pure.

use std::{
    cell::RefCell,
    collections::HashMap,
    time::{Duration, Instant},
};

use super::device::Device;
use crate::{
    collectors::link::{
        transitions::works,
        watch::{Master, Watch, is_own_port, watch},
    },
    devices::{DeviceFilter, IfIndex},
    kernel::name::Name,
};

/// How many devices may sit on each other. The kernel allows 8 (`MAX_NEST_DEV` in
/// `include/linux/netdevice.h`).
const MAX_DEPTH: usize = 8;

/// The master that a device was a member of last. It counts as one of its members until it has worked
/// alone for a while: a bond that is deleted, or that throws its member out, does so in an outage.
#[derive(Debug)]
pub(super) struct FormerMaster {
    index: IfIndex,
    name: Name,
    is: Master,
    works_since: Option<Instant>,
}

impl FormerMaster {
    /// Takes whether the device works now, without this master.
    pub(super) fn observe(&mut self, works: bool, now: Instant) {
        self.works_since = works.then(|| self.works_since.unwrap_or(now));
    }

    /// When the device is none of its members any more.
    pub(super) fn deadline(&self, settle: Duration) -> Option<Instant> {
        Some(self.works_since? + settle)
    }
}

/// A device that another one is a member of.
struct Joined<'a> {
    index: IfIndex,
    name: &'a Name,
    is: Master,
}

/// The master of a device now, unless that is a bridge or the like.
pub(super) fn master_to_remember(
    devices: &HashMap<IfIndex, Device>,
    device: &Device,
) -> Option<FormerMaster> {
    let Joined { index, name, is } = joined_now(devices, device)?;
    (is != Master::Other).then(|| FormerMaster {
        index,
        name: name.clone(),
        is,
        works_since: None,
    })
}

fn joined_now<'a>(devices: &'a HashMap<IfIndex, Device>, device: &Device) -> Option<Joined<'a>> {
    let index = device.link.master?;
    let master = devices.get(&index)?;
    Some(Joined {
        index,
        name: &master.link.name,
        is: Master::of(&master.link, master.facts.as_ref()),
    })
}

/// All links and what they are members of, at one moment.
pub(super) struct Topology<'a> {
    devices: &'a HashMap<IfIndex, Device>,
    pages: &'a DeviceFilter,
    members: HashMap<IfIndex, Vec<&'a Device>>,
    /// Of bridges, which many links may sit on. Filled when asked for.
    ports_of_members: RefCell<HashMap<IfIndex, Option<&'a Name>>>,
}

impl<'a> Topology<'a> {
    pub(super) fn new(devices: &'a HashMap<IfIndex, Device>, pages: &'a DeviceFilter) -> Self {
        let mut members: HashMap<IfIndex, Vec<&Device>> = HashMap::new();
        for device in devices.values() {
            if let Some(master) = device.link.master {
                members.entry(master).or_default().push(device);
            }
        }
        Self {
            devices,
            pages,
            members,
            ports_of_members: RefCell::default(),
        }
    }

    /// The bond or team that a device is a member of.
    pub(super) fn bond(&self, device: &'a Device) -> Option<&'a Name> {
        let joined = self.joined(device)?;
        (joined.is == Master::Aggregate).then_some(joined.name)
    }

    /// How a device is watched.
    pub(super) fn watch(&self, device: &'a Device) -> Watch {
        let master = self.joined(device).map(|joined| joined.is);
        let may_page = self.pages.shows(&device.link.name);
        let facts = device.facts.as_ref();
        watch(&device.link, facts, device.representor, master, may_page)
    }

    /// Whether another member of the same bond, team or Open vSwitch has a carrier now. `None` for a
    /// link that is not watched. Virtual ports of Open vSwitch lead nowhere, so they do not count.
    pub(super) fn redundant(&self, device: &'a Device) -> Option<bool> {
        if self.watch(device) == Watch::None {
            return None;
        }
        let Some(joined) = self.joined(device) else {
            return Some(false);
        };
        let counts = |member: &'a Device| match joined.is {
            Master::Aggregate => true,
            Master::OpenVSwitch => self.watch(member) != Watch::None,
            Master::Port | Master::Other => false,
        };
        let others = self.members(joined.index).iter();
        let mut others = others.filter(|member| member.link.index != device.link.index);
        Some(others.any(|member| works(&member.link) && counts(member)))
    }

    /// The port, bond or team that carries a device, if it is one.
    pub(super) fn port(&self, device: &'a Device) -> Option<&'a Name> {
        self.port_within(device, MAX_DEPTH)
    }

    fn port_within(&self, device: &'a Device, depth: usize) -> Option<&'a Name> {
        let depth = depth.checked_sub(1)?;
        if let Some(bond) = self.bond(device) {
            return Some(bond);
        }
        if is_own_port(&device.link, device.facts.as_ref()) {
            return Some(&device.link.name);
        }
        // The other end of a pair carries nothing.
        if let Some(lower) = device.link.lower
            && device.link.kind != "veth"
        {
            return self.port_within(self.devices.get(&lower)?, depth);
        }
        let index = device.link.index;
        let known = self.ports_of_members.borrow().get(&index).copied();
        known.unwrap_or_else(|| {
            let port = self.only_port_of_members(index, depth);
            self.ports_of_members.borrow_mut().insert(index, port);
            port
        })
    }

    /// That of a bridge's or VRF's only port. The loss of one of several does not explain what happens
    /// on it.
    fn only_port_of_members(&self, index: IfIndex, depth: usize) -> Option<&'a Name> {
        let members = self.members(index).iter();
        let mut ports = members.filter_map(|member| self.port_within(member, depth));
        let first = ports.next()?;
        ports.all(|port| port == first).then_some(first)
    }

    fn members(&self, index: IfIndex) -> &[&'a Device] {
        self.members.get(&index).map_or(&[], Vec::as_slice)
    }

    fn joined(&self, device: &'a Device) -> Option<Joined<'a>> {
        let now = joined_now(self.devices, device).filter(|joined| joined.is != Master::Other);
        now.or_else(|| {
            let former = device.former_master.as_ref()?;
            Some(Joined {
                index: former.index,
                name: &former.name,
                is: former.is,
            })
        })
    }
}
