//! The optics collector: what transceiver modules say of their light, temperature, supply and bias.
//!
//! The kernel lets only who has CAP_NET_ADMIN read modules (Linux 5.13 and later), so a helper process
//! reads them, half a page at a time, and this process, which has no capability, decodes what they say. A
//! thread of its own asks; a scrape serves what was read last. Off by default.

use std::{
    sync::{Arc, PoisonError},
    thread,
};

use anyhow::{Context, bail};
use prometheus::proto::MetricFamily;

use crate::{
    collectors::{Common, ModuleWatch, Open, Opened},
    metrics::{AlreadyLogged, Collector},
    privileges::{Privileged, Unprivileged},
};

pub mod families;
pub mod helper;
pub mod module;
mod reading;
pub mod schedule;
pub mod table;
#[cfg(test)]
mod testing;
mod watch;

use families::Serials;
use helper::Helper;
use watch::{Shared, Watch};

/// What it is called.
pub const NAME: &str = "optics";

/// The collector's own flags.
#[derive(clap::Args)]
#[group(skip)]
pub struct Flags {
    /// Serve the serial numbers of transceiver modules, as a label of netdrop_module_info.
    #[arg(long = "collector.optics.serial")]
    serial: bool,
}

/// Starts the helper, before this thread is confined.
pub fn start_helper(common: &Common, privileged: &Privileged) {
    let mut helper = common
        .optics_helper
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    *helper = Some(Helper::start(privileged));
}

/// Takes the helper, and offers to be told of carriers.
///
/// # Errors
///
/// The helper could not be started.
pub fn open(flags: Flags, common: &Common, _: &Privileged) -> Open {
    let helper = common
        .optics_helper
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    let helper = helper.context("nobody started a helper").flatten();
    let helper = helper.context("cannot read transceiver modules")?;
    let shared = Arc::new(Shared::new().context("cannot read transceiver modules")?);
    let watch: Arc<dyn ModuleWatch> = Arc::clone(&shared) as _;
    // There is one optics collector, so nobody has set it.
    common.module_watch.set(watch).ok();
    Ok(Box::new(OpenedModules {
        serials: if flags.serial {
            Serials::Shown
        } else {
            Serials::Hidden
        },
        helper,
        shared,
    }))
}

struct OpenedModules {
    serials: Serials,
    helper: Helper,
    shared: Arc<Shared>,
}

impl Opened for OpenedModules {
    fn sight(&self) -> Option<String> {
        let helper = self.helper.pid();
        Some(format!(
            "reads transceiver modules through process {helper}, which keeps CAP_NET_ADMIN"
        ))
    }

    fn start(
        self: Box<Self>,
        common: &Common,
        _: &Unprivileged,
    ) -> anyhow::Result<Box<dyn Collector>> {
        let links = common.followed_links.get().cloned();
        let links = links.context("cannot read transceiver modules: nobody follows links")?;
        let watch = Watch::new(Arc::clone(&self.shared), self.helper, links);
        thread::Builder::new()
            .name(NAME.to_owned())
            .spawn(move || watch.run())
            .context("cannot read transceiver modules: start the thread")?;
        Ok(Box::new(ModuleCollector {
            shared: self.shared,
            serials: self.serials,
        }))
    }
}

/// Reads all modules of the network namespace that it was opened in, until it is dropped.
struct ModuleCollector {
    shared: Arc<Shared>,
    serials: Serials,
}

impl Drop for ModuleCollector {
    fn drop(&mut self) {
        // The thread is not waited for: it may be behind a slow driver.
        self.shared.stop();
    }
}

impl Collector for ModuleCollector {
    fn name(&self) -> &'static str {
        NAME
    }

    fn collect(&self, families: &mut Vec<MetricFamily>) -> anyhow::Result<()> {
        if let Some(end) = self.shared.ended() {
            bail!(AlreadyLogged(format!("the helper ended ({end})")));
        }
        families::append_ports(&self.shared.table().shown(), self.serials, families);
        Ok(())
    }

    fn version(&self) -> Option<u64> {
        let works = self.shared.ended().is_none();
        works.then(|| self.shared.table().version())
    }
}
