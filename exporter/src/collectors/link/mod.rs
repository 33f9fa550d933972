//! The link collector: carrier, operational and admin state of every link, from netlink and sysfs.
//!
//! A thread hears of every change from the kernel and keeps a table; a scrape reads the table, and
//! neither does I/O nor takes the RTNL lock. So a change is seen some milliseconds after it
//! happened, when the kernel has announced it. Works on Linux 4.16 and later.

use std::{
    sync::{Arc, atomic::Ordering, mpsc},
    thread,
    time::Duration,
};

use anyhow::{Context, ensure};
use prometheus::proto::MetricFamily;
use rustix::{
    event::{EventfdFlags, eventfd},
    fd::OwnedFd,
};

use crate::{
    collectors::{Common, Open, Opened},
    metrics::{AlreadyLogged, Collector},
    privileges::{Privileged, Unprivileged},
};

pub mod dump_sync;
mod families;
mod flags;
mod followed;
pub mod journal;
pub mod losses;
pub mod message;
mod monitor;
pub mod netlink;
mod shared;
mod speeds;
pub mod sysfs;
pub mod table;
#[cfg(test)]
mod testing;
pub mod transitions;
pub mod watch;

pub use flags::Flags;
use followed::Followed;
use journal::Journal;
use monitor::Monitor;
use netlink::LinkSocket;
use shared::Shared;
use sysfs::Sysfs;
use table::Table;

/// How long the start waits for the first dump, which takes milliseconds, so that the first scrape
/// has all links. If somebody holds the RTNL lock, it comes later.
const FIRST_DUMP: Duration = Duration::from_secs(2);

/// Opens a socket that hears of links. CAP_NET_ADMIN gives it a larger buffer, if it happens to be
/// there.
///
/// # Errors
///
/// The kernel has no rtnetlink, or a sandbox forbids it.
pub fn open(flags: Flags, _: &Common, _: &Privileged) -> Open {
    let socket = LinkSocket::open().context("cannot follow links")?;
    Ok(Box::new(OpenedLinks { socket, flags }))
}

struct OpenedLinks {
    socket: LinkSocket,
    flags: Flags,
}

impl Opened for OpenedLinks {
    fn start(
        self: Box<Self>,
        common: &Common,
        _: &Unprivileged,
    ) -> anyhow::Result<Box<dyn Collector>> {
        let collector = LinkCollector::start(self.socket, &self.flags, common)
            .context("cannot follow links")?;
        Ok(Box::new(collector))
    }
}

/// Follows all links of the network namespace that it was started in, until it is dropped.
pub struct LinkCollector {
    shared: Arc<Shared>,
    stop: OwnedFd,
}

impl LinkCollector {
    /// Fails if the socket is of no use, or no thread can be had.
    fn start(socket: LinkSocket, flags: &Flags, common: &Common) -> anyhow::Result<Self> {
        let port = socket.port()?;
        let stop = new_eventfd()?;
        let table = Table::new(common.filter.clone())
            .paging(flags.pages())
            .settling(flags.settle);
        let shared = Arc::new(Shared::new(table, new_eventfd()?));
        let followed = Followed {
            shared: Arc::clone(&shared),
            sysfs: Sysfs::new(&common.sysfs),
        };
        // There is one link collector, so nobody has set it.
        common.followed_links.set(Arc::new(followed)).ok();
        let port_watch = match common.port_watch.get() {
            Some(ports) => Arc::clone(ports),
            None => speeds::start(Arc::clone(&shared), Sysfs::new(&common.sysfs))?,
        };
        let (complete, first_dump) = mpsc::sync_channel(1);
        let monitor = Monitor {
            shared: Arc::clone(&shared),
            devices: Arc::clone(&common.devices),
            sysfs: Sysfs::new(&common.sysfs),
            journal: Journal::new(
                log::max_level(),
                Arc::clone(&port_watch),
                common.dropped_while_down.get().cloned(),
            ),
            port_watch,
            module_watch: common.module_watch.get().cloned(),
            stop: stop.try_clone().context("share the eventfd")?,
            complete: Some(complete),
        };
        thread::Builder::new()
            .name("links".to_owned())
            .spawn(move || monitor.run(socket, port))
            .context("start the thread that follows links")?;
        // If it takes longer, scrapes say so.
        first_dump.recv_timeout(FIRST_DUMP).ok();
        Ok(Self { shared, stop })
    }
}

impl Drop for LinkCollector {
    fn drop(&mut self) {
        // The thread is not waited for: it may be in the kernel, behind the RTNL lock.
        shared::wake(&self.stop);
    }
}

fn new_eventfd() -> anyhow::Result<OwnedFd> {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).context("make an eventfd")
}

impl Collector for LinkCollector {
    fn name(&self) -> &'static str {
        "link"
    }

    fn collect(&self, families: &mut Vec<MetricFamily>) -> anyhow::Result<()> {
        let shared = &self.shared;
        let outage = shared.outage();
        let (rows, removed) = {
            let table = shared.table();
            (table.rows(), table.removed())
        };
        // What was so when the kernel was last heard may not be so now.
        if outage.is_none() {
            families::append_states(&rows, families);
        }
        families::append_counts(&rows, &removed, families);
        let resyncs = shared.resyncs.load(Ordering::Relaxed);
        families::append_losses(|loss| shared.losses.get(loss), resyncs, families);
        if let Some(why) = outage {
            return Err(AlreadyLogged(why).into());
        }
        let complete = shared.complete.load(Ordering::Relaxed);
        ensure!(complete, "the kernel has not yet listed all links");
        Ok(())
    }

    fn version(&self) -> Option<u64> {
        let shared = &self.shared;
        let complete = shared.complete.load(Ordering::Relaxed);
        let works = complete && shared.outage().is_none();
        // Each of them only grows, so the sum stays only while all of them do.
        let losses = shared.losses.sum() + shared.resyncs.load(Ordering::Relaxed);
        works.then(|| shared.table().version() + losses)
    }
}
