//! The thread that listens to the kernel and keeps the table.

use std::{
    sync::{Arc, atomic::Ordering, mpsc::SyncSender},
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
    journal::{self, Journal},
    losses::Loss,
    message::LinkMessage,
    netlink::{LinkSocket, Received},
    shared::Shared,
    sysfs::Sysfs,
    table::{Change, Event, Moment},
};
use crate::{
    collectors::{ModuleWatch, PortWatch},
    devices::{Devices, IfIndex},
    error::one_line,
};

/// Datagrams that are read before the log is written. It is bounded so that an endless stream of
/// changes cannot keep the log silent.
const BATCH: usize = 256;

/// How long to wait before a new socket is tried after one could not be had.
const REOPEN_PAUSE: Duration = Duration::from_secs(1);

/// Everything that the thread owns.
pub(super) struct Monitor {
    pub(super) shared: Arc<Shared>,
    pub(super) devices: Arc<Devices>,
    pub(super) sysfs: Sysfs,
    pub(super) journal: Journal,
    pub(super) port_watch: Arc<dyn PortWatch>,
    pub(super) module_watch: Option<Arc<dyn ModuleWatch>>,
    /// Readable or closed when the thread is to end.
    pub(super) stop: OwnedFd,
    /// To be told when the table is complete for the first time.
    pub(super) complete: Option<SyncSender<()>>,
}

impl Drop for Monitor {
    /// Also when the thread panics: others then ask the kernel themselves.
    fn drop(&mut self) {
        self.devices.unfollow();
        let why = "the thread that follows links has ended".to_owned();
        self.shared.end(why, Instant::now());
    }
}

