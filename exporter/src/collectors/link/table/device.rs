//! What is known of one device. Pure.

use std::time::{Duration, Instant, SystemTime};

use super::{Change, Departure, Moment};
use crate::collectors::link::{
    message::{Admin, Link},
    sysfs::{Facts, is_physical},
    transitions::{PerTransition, Transition, between, works},
};

#[derive(Debug)]
pub(super) struct Device {
    /// No other device has or had it: the version of the table that it came with.
    pub(super) serial: u64,
    pub(super) link: Link,
    pub(super) facts: Option<Facts>,
    pub(super) speed: Option<u32>,
    pub(super) shown: bool,
    pub(super) transitions: PerTransition<u64>,
    pub(super) last: PerTransition<Option<SystemTime>>,
    /// Since when it cannot carry packets, if it ever could.
    down_since: Option<Instant>,
}

/// Whether a link is one that traffic of the whole machine may depend on: a port, or what several of
/// them are joined to. Others are made and removed all the time.
pub(super) fn is_port(link: &Link, facts: Option<&Facts>) -> bool {
    is_physical(link, facts) || link.kind == "bond" || link.kind == "team"
}

impl Device {
    pub(super) fn new(serial: u64, link: Link, facts: Option<Facts>, shown: bool) -> Self {
        Self {
            serial,
            link,
            facts,
            speed: None,
            shown,
            transitions: PerTransition::default(),
            last: PerTransition::default(),
            down_since: None,
        }
    }

    pub(super) fn is_shown_port(&self) -> bool {
        self.shown && is_port(&self.link, self.facts.as_ref())
    }

    /// Whether the kernel itself takes it down, if it says that this is the next state.
    pub(super) fn closes(&self, next: &Link) -> bool {
        (self.link.admin, next.admin) == (Admin::Up, Admin::Down)
    }

    /// Takes the next state of the same device, and says what happened if that is to be told. An
    /// admin down that is `undecided` is not counted.
    pub(super) fn change(&mut self, link: Link, undecided: bool, now: Moment) -> Option<Change> {
        let mut happened = between(&self.link, &link);
        if undecided {
            *happened.get_mut(Transition::AdminDown) = 0;
        }
        let worked = works(&self.link);
        self.link = link;
        let outage = self.note_outage(worked, now.monotonic);
        let change = self.count(happened, now.wall)?;
        Some(Change { outage, ..change })
    }

    /// Counts what happened, and tells it unless it is nothing.
    pub(super) fn count(&mut self, happened: PerTransition<u32>, at: SystemTime) -> Option<Change> {
        let mut any = false;
        for (transition, times) in happened.iter().filter(|&(_, times)| times > 0) {
            *self.transitions.get_mut(transition) += u64::from(times);
            *self.last.get_mut(transition) = Some(at);
            any = true;
        }
        (any && self.shown).then(|| self.tell(happened, None))
    }

    /// What is told of it where this has happened.
    pub(super) fn tell(&self, happened: PerTransition<u32>, left: Option<Departure>) -> Change {
        Change {
            link: self.link.clone(),
            facts: self.facts.clone(),
            speed: self.speed,
            happened,
            left,
            outage: None,
        }
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
