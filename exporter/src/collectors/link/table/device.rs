//! What is known of one device. Pure.

use std::time::{Duration, Instant, SystemTime};

use super::{Change, Departure, Moment, carrier::CarrierHistory, topology::FormerMaster};
use crate::collectors::link::{
    message::{Admin, Link},
    sysfs::{Facts, is_physical},
    transitions::{PerTransition, Transition, between, works},
    watch::is_aggregate,
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
    pub(super) carrier: CarrierHistory,
    /// Whether it ever said that it stands for a function of its card.
    pub(super) representor: bool,
    pub(super) former_master: Option<FormerMaster>,
}

/// Whether a link is one that traffic of the whole machine may depend on: a port, or what several of
/// them are joined to. Others are made and removed all the time.
pub(super) fn is_port(link: &Link, facts: Option<&Facts>) -> bool {
    is_physical(link, facts) || is_aggregate(link)
}

impl Device {
    pub(super) fn new(
        serial: u64,
        link: Link,
        facts: Option<Facts>,
        shown: bool,
        now: Instant,
        settle: Duration,
    ) -> Self {
        Self {
            serial,
            carrier: CarrierHistory::new(&link, now, settle),
            representor: link.is_representor,
            former_master: None,
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
    pub(super) fn change(
        &mut self,
        link: Link,
        undecided: bool,
        now: Moment,
        settle: Duration,
    ) -> Option<Change> {
        let mut happened = between(&self.link, &link);
        self.carrier.change(&link, happened, now.monotonic, settle);
        self.representor |= link.is_representor;
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

    /// When [`Device::decide`] has something to do.
    pub(super) fn deadline(&self, settle: Duration) -> Option<Instant> {
        let former = self.former_master.as_ref();
        let alone = former.and_then(|former| former.deadline(settle));
        [self.carrier.deadline(), alone].into_iter().flatten().min()
    }

    /// Decides what could not be decided at once, and returns whether that changed something.
    pub(super) fn decide(&mut self, now: Instant, settle: Duration) -> bool {
        let former = self.former_master.as_ref();
        let alone = former.and_then(|former| former.deadline(settle));
        let is_alone = alone.is_some_and(|at| now >= at);
        if is_alone {
            self.former_master = None;
        }
        self.carrier.decide(now) || is_alone
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
