//! The port collector: what network cards say of their links and of what they lost, from ethtool and
//! netdev netlink, rtnetlink and sysfs.
//!
//! A thread of its own asks, because every question takes the RTNL lock and some drivers ask their
//! firmware; a scrape serves what was read last. Needs no privilege. Works on Linux 5.6 and later; what
//! came later is absent in older kernels.

use std::{sync::Arc, thread};

use anyhow::{Context, ensure};
use prometheus::proto::MetricFamily;

use crate::{
    collectors::{Common, NoFlags, Open, Opened, PortWatch},
    metrics::Collector,
    privileges::{Privileged, Unprivileged},
};

mod complaints;
pub mod counters;
pub mod drivers;
mod families;
mod reader;
pub mod schedule;
pub mod steady;
pub mod table;
#[cfg(test)]
mod tests;
mod tx_timeouts;
mod watch;

use reader::Reader;
use watch::{Shared, Watch};

/// Opens the sockets, and offers to tell why a link is down.
///
/// # Errors
///
/// A sandbox forbids netlink.
pub fn open(_: NoFlags, common: &Common, _: &Privileged) -> Open {
    let reader = Reader::open().context("cannot read ports")?;
    let shared = Arc::new(Shared::default());
    let watch: Arc<dyn PortWatch> = Arc::clone(&shared) as _;
    // There is one port collector, so nobody has set it.
    common.port_watch.set(watch).ok();
    Ok(Box::new(OpenedPorts { reader, shared }))
}

struct OpenedPorts {
    reader: Reader,
    shared: Arc<Shared>,
}

impl Opened for OpenedPorts {
    fn start(
        self: Box<Self>,
        common: &Common,
        _: &Unprivileged,
    ) -> anyhow::Result<Box<dyn Collector>> {
        let links = common.followed_links.get().cloned();
        let links = links.context("cannot read ports: nobody follows links")?;
        let watch = Watch::new(Arc::clone(&self.shared), self.reader, links);
        thread::Builder::new()
            .name("ports".to_owned())
            .spawn(move || watch.run())
            .context("cannot read ports: start the thread")?;
        Ok(Box::new(PortCollector(self.shared)))
    }
}

/// Reads all ports of the network namespace that it was opened in, until it is dropped.
struct PortCollector(Arc<Shared>);

impl Drop for PortCollector {
    fn drop(&mut self) {
        // The thread is not waited for: it may be in the kernel, behind a slow driver.
        self.0.stop();
    }
}

impl Collector for PortCollector {
    fn name(&self) -> &'static str {
        "port"
    }

    fn collect(&self, families: &mut Vec<MetricFamily>) -> anyhow::Result<()> {
        families::append(&self.0.table().by_name(), families);
        ensure!(!self.0.has_ended(), "the thread that reads ports has ended");
        Ok(())
    }

    fn version(&self) -> Option<u64> {
        (!self.0.has_ended()).then(|| self.0.table().version())
    }
}
