//! The thread that listens to the kernel and keeps the table.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::SyncSender,
    },
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::OwnedFd,
    io::Errno,
};

use super::{
    dump_sync::{DumpSync, Step},
    journal::Journal,
    message::{Carrier, LinkMessage},
    netlink::{LinkSocket, Received},
    sysfs::{Sysfs, is_physical},
    table::{Change, Event, Moment, Table},
};
use crate::devices::{Devices, IfIndex};

/// Datagrams that are read before the log is written. It is bounded so that an endless stream of
/// changes cannot keep the log silent.
const BATCH: usize = 256;

/// How long to wait before a new socket is tried after one could not be had.
const REOPEN_PAUSE: Duration = Duration::from_secs(1);

/// What the thread and the scrapes share.
#[derive(Debug)]
pub(super) struct Shared {
    table: Mutex<Table>,
    pub(super) overruns: AtomicU64,
    pub(super) resyncs: AtomicU64,
    /// Whether the table was ever complete.
    pub(super) complete: AtomicBool,
    /// Why the kernel cannot be heard now.
    trouble: Mutex<Option<String>>,
}

impl Shared {
    pub(super) fn new(table: Table) -> Self {
        Self {
            table: Mutex::new(table),
            overruns: AtomicU64::new(0),
            resyncs: AtomicU64::new(0),
            complete: AtomicBool::new(false),
            trouble: Mutex::new(None),
        }
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn trouble(&self) -> MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Everything that the thread owns.
pub(super) struct Monitor {
    pub(super) shared: Arc<Shared>,
    pub(super) devices: Arc<Devices>,
    pub(super) sysfs: Sysfs,
    pub(super) journal: Journal,
    /// Readable or closed when the thread is to end.
    pub(super) stop: OwnedFd,
    /// To be told when the table is complete for the first time.
    pub(super) complete: Option<SyncSender<()>>,
}

impl Drop for Monitor {
    /// Also when the thread panics: others then ask the kernel themselves.
    fn drop(&mut self) {
        self.devices.unfollow();
        *self.shared.trouble() = Some("the thread that follows links has ended".to_owned());
    }
}

impl Monitor {
    /// Follows links until it is told to stop.
    pub(super) fn run(mut self, mut socket: LinkSocket, port: u32) {
        let mut dump_sync = DumpSync::new(port, Instant::now());
        loop {
            let outcome = self.turn(&mut socket, &mut dump_sync);
            match outcome {
                Ok(Turn::Stop) => return,
                Ok(Turn::Again) => {}
                Err(e) => {
                    log::warn!("links cannot be followed for now: {e:#}");
                    *self.shared.trouble() = Some(format!("{e:#}"));
                    self.count_loss("the socket failed");
                    dump_sync.lost(Instant::now());
                    match self.reopen() {
                        Some((new, port)) => {
                            socket = new;
                            dump_sync.reconnect(port);
                        }
                        None => return,
                    }
                }
            }
        }
    }

    /// Asks if that is due, waits, reads what there is, and logs it.
    fn turn(&mut self, socket: &mut LinkSocket, dump_sync: &mut DumpSync) -> anyhow::Result<Turn> {
        let now = Instant::now();
        anyhow::ensure!(!dump_sync.is_stuck(now), "a dump of all links has no end");
        if let Some(seq) = dump_sync.request(now) {
            socket.request_dump(seq)?;
        }
        let deadlines = [dump_sync.deadline(), self.journal.deadline()];
        let deadline = deadlines.into_iter().flatten().min();
        if self.wait(socket, deadline)? == Turn::Stop {
            return Ok(Turn::Stop);
        }
        let mut changes = Vec::new();
        let mut speeds_wanted = BTreeSet::new();
        for _ in 0..BATCH {
            match socket.receive()? {
                Received::Nothing => {
                    dump_sync.drained();
                    break;
                }
                Received::Overrun(why) => {
                    self.count_loss(why);
                    dump_sync.lost(Instant::now());
                }
                Received::Datagram(datagram) => {
                    for step in dump_sync.datagram(datagram, Instant::now()) {
                        self.step(step, &mut changes, &mut speeds_wanted);
                    }
                }
            }
        }
        self.read_speeds(speeds_wanted, &mut changes);
        self.write_log(&changes);
        Ok(Turn::Again)
    }

    fn wait(&self, socket: &LinkSocket, deadline: Option<Instant>) -> anyhow::Result<Turn> {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        // A deadline is less than a minute away, which fits.
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        let mut fds = [
            PollFd::new(socket, PollFlags::IN),
            PollFd::new(&self.stop, PollFlags::IN),
        ];
        match poll(&mut fds, left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e).context("wait for notifications of links"),
        }
        let stopped = !fds[1].revents().is_empty();
        Ok(if stopped { Turn::Stop } else { Turn::Again })
    }

    fn step(
        &mut self,
        step: Step,
        changes: &mut Vec<LoggedChange>,
        speeds_wanted: &mut BTreeSet<IfIndex>,
    ) {
        match step {
            Step::DumpBegins => self.shared.table().begin_dump(),
            Step::Link(message) => {
                let events = self.apply(message, speeds_wanted);
                self.note(events, changes);
            }
            Step::DumpEnds { incomplete } => {
                let events = self.shared.table().end_dump(incomplete);
                self.note(events, changes);
                if !incomplete {
                    self.table_is_complete();
                }
            }
            Step::Lost(why) => self.count_loss(&why),
        }
    }

    /// Only this thread changes the table, so facts can be read before it is locked for good.
    fn apply(&mut self, message: LinkMessage, speeds_wanted: &mut BTreeSet<IfIndex>) -> Vec<Event> {
        let mut facts = None;
        if let LinkMessage::Present(link) = &message
            && self.shared.table().lacks_facts(link)
        {
            facts = self.sysfs.facts(link);
            if link.carrier == Carrier::On && is_physical(link, facts.as_ref()) {
                speeds_wanted.insert(link.index);
            }
        }
        let now = Moment {
            wall: SystemTime::now(),
            monotonic: Instant::now(),
        };
        self.shared.table().apply(message, facts, now)
    }

    fn note(&mut self, events: Vec<Event>, changes: &mut Vec<LoggedChange>) {
        for event in events {
            match event {
                Event::Named(index, name) => self.devices.set_name(index, name),
                Event::Gone(index) => {
                    self.devices.remove(index);
                    self.journal.forget(index);
                }
                Event::Changed(change) => changes.push(LoggedChange {
                    speed: change.speed,
                    change,
                    at: Instant::now(),
                }),
            }
        }
    }

    fn table_is_complete(&mut self) {
        self.devices.all_named();
        *self.shared.trouble() = None;
        if self.shared.complete.swap(true, Ordering::Relaxed) {
            self.shared.resyncs.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(complete) = self.complete.take() {
            // Nobody waits any more if the start took too long.
            complete.try_send(()).ok();
        }
    }

    fn count_loss(&self, why: &str) {
        log::debug!("lost notifications of links: {why}");
        self.shared.overruns.fetch_add(1, Ordering::Relaxed);
    }

    /// Reads the speed of physical links that got a carrier. It takes the RTNL lock, so it waits
    /// until the messages are read, and is done once for many flaps.
    fn read_speeds(&self, mut wanted: BTreeSet<IfIndex>, changes: &mut [LoggedChange]) {
        let came = changes.iter().filter(|logged| logged.got_carrier());
        wanted.extend(came.map(|logged| logged.change.link.index));
        for index in wanted {
            let Some(link) = self.shared.table().link(index) else {
                continue;
            };
            let speed = self.sysfs.speed(&link);
            self.shared.table().set_speed(index, speed);
            for logged in changes.iter_mut().filter(|t| t.change.link.index == index) {
                logged.speed = speed;
            }
        }
    }

    fn write_log(&mut self, changes: &[LoggedChange]) {
        for logged in changes {
            self.journal.write(&logged.change, logged.speed, logged.at);
        }
        self.journal.report_held_back(Instant::now());
    }

    /// A new socket, as soon as there can be one; none if the thread is to stop before.
    fn reopen(&self) -> Option<(LinkSocket, u32)> {
        loop {
            let mut stop = [PollFd::new(&self.stop, PollFlags::IN)];
            let pause = Timespec::try_from(REOPEN_PAUSE).ok();
            match poll(&mut stop, pause.as_ref()) {
                Ok(0) | Err(_) => {}
                Ok(_) => return None,
            }
            let opened =
                LinkSocket::open().and_then(|socket| socket.port().map(|port| (socket, port)));
            match opened {
                Ok(opened) => return Some(opened),
                Err(e) => *self.shared.trouble() = Some(format!("{e:#}")),
            }
        }
    }
}

#[derive(PartialEq, Eq)]
enum Turn {
    Again,
    Stop,
}

/// A change, and what is known when it is logged.
struct LoggedChange {
    change: Change,
    speed: Option<u32>,
    at: Instant,
}

impl LoggedChange {
    fn got_carrier(&self) -> bool {
        let link = &self.change.link;
        link.carrier == Carrier::On && is_physical(link, self.change.facts.as_ref())
    }
}
