//! The thread that reads the ports, and what it shares with scrapes and with the collector `link`.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use rustix::io::Errno;

use super::{
    complaints::Complaints,
    counters::Readings,
    reader::{Reader, Reply},
    schedule::{Schedule, Scope},
    table::{Port, Table},
    tx_timeouts,
};
use crate::{
    collectors::{Answer, FollowedLink, FollowedLinks, PortWatch},
    devices::IfIndex,
    kernel::netlink::{
        ethtool::{Get, down_reason::DownReason, link_state::LinkState},
        socket::AskError,
    },
};

/// How long what a driver says of itself counts as true: a module can be exchanged, and firmware can
/// be loaded into a running card.
const FACTS_LAST: Duration = Duration::from_secs(600);

/// What the thread, the scrapes and the collector `link` share.
#[derive(Default)]
pub(super) struct Shared {
    table: Mutex<Table>,
    plan: Mutex<Plan>,
    /// Something about the plan is new.
    news: Condvar,
    ended: AtomicBool,
}

/// What the thread is to do.
#[derive(Default)]
struct Plan {
    schedule: Schedule,
    links_changed: bool,
    stop: bool,
}

impl Shared {
    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, port: IfIndex, change: impl FnOnce(&mut Port)) -> bool {
        self.table().update(port, change)
    }

    /// Whether the thread is no more, and what it has read is old.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// There is no thread, or none any more: nobody is to wait for an answer.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    fn answer<T>(&self, port: IfIndex, of: impl FnOnce(&Port) -> Answer<T>) -> Answer<T> {
        if self.has_ended() {
            return Answer::Unknown;
        }
        self.table().get(port).map_or(Answer::Awaited, of)
    }

    /// Has the thread end, as soon as the driver that it waits for lets it.
    pub(super) fn stop(&self) {
        self.plan().stop = true;
        self.news.notify_all();
    }
}

impl PortWatch for Shared {
    fn links_changed(&self) {
        self.plan().links_changed = true;
        self.news.notify_all();
    }

    fn carrier_changed(&self, link: IfIndex) {
        self.update(link, Port::carrier_changed);
        self.plan().schedule.carrier_changed(link, Instant::now());
        self.news.notify_all();
    }

    fn speed(&self, port: IfIndex) -> Answer<u32> {
        self.answer(port, Port::speed)
    }

    fn down_reason(&self, port: IfIndex) -> Answer<DownReason> {
        self.answer(port, Port::down_reason)
    }
}

/// Everything that the thread owns.
pub(super) struct Watch {
    shared: Arc<Shared>,
    reader: Reader,
    links: Arc<dyn FollowedLinks>,
    /// How long the questions of the reading that goes on took so far.
    spent: Duration,
    complaints: Complaints,
}

impl Drop for Watch {
    /// Also when the thread panics.
    fn drop(&mut self) {
        self.shared.end();
    }
}

/// What to do next.
enum Task {
    Stop,
    List,
    Read(IfIndex, Scope),
}

/// The device is not there, or not ready to be asked: the rest of the reading is not worth a try.
struct Away;

impl Watch {
    pub(super) fn new(shared: Arc<Shared>, reader: Reader, links: Arc<dyn FollowedLinks>) -> Self {
        Self {
            shared,
            reader,
            links,
            spent: Duration::ZERO,
            complaints: Complaints::default(),
        }
    }

    /// Reads ports until it is told to stop.
    pub(super) fn run(mut self) {
        self.list();
        loop {
            match self.wait() {
                Task::Stop => return,
                Task::List => self.list(),
                Task::Read(port, scope) => self.read(port, scope),
            }
        }
    }

