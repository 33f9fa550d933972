//! What the thread that follows links and the scrapes share.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64},
    },
    time::{Duration, Instant},
};

use rustix::{fd::OwnedFd, io::Errno};

use super::{losses::Losses, table::Table};
use crate::devices::IfIndex;

/// The shortest time between two warnings, for a socket that fails again and again.
const WARNING_PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Shared {
    table: Mutex<Table>,
    pub(super) losses: Losses,
    pub(super) resyncs: AtomicU64,
    /// Whether the table was ever complete.
    pub(super) complete: AtomicBool,
    health: Mutex<Health>,
    /// The ports whose drivers have answered, and what wakes the thread that follows links to hear it.
    answered: Mutex<BTreeSet<IfIndex>>,
    pub(super) answers: OwnedFd,
}

/// Whether the table is what the kernel says.
#[derive(Debug, Default)]
struct Health {
    outage: Option<Outage>,
    warned: Option<Instant>,
}

/// The table is old: the kernel cannot be heard, or has not said what was missed.
#[derive(Debug)]
struct Outage {
    why: String,
    since: Instant,
    /// Whether there was a warning, so that its end is told, too.
    is_in_log: bool,
}

impl Shared {
    /// `answers` is an eventfd that does not block.
    pub(super) fn new(table: Table, answers: OwnedFd) -> Self {
        Self {
            table: Mutex::new(table),
            losses: Losses::default(),
            resyncs: AtomicU64::new(0),
            complete: AtomicBool::new(false),
            health: Mutex::default(),
            answered: Mutex::default(),
            answers,
        }
    }

    /// The driver of this port has answered.
    pub(super) fn answered(&self, port: IfIndex) {
        self.answered_ports().insert(port);
        wake(&self.answers);
    }

    /// The ports whose drivers have answered since this was asked last.
    pub(super) fn take_answered(&self) -> BTreeSet<IfIndex> {
        // What is inserted after this wakes again.
        rustix::io::read(&self.answers, &mut [0; 8]).ok();
        std::mem::take(&mut *self.answered_ports())
    }

    fn answered_ports(&self) -> MutexGuard<'_, BTreeSet<IfIndex>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the table is old, if it is.
    pub(super) fn outage(&self) -> Option<String> {
        Some(self.health().outage.as_ref()?.why.clone())
    }

    /// The table is old from now on, or still; with a warning when that begins.
    pub(super) fn outage_begins(&self, why: String, now: Instant) {
        let warn = self.health().outage_begins(&why, now);
        let level = if warn {
            log::Level::Warn
        } else {
            log::Level::Debug
        };
        log::log!(level, "links cannot be followed for now: {why}");
    }

    /// As [`Shared::outage_begins`], without a line in the log.
    pub(super) fn end(&self, why: String, now: Instant) {
        self.health().outage_begins(&why, now);
    }

    /// The table is what the kernel says.
    pub(super) fn outage_ends(&self, now: Instant) {
        let Some(outage) = self.health().outage.take() else {
            return;
        };
        if outage.is_in_log {
            let seconds = now.saturating_duration_since(outage.since).as_secs_f64();
            log::info!("links are followed again, after {seconds:.1} s");
        }
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes an eventfd that does not block readable.
pub(super) fn wake(eventfd: &OwnedFd) {
    match rustix::io::write(eventfd, &1_u64.to_ne_bytes()) {
        // AGAIN: it is readable.
        Ok(_) | Err(Errno::AGAIN) => {}
        Err(e) => log::debug!("cannot wake the thread that follows links: {e}"),
    }
}

impl Health {
    /// Says whether it is time for a warning.
    fn outage_begins(&mut self, why: &str, now: Instant) -> bool {
        if let Some(outage) = &mut self.outage {
            why.clone_into(&mut outage.why);
            return false;
        }
        let recently = |at| now.saturating_duration_since(at) < WARNING_PAUSE;
        let warn = !self.warned.is_some_and(recently);
        if warn {
            self.warned = Some(now);
        }
        self.outage = Some(Outage {
            why: why.to_owned(),
            since: now,
            is_in_log: warn,
        });
        warn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_one_warning_and_many_are_one_a_minute() {
        let start = Instant::now();
        let mut health = Health::default();
        assert!(health.outage_begins("EIO", start));
        for second in 1..100 {
            let now = start + Duration::from_secs(second);
            assert!(!health.outage_begins("EIO again", now));
        }
        let outage = health.outage.take().unwrap();
        assert_eq!((outage.why.as_str(), outage.since), ("EIO again", start));
        assert!(outage.is_in_log);

        assert!(!health.outage_begins("EIO", start + WARNING_PAUSE / 2));
        assert!(!health.outage.take().unwrap().is_in_log);
        assert!(health.outage_begins("EIO", start + WARNING_PAUSE));
    }
}