impl Monitor {
    /// Follows links until it is told to stop.
    pub(super) fn run(mut self, mut socket: LinkSocket, port: u32) {
        let mut dump_sync = DumpSync::new(port, Instant::now());
        loop {
            let outcome = self.turn(&mut socket, &mut dump_sync);
            match outcome {
                Ok(Turn::Stop) => return journal::log(self.journal.flush(Instant::now())),
                Ok(Turn::Again) => {}
                Err(e) => {
                    journal::log(self.journal.flush(Instant::now()));
                    self.outage_begins(one_line(&e));
                    self.shared.losses.count(Loss::SocketError);
                    dump_sync.lost(Loss::SocketError, Instant::now());
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
        if dump_sync.is_outdated(now) && self.shared.outage().is_none() {
            self.outage_begins("notifications were lost, and no dump makes that good".to_owned());
        }
        let mut deadlines = [dump_sync.deadline(now), self.journal.deadline(), None];
        if dump_sync.is_synchronised() {
            deadlines[2] = self.shared.table().deadline();
        }
        let deadline = deadlines.into_iter().flatten().min();
        if self.wait(socket, deadline)? == Turn::Stop {
            return Ok(Turn::Stop);
        }
        let version = self.shared.table().version();
        let mut news = News::default();
        let read = self.read(socket, dump_sync, &mut news);
        // What would decide otherwise may still be unread, or lost.
        if matches!(read, Ok(Read::All)) && dump_sync.is_synchronised() {
            let events = self.shared.table().expire(Instant::now());
            self.note(events, &mut news);
        }
        // Also what was read before an error.
        self.tell_watches(version, &news.changes);
        self.write_log(news);
        read?;
        Ok(Turn::Again)
    }

    /// Reads what there is, up to a bound.
    fn read(
        &mut self,
        socket: &mut LinkSocket,
        dump_sync: &mut DumpSync,
        news: &mut News,
    ) -> anyhow::Result<Read> {
        for _ in 0..BATCH {
            match socket.receive()? {
                Received::Nothing => {
                    dump_sync.drained();
                    return Ok(Read::All);
                }
                Received::Lost(loss) => {
                    self.shared.losses.count(loss);
                    dump_sync.lost(loss, Instant::now());
                }
                Received::Datagram(datagram) => {
                    for step in dump_sync.datagram(datagram, Instant::now()) {
                        self.step(step, news);
                    }
                }
            }
        }
        Ok(Read::Some)
    }

    fn wait(&self, socket: &LinkSocket, deadline: Option<Instant>) -> anyhow::Result<Turn> {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        // A deadline is at most an hour away, which fits.
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        let mut fds = [
            PollFd::new(socket, PollFlags::IN),
            PollFd::new(&self.stop, PollFlags::IN),
            PollFd::new(&self.shared.answers, PollFlags::IN),
        ];
        match poll(&mut fds, left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e).context("wait for notifications of links"),
        }
        let stopped = !fds[1].revents().is_empty();
        Ok(if stopped { Turn::Stop } else { Turn::Again })
    }

    fn step(&mut self, step: Step, news: &mut News) {
        match step {
            Step::DumpBegins => self.shared.table().begin_dump(),
            Step::Link(message) => {
                let events = self.apply(message);
                self.note(events, news);
            }
            Step::DumpEnds { incomplete } => {
                let events = self.shared.table().end_dump(incomplete, moment());
                self.note(events, news);
                if !incomplete {
                    self.table_is_complete();
                }
            }
            Step::Lost(loss, why) => {
                log::debug!("lost notifications of links: {why}");
                self.shared.losses.count(loss);
            }
        }
    }

    /// Only this thread changes the table, so facts can be read before it is locked for good.
    fn apply(&mut self, message: LinkMessage) -> Vec<Event> {
        let mut facts = None;
        if let LinkMessage::Present(link) | LinkMessage::Closed(link) = &message
            && self.shared.table().lacks_facts(link)
        {
            facts = self.sysfs.facts(link);
        }
        self.shared.table().apply(message, facts, moment())
    }

    fn note(&mut self, events: Vec<Event>, news: &mut News) {
        for event in events {
            match event {
                Event::Named(index, name) => self.devices.set_name(index, name),
                Event::Gone(index) => {
                    self.devices.remove(index);
                    news.gone.push(index);
                }
                Event::Changed(change) => news.changes.push(change),
            }
        }
    }

    /// Tells those who ask drivers.
    fn tell_watches(&self, version: u64, changes: &[Change]) {
        let modules = self.module_watch.as_ref();
        if self.shared.table().version() != version {
            self.port_watch.links_changed();
            modules.inspect(|watch| watch.links_changed());
        }
        for change in changes.iter().filter(|change| change.left.is_none()) {
            let link = change.link.index;
            self.port_watch.carrier_changed(link);
            modules.inspect(|watch| watch.carrier_changed(link));
        }
    }

    fn table_is_complete(&mut self) {
        self.devices.follow(self.shared.table().names());
        self.shared.outage_ends(Instant::now());
        if self.shared.complete.swap(true, Ordering::Relaxed) {
            self.shared.resyncs.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(complete) = self.complete.take() {
            // Nobody waits any more if the start took too long.
            complete.try_send(()).ok();
        }
    }

    /// From now on nobody knows what links there are, and others ask the kernel themselves.
    fn outage_begins(&self, why: String) {
        self.devices.unfollow();
        self.shared.outage_begins(why, Instant::now());
    }

    fn write_log(&mut self, news: News) {
        for change in news.changes {
            journal::log(self.journal.changed(change, Instant::now()));
        }
        for index in news.gone {
            journal::log(self.journal.forget(index, Instant::now()));
        }
        for index in self.shared.take_answered() {
            self.answered(index);
        }
        journal::log(self.journal.due(Instant::now()));
    }

    fn answered(&mut self, index: IfIndex) {
        let Some(link) = self.shared.table().link(index) else {
            return;
        };
        if let Some(speed) = self.port_watch.speed(index).known() {
            self.shared.table().set_speed(index, speed);
        }
        journal::log(self.journal.answered(&link, Instant::now()));
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
                Err(e) => self.outage_begins(one_line(&e)),
            }
        }
    }
}

fn moment() -> Moment {
    Moment {
        wall: SystemTime::now(),
        monotonic: Instant::now(),
    }
}

#[derive(PartialEq, Eq)]
enum Turn {
    Again,
    Stop,
}

/// How much of what there is was read.
enum Read {
    All,
    Some,
}

/// What a batch of messages brought.
#[derive(Default)]
struct News {
    changes: Vec<Change>,
    gone: Vec<IfIndex>,
}