    fn wait(&self) -> Task {
        let mut plan = self.shared.plan();
        loop {
            let now = Instant::now();
            if plan.stop {
                return Task::Stop;
            }
            if std::mem::take(&mut plan.links_changed) {
                return Task::List;
            }
            if let Some((port, scope)) = plan.schedule.due(now) {
                return Task::Read(port, scope);
            }
            let deadline = plan.schedule.deadline();
            let left = deadline.map(|at| at.saturating_duration_since(now));
            // Without a port it waits for links.
            let left = left.unwrap_or(Duration::MAX);
            let waited = self.shared.news.wait_timeout(plan, left);
            plan = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn list(&mut self) {
        let links = self.links.list();
        let mut table = self.shared.table();
        let new = table.set_links(links);
        let ports = table.indexes();
        drop(table);
        self.complaints.set_ports(&ports);
        let mut plan = self.shared.plan();
        plan.schedule.set_ports(&ports, &new, Instant::now());
    }

    fn read(&mut self, index: IfIndex, scope: Scope) {
        let Some(port) = self.shared.table().get(index).cloned() else {
            return;
        };
        let before = std::mem::take(&mut self.spent);
        let read = match scope {
            Scope::State => self.read_state(&port).map(|_| ()),
            Scope::All => self.read_all(&port),
        };
        if let Err(Away) = read {
            self.update(index, Port::forget);
        }
        let spent = std::mem::replace(&mut self.spent, before);
        let mut plan = self.shared.plan();
        let slowed = plan.schedule.done(index, scope, spent, Instant::now());
        drop(plan);
        if let Some(pause) = slowed {
            log::warn!(
                "{}: takes {:.1} s to be read, so it is read every {:.0} s (driver {})",
                port.link.name,
                spent.as_secs_f64(),
                (pause + spent).as_secs_f64(),
                port.link.driver,
            );
        }
    }

    /// What comes is served at once: a pager may wait for it.
    fn read_state(&mut self, port: &Port) -> Result<Option<LinkState>, Away> {
        if port.is_port != Some(true) {
            return Ok(None);
        }
        let index = port.link.index;
        let changes = self.carrier_changes(index);
        let state = self.ask(&port.link, Get::LinkState.name(), |it| it.link_state(index))?;
        self.update(index, |port| port.take_state(state, changes));
        let changes = self.carrier_changes(index);
        let modes = self.ask(&port.link, Get::LinkModes.name(), |it| it.link_modes(index))?;
        self.update(index, |port| port.take_modes(modes, changes));
        Ok(state)
    }

    fn carrier_changes(&self, port: IfIndex) -> u64 {
        let table = self.shared.table();
        table.get(port).map_or(0, Port::carrier_changes)
    }

    /// Changes what is known of a port, and tells the collector `link` if that is an answer to it.
    fn update(&self, port: IfIndex, change: impl FnOnce(&mut Port)) {
        if self.shared.update(port, change) {
            self.links.driver_answered(port);
        }
    }

    fn read_all(&mut self, port: &Port) -> Result<(), Away> {
        let (link, index) = (&port.link, port.link.index);
        if link.is_bond || link.bond.is_some() {
            let bonding = self.ask(link, "state of the bond", |it| it.bonding(index))?;
            let bonding = bonding.unwrap_or_default();
            self.update(index, |port| port.bonding = bonding);
        }
        let failures = self.failures(index);
        let groups = match port.is_port {
            Some(false) => return Ok(()),
            _ => self.ask(link, Get::Groups.name(), |it| it.groups(index))?,
        };
        let is_port = port.is_port == Some(true) || groups.is_some_and(|it| it.iter().count() > 0);
        self.update(index, |port| port.is_port = Some(is_port));
        if !is_port {
            return Ok(());
        }
        self.read_urgent_states();
        let mut readings = Readings {
            groups,
            link_state: self.read_state(port)?,
            ..Readings::default()
        };
        self.read_urgent_states();
        readings.fec = self.ask(link, Get::Fec.name(), |it| it.fec(index))?;
        self.read_urgent_states();
        readings.pause = self.ask(link, Get::Pause.name(), |it| it.pause(index))?;
        self.read_urgent_states();
        readings.qstats = self.ask(link, "queue statistics", |it| it.qstats(index))?;
        readings.stats64 = self.ask(link, "statistics", |it| it.stats64(index))?;
        let directory = self.links.sysfs_directory(index);
        readings.tx_timeouts = directory
            .and_then(|it| tx_timeouts::read(&it))
            .unwrap_or_default();
        let now = SystemTime::now();
        self.update(index, |port| port.count(&readings, now));
        self.read_urgent_states();
        self.read_facts(port, now)?;
        if self.failures(index) == failures && self.complaints.works(index) {
            log::info!(
                "{}: it can be read again (driver {})",
                link.name,
                link.driver
            );
        }
        Ok(())
    }

    fn read_facts(&mut self, port: &Port, now: SystemTime) -> Result<(), Away> {
        let is_fresh = |at| now.duration_since(at).is_ok_and(|age| age < FACTS_LAST);
        if port.facts_at.is_some_and(is_fresh) {
            return Ok(());
        }
        let facts = self.ask(&port.link, "driver information", |it| it.facts(&port.link))?;
        self.update(port.link.index, |port| {
            port.facts = facts;
            port.facts_at = Some(now);
        });
        Ok(())
    }

    fn failures(&self, port: IfIndex) -> u64 {
        self.shared
            .table()
            .get(port)
            .map_or(0, |port| port.failures)
    }

    /// What a pager waits for does not wait for the rest of a slow driver's reading.
    fn read_urgent_states(&mut self) {
        loop {
            let plan = self.shared.plan();
            let due = plan.schedule.due(Instant::now());
            drop(plan);
            match due {
                Some((port, Scope::State)) => self.read(port, Scope::State),
                _ => return,
            }
        }
    }

    /// Asks one question. An error of the driver is counted, logged if that is news, and leaves nothing.
    fn ask<T>(
        &mut self,
        link: &FollowedLink,
        what: &str,
        question: impl FnOnce(&mut Reader) -> Reply<T>,
    ) -> Result<Option<T>, Away> {
        let began = Instant::now();
        let answer = question(&mut self.reader);
        self.spent += began.elapsed();
        let error = match answer {
            Ok(answer) => return Ok(Some(answer)),
            Err(error) => error,
        };
        self.update(link.index, |port| port.failures += 1);
        let is_away = matches!(error, AskError::Refused(Errno::NODEV));
        let warn = match is_away {
            true => self.complaints.is_away(link.index, began),
            false => self.complaints.failed(link.index, began),
        };
        if warn {
            log::warn!(
                "{}: cannot read its {what}, so what that tells is absent: {error} (driver {})",
                link.name,
                link.driver,
            );
        }
        if is_away { Err(Away) } else { Ok(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_a_thread_that_has_ended() {
        let shared = Shared::default();
        assert_eq!(shared.speed(IfIndex(2)), Answer::Awaited);
        shared.end();
        assert_eq!(shared.speed(IfIndex(2)), Answer::Unknown);
        assert_eq!(shared.down_reason(IfIndex(2)), Answer::Unknown);
    }
}
