//! How often the device of each name was removed. Pure.
//!
//! A device ends with its removal, so this belongs to its name: it is served for a while after the
//! device has gone, and goes on if one comes back under the name.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

use super::Moment;
use crate::kernel::name::Name;

/// How long a removal is served after the device has gone: many scrapes, and longer than the alerts
/// look back.
pub(super) const KEPT: Duration = Duration::from_secs(3600);

/// Names of devices that have gone, at most, which take some 100 KiB. A card with all its virtual
/// functions has up to 256.
const MAX_GONE: usize = 1024;

/// What is served of a device that has gone.
#[derive(Clone, Debug, PartialEq)]
pub struct Removed {
    /// What it was called.
    pub name: Name,
    /// How often a device of this name was removed.
    pub times: u64,
    /// When that was last.
    pub last: SystemTime,
}

/// Of all names of which a device was ever removed, and not too long ago.
#[derive(Debug, Default)]
pub(super) struct Removals(BTreeMap<Name, Removal>);

#[derive(Debug)]
struct Removal {
    times: u64,
    last: SystemTime,
    /// Since when no device has the name; `None` while one has.
    gone: Option<Instant>,
}

impl Removals {
    /// The device of this name was removed.
    pub(super) fn count(&mut self, name: &Name, now: Moment) {
        let removal = self.0.entry(name.clone()).or_insert(Removal {
            times: 0,
            last: now.wall,
            gone: None,
        });
        removal.times += 1;
        removal.last = now.wall;
        removal.gone = Some(now.monotonic);
        self.bound();
    }

    /// Whether a device has this name now.
    pub(super) fn observe(&mut self, name: &Name, is_there: bool, now: Instant) {
        let Some(removal) = self.0.get_mut(name) else {
            return;
        };
        if is_there {
            removal.gone = None;
        } else if removal.gone.is_none() {
            removal.gone = Some(now);
            self.bound();
        }
    }

    /// How often a device of this name was removed, and when last.
    pub(super) fn get(&self, name: &Name) -> (u64, Option<SystemTime>) {
        let removal = self.0.get(name);
        removal.map_or((0, None), |removal| (removal.times, Some(removal.last)))
    }

    /// Those of names that no device has.
    pub(super) fn gone(&self) -> impl Iterator<Item = Removed> + '_ {
        let gone = self.0.iter().filter(|(_, removal)| removal.gone.is_some());
        gone.map(|(name, removal)| Removed {
            name: name.clone(),
            times: removal.times,
            last: removal.last,
        })
    }

    /// When [`Removals::expire`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let gone = self.0.values().filter_map(|removal| removal.gone);
        Some(gone.min()? + KEPT)
    }

    /// Forgets what is old, and returns whether there was such.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let before = self.0.len();
        let is_old = |since| now.saturating_duration_since(since) >= KEPT;
        self.0
            .retain(|_, removal| !removal.gone.is_some_and(is_old));
        self.0.len() < before
    }

    /// Forgets what has gone first where there is too much of it.
    fn bound(&mut self) {
        let gone = self.0.iter();
        let gone = gone.filter_map(|(name, removal)| Some((removal.gone?, name)));
        if gone.clone().count() > MAX_GONE
            && let Some((_, name)) = gone.min()
        {
            let name = name.clone();
            self.0.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, seconds: u64) -> Moment {
        Moment {
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
            monotonic: start + Duration::from_secs(seconds),
        }
    }

    #[test]
    fn a_removal_is_kept_for_an_hour_and_longer_while_a_device_has_the_name() {
        let start = Instant::now();
        let (eth0, eth1) = ("eth0".into(), "eth1".into());
        let mut removals = Removals::default();
        removals.count(&eth0, at(start, 10));
        removals.count(&eth1, at(start, 20));
        removals.observe(&eth1, true, start);
        let removed = Removed {
            name: "eth0".into(),
            times: 1,
            last: at(start, 10).wall,
        };
        assert_eq!(removals.gone().collect::<Vec<_>>(), [removed]);
        let hour_later = at(start, 10 + 3600).monotonic;
        assert_eq!(removals.deadline(), Some(hour_later));
        assert!(!removals.expire(hour_later - Duration::from_secs(1)));
        assert!(removals.expire(hour_later));
        assert_eq!(removals.get(&eth0), (0, None));

        removals.count(&eth1, at(start, 9000));
        assert_eq!(removals.get(&eth1), (2, Some(at(start, 9000).wall)));
        assert_eq!(removals.deadline(), Some(at(start, 12600).monotonic));
    }

    #[test]
    fn no_more_names_are_kept_than_the_bound_and_the_youngest_of_them() {
        let start = Instant::now();
        let mut removals = Removals::default();
        let name = |n: u64| Name::from(format!("eth{n}").as_str());
        removals.count(&name(0), at(start, 0));
        removals.observe(&name(0), true, start);
        let extra = MAX_GONE as u64 + 10;
        for n in 1..=extra {
            removals.count(&name(n), at(start, n));
        }
        assert_eq!(removals.gone().count(), MAX_GONE);
        assert_eq!(removals.get(&name(10)), (0, None));
        assert_eq!(removals.get(&name(11)).0, 1);
        assert_eq!(removals.get(&name(0)).0, 1, "its device is there");
    }
}
