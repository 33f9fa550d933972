//! Which collectors run, and what one asks of another.

use std::{sync::Arc, time::Duration};

use crate::{cli::Args, devices::Devices, kernel::netns, metrics::Exposition, privileges, service};

pub mod drops;
pub mod link;
pub mod process;

use drops::DropCollector;
use link::{LinkCollector, netlink::LinkSocket};
use process::ProcessCollector;

/// How often the kernel's maps are drained between scrapes. They must not fill up, and a host
/// makes some hundreds of keys a minute, not thousands.
const DRAIN_INTERVAL: Duration = Duration::from_secs(5);

/// The collectors that could start.
pub struct Collectors {
    /// What they say.
    pub exposition: Exposition,
    /// Follows the links for the others, when its own metrics are not wanted.
    _hidden: Option<LinkCollector>,
}

impl Collectors {
    /// Starts them, and gives up the capabilities that this took. A collector that cannot start says
    /// why in one log line, and every scrape shows it as failed; the others go on. Must be called
    /// within the event loop.
    pub fn start(args: &Args) -> Self {
        let mut exposition = Exposition::new();
        exposition.add(Box::new(ProcessCollector::new(&args.procfs)));
        let devices = Arc::new(Devices::open(&args.procfs));
        let drops = start_drops(args, &devices, &mut exposition);
        // CAP_NET_ADMIN gives the socket a larger buffer, if it happens to be there.
        let socket = LinkSocket::open();
        // Before the first thread: each has its own.
        if let Err(e) = privileges::give_up(|| drops.as_ref().is_none_or(|d| d.can_read())) {
            log::warn!("cannot give up capabilities: {e}");
        }
        tokio::spawn(work_regularly(drops.clone()));
        let hidden = start_link(args, socket, devices, drops, &mut exposition);
        Self {
            exposition,
            _hidden: hidden,
        }
    }

    /// One line for `systemctl status`.
    pub fn status(&self) -> String {
        match self.exposition.failed() {
            [] => "all collectors run".to_owned(),
            failed => format!("without {}: see the log", failed.join(" and ")),
        }
    }
}

fn start_drops(
    args: &Args,
    devices: &Arc<Devices>,
    exposition: &mut Exposition,
) -> Option<Arc<DropCollector>> {
    if !args.drops {
        return None;
    }
    let config = drops::Config {
        procfs: args.procfs.clone(),
        sysfs: args.sysfs.clone(),
        max_entries: args.max_entries,
        max_series: args.max_series as usize,
        bytes: args.bytes,
        scope: if args.all_netns {
            netns::Scope::All(netns::RUN_NETNS.into())
        } else {
            netns::Scope::Own
        },
        devices: Arc::clone(devices),
        filter: args.device_filter(),
    };
    match DropCollector::start(config) {
        Ok(collector) => {
            let collector = Arc::new(collector);
            exposition.add(Box::new(Arc::clone(&collector)));
            Some(collector)
        }
        Err(e) => {
            log::error!("cannot count drops: {e:#}");
            exposition.add_failed("drops");
            None
        }
    }
}

/// Starts to follow the links, and returns who does if that is not to be shown.
fn start_link(
    args: &Args,
    socket: anyhow::Result<LinkSocket>,
    devices: Arc<Devices>,
    drops: Option<Arc<DropCollector>>,
    exposition: &mut Exposition,
) -> Option<LinkCollector> {
    let config = link::Config {
        sysfs: args.sysfs.clone(),
        filter: args.device_filter(),
        devices,
        dropped_while_down: Box::new(move |device| drops.as_ref()?.link_down_packets(device)),
    };
    match socket.and_then(|socket| LinkCollector::start(socket, config)) {
        Ok(collector) if args.link => exposition.add(Box::new(collector)),
        Ok(collector) => return Some(collector),
        Err(e) => {
            log::error!("cannot follow links: {e:#}");
            if args.link {
                exposition.add_failed("link");
            }
        }
    }
    None
}

/// Drains between scrapes, if drops are counted. After each round the service manager hears that the
/// event loop turns and that the thread that drains and scrapes is not stuck.
async fn work_regularly(drops: Option<Arc<DropCollector>>) {
    let mut interval = tokio::time::interval(DRAIN_INTERVAL);
    loop {
        interval.tick().await;
        let drops = drops.clone();
        let drain = move || drops.map_or(Ok(()), |drops| drops.drain());
        match tokio::task::spawn_blocking(drain).await {
            Ok(drained) => {
                if let Err(e) = drained {
                    // The next scrape meets the same error, and reports it.
                    log::debug!("a drain failed: {e:#}");
                }
                service::alive();
            }
            Err(e) => log::error!("a drain panicked: {e}"),
        }
    }
}
