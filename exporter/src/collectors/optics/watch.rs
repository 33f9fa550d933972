//! The thread that reads the modules, and what it shares with scrapes and with the collector `link`.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    fd::{AsFd, OwnedFd},
    io::{Errno, retry_on_intr},
};

use super::{
    helper::{End, Helper},
    module::HalfPage,
    reading::{self, Outcome, Read, SliceError, Slices},
    schedule::{Found, Schedule},
    table::{Cause, Table},
};
use crate::{
    collectors::{FollowedLinks, ModuleWatch},
    devices::IfIndex,
};

/// After each half page nobody reads for as long as it took, but at least so long: whoever waits for the
/// RTNL lock gets it.
const LEAST_REST: Duration = Duration::from_millis(20);

/// What the thread, the scrapes and the collector `link` share.
#[derive(Debug)]
pub(super) struct Shared {
    table: Mutex<Table>,
    schedule: Mutex<Schedule>,
    links_changed: AtomicBool,
    stop: AtomicBool,
    /// How the helper ended.
    ended: Mutex<Option<End>>,
    /// Something is new.
    news: OwnedFd,
}

impl Shared {
    /// # Errors
    ///
    /// No descriptor is left.
    pub(super) fn new() -> Result<Self, Errno> {
        Ok(Self {
            table: Mutex::default(),
            schedule: Mutex::default(),
            links_changed: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            ended: Mutex::default(),
            news: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn ended(&self) -> Option<End> {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the thread end, as soon as the driver that it waits for lets it.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.tell();
    }

    fn tell(&self) {
        // AGAIN: it was told before.
        rustix::io::write(&self.news, &1_u64.to_ne_bytes()).ok();
    }
}

impl ModuleWatch for Shared {
    fn links_changed(&self) {
        self.links_changed.store(true, Ordering::Relaxed);
        self.tell();
    }

    fn carrier_changed(&self, link: IfIndex) {
        self.schedule().carrier_changed(link, Instant::now());
        self.tell();
    }
}

/// Everything that the thread owns.
pub(super) struct Watch {
    shared: Arc<Shared>,
    helper: Helper,
    links: Arc<dyn FollowedLinks>,
    /// What the log was last told of a port that cannot be read, or not wholly.
    troubled: HashMap<IfIndex, Cause>,
}

/// What to do next.
enum Task {
    Stop,
    LookAtHelper,
    List,
    Read(IfIndex),
}

impl Watch {
    pub(super) fn new(shared: Arc<Shared>, helper: Helper, links: Arc<dyn FollowedLinks>) -> Self {
        Self {
            shared,
            helper,
            links,
            troubled: HashMap::new(),
        }
    }

    /// Reads modules until it is told to stop, or the helper is gone.
    pub(super) fn run(mut self) {
        self.list();
        loop {
            let end = match self.wait() {
                Task::Stop => return,
                Task::LookAtHelper => self.helper.look(),
                Task::List => {
                    self.list();
                    None
                }
                Task::Read(port) => self.read(port),
            };
            if let Some(end) = end {
                return self.helper_ended(end);
            }
        }
    }

    fn wait(&self) -> Task {
        loop {
            if self.shared.stop.load(Ordering::Relaxed) {
                return Task::Stop;
            }
            if self.shared.links_changed.swap(false, Ordering::Relaxed) {
                return Task::List;
            }
            let now = Instant::now();
            let schedule = self.shared.schedule();
            if let Some(port) = schedule.due(now) {
                return Task::Read(port);
            }
            let deadline = schedule.deadline();
            drop(schedule);
            // Without a port it waits for links.
            let left = deadline.map(|at| at.saturating_duration_since(now));
            if self.sleep(left) {
                return Task::LookAtHelper;
            }
        }
    }

    /// Waits for news. Returns whether the helper has some.
    fn sleep(&self, patience: Option<Duration>) -> bool {
        let mut fds = [
            PollFd::new(&self.shared.news, PollFlags::IN),
            PollFd::from_borrowed_fd(self.helper.as_fd(), PollFlags::IN),
        ];
        let patience = patience.and_then(|it| Timespec::try_from(it).ok());
        let ready = retry_on_intr(|| poll(&mut fds, patience.as_ref()));
        // It is read whether or not it is new.
        rustix::io::read(&self.shared.news, &mut [0; 8]).ok();
        ready.is_ok() && !fds[1].revents().is_empty()
    }

    fn list(&mut self) {
        let mut links = self.links.list();
        links.retain(|link| link.physical);
        let ports: Vec<_> = links.iter().map(|link| link.index).collect();
        self.troubled.retain(|port, _| ports.contains(port));
        self.shared.table().set_links(&links);
        self.shared.schedule().set_ports(&ports, Instant::now());
    }

    fn read(&mut self, index: IfIndex) -> Option<End> {
        let known = self.shared.table().get(index).cloned()?;
        let mut slices = Slice {
            helper: &mut self.helper,
            shared: &self.shared,
            port: index,
            took: Duration::ZERO,
        };
        let outcome = reading::read(&mut slices, &known, Instant::now());
        let took = slices.took;
        let mut found = Found::Module;
        match outcome {
            Outcome::Stopped => return None,
            Outcome::Ended(end) => return Some(end),
            Outcome::Empty => {
                found = Found::Nothing;
                self.shared.table().update(index, |port| port.empty());
                self.troubled.remove(&index);
            }
            Outcome::Failed(cause, why) => {
                self.shared.table().update(index, |port| port.failed(cause));
                self.trouble(index, Some((cause, why)));
            }
            Outcome::Read(read) => self.was_read(index, *read),
        }
        let now = Instant::now();
        self.shared.schedule().done(index, found, took, now);
        None
    }

    fn was_read(&mut self, index: IfIndex, read: Read) {
        let now = Instant::now();
        let trouble = read.troubles.first().cloned();
        self.shared.table().update(index, |port| {
            for (cause, _) in &read.troubles {
                port.count(*cause);
            }
            if read.is_whole {
                port.static_at = Some(now);
            }
            port.read(read.module, read.pages, SystemTime::now(), now);
        });
        self.trouble(index, trouble);
    }

    /// Tells the log what is wrong with a module, once.
    fn trouble(&mut self, index: IfIndex, trouble: Option<(Cause, String)>) {
        let table = self.shared.table();
        let Some(port) = table.get(index) else {
            return;
        };
        let (name, driver) = (port.name.clone(), port.driver.clone());
        drop(table);
        match trouble {
            Some((cause, why)) => {
                if self.troubled.insert(index, cause) != Some(cause) {
                    log::warn!(
                        "{name}: cannot read all of its transceiver module, so what that tells is absent: {why} \
                         (driver {driver})"
                    );
                }
            }
            None => {
                if self.troubled.remove(&index).is_some() {
                    log::info!(
                        "{name}: its transceiver module can be read again (driver {driver})"
                    );
                }
            }
        }
    }

    fn helper_ended(&self, end: End) {
        *self
            .shared
            .ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(end);
        self.shared.table().clear();
        log::error!(
            "no transceiver module is read any more, because the helper ended ({end}): restart the service"
        );
    }
}

/// Reads halves of pages through the helper.
struct Slice<'a> {
    helper: &'a mut Helper,
    shared: &'a Shared,
    port: IfIndex,
    /// How long drivers took in all.
    took: Duration,
}

impl Slices for Slice<'_> {
    fn read(&mut self, half: HalfPage) -> Result<Vec<u8>, SliceError> {
        let began = Instant::now();
        let read = self.helper.read(self.port, half);
        let took = began.elapsed();
        self.took += took;
        let until = Instant::now() + took.max(LEAST_REST);
        loop {
            if self.shared.stop.load(Ordering::Relaxed) {
                return Err(SliceError::Stopped);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return read.map_err(SliceError::Read);
            }
            // Not for what is new, but for a stop.
            std::thread::sleep(left.min(LEAST_REST));
        }
    }
}
