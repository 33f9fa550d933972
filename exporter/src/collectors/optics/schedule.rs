//! When each module is read. Pure.
//!
//! Half a page takes a driver 10 to 100 ms, and it holds the RTNL lock meanwhile, which stops whoever
//! configures the network. So modules are read one at a time and in slices, and one whose driver is slow
//! is read less often.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::devices::IfIndex;

/// How often a module is read. It ages by the month, and its cable breaks by the minute.
const INTERVAL: Duration = Duration::from_secs(60);

/// How often it is looked whether there is a module in an empty port, or a driver that can read it.
const EMPTY_INTERVAL: Duration = Duration::from_secs(600);

/// A change of the carrier is followed by the module's own account of it. The link's state, which is what a
/// pager waits for, is read at once and after a second.
const AFTER_EVENT: Duration = Duration::from_secs(2);

/// A module takes at most one part in so many of the time, also when its carrier flaps.
const SHARE: u32 = 20;

/// The readings to come.
#[derive(Debug, Default)]
pub struct Schedule {
    ports: HashMap<IfIndex, Plan>,
}

#[derive(Clone, Copy, Debug)]
struct Plan {
    due: Instant,
    /// Whatever happens, it is not read before.
    rests_until: Instant,
}

/// What a reading found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A module, or a driver that fails to read it.
    Module,
    /// An empty cage, or a driver that reads no modules.
    Nothing,
}

impl Schedule {
    /// These are the ports that there are. New ones are due at once.
    pub fn set_ports(&mut self, ports: &[IfIndex], now: Instant) {
        self.ports.retain(|port, _| ports.contains(port));
        for &port in ports {
            self.ports.entry(port).or_insert(Plan {
                due: now,
                rests_until: now,
            });
        }
    }

    /// A port lost its carrier, or got it back, perhaps with another module.
    pub fn carrier_changed(&mut self, port: IfIndex, now: Instant) {
        if let Some(plan) = self.ports.get_mut(&port) {
            let soon = (now + AFTER_EVENT).max(plan.rests_until);
            plan.due = plan.due.min(soon);
        }
    }

    /// What to read now.
    pub fn due(&self, now: Instant) -> Option<IfIndex> {
        let (at, port) = self.earliest()?;
        (at <= now).then_some(port)
    }

    /// When there is something to read.
    pub fn deadline(&self) -> Option<Instant> {
        self.earliest().map(|(at, _)| at)
    }

    /// A port was read. Its driver took so long in all, without the rests.
    pub fn done(&mut self, port: IfIndex, found: Found, took: Duration, now: Instant) {
        let interval = match found {
            Found::Module => INTERVAL,
            Found::Nothing => EMPTY_INTERVAL,
        };
        if let Some(plan) = self.ports.get_mut(&port) {
            plan.rests_until = now + took * (SHARE - 1);
            plan.due = plan.rests_until.max(now + interval);
        }
    }

    fn earliest(&self) -> Option<(Instant, IfIndex)> {
        let due = self.ports.iter().map(|(&port, plan)| (plan.due, port));
        due.min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: IfIndex = IfIndex(2);
    const OTHER: IfIndex = IfIndex(3);

    #[test]
    fn a_module_is_read_every_minute_and_after_a_loss() {
        let start = Instant::now();
        let mut schedule = Schedule::default();
        schedule.set_ports(&[PORT], start);
        assert_eq!(schedule.due(start), Some(PORT));
        let took = Duration::from_millis(300);
        schedule.done(PORT, Found::Module, took, start);
        assert_eq!(schedule.due(start), None);
        assert_eq!(schedule.deadline(), Some(start + INTERVAL));

        let later = start + Duration::from_secs(30);
        schedule.carrier_changed(PORT, later);
        assert_eq!(schedule.deadline(), Some(later + AFTER_EVENT));
        schedule.carrier_changed(PORT, later + AFTER_EVENT / 2);
        assert_eq!(
            schedule.deadline(),
            Some(later + AFTER_EVENT),
            "flaps do not put it off"
        );
        let now = later + AFTER_EVENT;
        schedule.done(PORT, Found::Module, took, now);
        assert_eq!(schedule.deadline(), Some(now + INTERVAL));
        schedule.carrier_changed(PORT, now);
        assert_eq!(
            schedule.deadline(),
            Some(now + took * 19),
            "nor do they take the module more than its share"
        );

        schedule.set_ports(&[], start);
        schedule.carrier_changed(PORT, start);
        assert_eq!(schedule.deadline(), None);
    }

    #[test]
    fn a_slow_driver_and_an_empty_cage_are_asked_less_often() {
        let now = Instant::now();
        let mut schedule = Schedule::default();
        schedule.set_ports(&[PORT, OTHER], now);
        schedule.done(PORT, Found::Module, Duration::from_secs(10), now);
        schedule.done(OTHER, Found::Nothing, Duration::ZERO, now);
        assert_eq!(schedule.ports[&PORT].due, now + Duration::from_secs(190));
        assert_eq!(schedule.ports[&OTHER].due, now + EMPTY_INTERVAL);
        schedule.carrier_changed(OTHER, now);
        assert_eq!(schedule.ports[&OTHER].due, now + AFTER_EVENT);
    }
}
