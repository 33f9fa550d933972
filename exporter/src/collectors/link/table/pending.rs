//! What is decided later: whether a loss counts, and whether a port that has left its bond stands
//! alone. Pure.

use std::time::Instant;

use super::{Table, topology::master_to_remember};
use crate::{
    collectors::link::{transitions::works, watch::Master},
    devices::IfIndex,
};

impl Table {
    /// Before the device leaves its master, or that goes.
    pub(super) fn remember_master(&mut self, index: IfIndex) {
        let device = self.devices.get(&index);
        let former = device.and_then(|device| master_to_remember(&self.devices, device));
        if let (Some(device), Some(former)) = (self.devices.get_mut(&index), former) {
            device.former_master = Some(former);
        }
    }

    /// The device is a member of another one now, or works without.
    pub(super) fn observe_master(&mut self, index: IfIndex, now: Instant) {
        let Some(device) = self.devices.get(&index) else {
            return;
        };
        let is_joined = master_to_remember(&self.devices, device).is_some();
        let Some(device) = self.devices.get_mut(&index) else {
            return;
        };
        if is_joined {
            device.former_master = None;
        } else if let Some(former) = &mut device.former_master {
            former.observe(works(&device.link), now);
        }
    }

    /// A device goes, and its members are told later, if at all.
    pub(super) fn release_members(&mut self, master: IfIndex) {
        let Some(device) = self.devices.get(&master) else {
            return;
        };
        if Master::of(&device.link, device.facts.as_ref()) == Master::Other {
            return;
        }
        let members = self.devices.values().map(|device| &device.link);
        let members = members.filter(|link| link.master == Some(master));
        let members: Vec<_> = members.map(|link| link.index).collect();
        for index in members {
            self.remember_master(index);
        }
    }

    pub(super) fn observe_pending(&mut self, index: IfIndex) {
        let device = self.devices.get(&index);
        if device.is_some_and(|device| device.deadline(self.settle).is_some()) {
            self.pending.insert(index);
        } else {
            self.pending.remove(&index);
        }
    }

    pub(super) fn decide_pending(&mut self, now: Instant) {
        for index in self.pending.clone() {
            let Some(device) = self.devices.get_mut(&index) else {
                continue;
            };
            if device.decide(now, self.settle) {
                self.version += 1;
            }
            self.observe_pending(index);
        }
    }
}
