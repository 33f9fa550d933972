//! The drop collector: what the BPF program counted, drained into series, as metric families.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use prometheus::proto::MetricFamily;

use crate::{
    devices::{DeviceFilter, Devices},
    heap,
    kernel::name::Name,
    kernel::{
        btf,
        kallsyms::Visibility,
        netns::{Namespaces, Scope},
        reasons::{self, ReasonNames, Reasons},
        symbols::Symbols,
    },
    metrics::Collector,
    privileges,
};

pub mod device_names;
pub mod drain;
mod families;
pub mod program;
pub mod resolve;
pub mod series;
pub mod sys;

use device_names::DeviceNames;
use drain::{Drain, UnattributedPackets};
use program::{Attached, Kernel, RunStats};
use resolve::{Names, Resolver};
use series::Series;

/// What the drop collector is told by flags.
pub struct Config {
    /// Where proc(5) is mounted.
    pub procfs: PathBuf,
    /// Where sysfs(5) is mounted.
    pub sysfs: PathBuf,
    /// Elements in each of the two kernel maps.
    pub max_entries: u32,
    /// Series beyond which new ones fold into `device="other"`.
    pub max_series: usize,
    /// Whether bytes are served, too.
    pub bytes: bool,
    /// Which namespaces get a label of their own.
    pub scope: Scope,
    /// The devices of the exporter's own namespace.
    pub devices: Arc<Devices>,
    /// Which devices get series of their own.
    pub filter: DeviceFilter,
}

/// Counts every packet that the kernel drops, from [`DropCollector::start`] until it is dropped.
pub struct DropCollector {
    state: Mutex<State>,
    procfs: PathBuf,
    max_entries: u32,
    bytes: bool,
}

struct State {
    program: Attached,
    drain: Drain,
    resolver: Resolver,
    series: Series,
    unattributed: UnattributedPackets,
    run_stats: RunStats,
    /// Keys in the fullest drain since the last scrape.
    fullest: usize,
}

impl DropCollector {
    /// Loads the BPF program and begins to count.
    ///
    /// # Errors
    ///
    /// The kernel lacks something, or this process lacks a privilege; the error says which and how
    /// to get it.
    pub fn start(config: Config) -> anyhow::Result<Self> {
        let namespaces = Namespaces::open(&config.procfs, config.scope)?;
        let devices = DeviceNames::new(config.devices, config.filter);
        let (kernel, reasons) = ask_kernel(&config.sysfs)?;
        let (program, maps) = program::attach(&kernel, config.max_entries)?;
        let possible_cpus = aya::util::nr_cpus()
            .map_err(|(path, e)| anyhow::Error::new(e).context(format!("read {path}")))?;
        let drain = Drain::new(maps, possible_cpus)?;
        let symbols = open_symbols(&config.procfs);
        // Parsing BTF took tens of megabytes, which are free by now.
        heap::trim();

        let names = Names::new(Reasons::new(reasons, config.sysfs), devices, namespaces);
        Ok(Self {
            state: Mutex::new(State {
                program,
                drain,
                resolver: Resolver { symbols, names },
                series: Series::new(config.max_series),
                unattributed: UnattributedPackets::default(),
                run_stats: RunStats::default(),
                fullest: 0,
            }),
            procfs: config.procfs,
            max_entries: config.max_entries,
            bytes: config.bytes,
        })
    }

    /// Reads what was counted since the last drain; at most one does so at a time.
    ///
    /// # Errors
    ///
    /// A part could not be read. What could is counted; the rest waits in the kernel.
    pub fn drain(&self) -> anyhow::Result<()> {
        self.lock().drain(&self.procfs)
    }

    /// Whether the maps can be read with the capabilities that this thread has now.
    pub fn can_read(&self) -> bool {
        self.lock().drain.unattributed().is_ok()
    }

    /// Packets that were dropped so far while the link of this device was down, up to this moment;
    /// `None` if the kernel does not tell. The device is one of the exporter's own namespace.
    pub fn link_down_packets(&self, device: &Name) -> Option<u64> {
        let mut state = self.lock();
        state.drain(&self.procfs).ok()?;
        let of_device = state
            .series
            .link_down()
            .filter(|(labels, _)| labels.device == *device);
        Some(of_device.map(|(_, packets)| packets).sum())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // A panic in a drain leaves counts that are whole, so the next one may go on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for Arc<DropCollector> {
    fn name(&self) -> &'static str {
        "drops"
    }

    fn collect(&self, families: &mut Vec<MetricFamily>) -> anyhow::Result<()> {
        let mut state = self.lock();
        let drained = state.drain(&self.procfs);
        families::append(&state, self, families);
        state.fullest = 0;
        drained
    }
}

impl State {
    fn drain(&mut self, procfs: &std::path::Path) -> anyhow::Result<()> {
        let (mut drained, mut names) = (Vec::new(), Vec::new());
        // Each step goes on where the one before failed: what has left the kernel must be counted.
        let drops = self.drain.drops(&mut drained);
        let device_names = self.drain.names(&mut names);
        let now = Instant::now();
        self.fullest = self.fullest.max(drained.len());
        for drops in self.resolver.resolve(&drained, &names, now) {
            self.series.add(drops);
        }
        if drops.is_ok() {
            self.resolver.drain_is_complete();
        }
        self.series.retire(now, self.resolver.device_exists());

        let unattributed = self
            .drain
            .unattributed()
            .map(|read| self.unattributed = read);
        let run_stats = self
            .program
            .run_stats(procfs)
            .map(|read| self.run_stats = read);
        drops.and(device_names).and(unattributed).and(run_stats)
    }
}

/// What the running kernel is and what its drop reasons are called; `None` without reasons.
fn ask_kernel(sysfs: &std::path::Path) -> anyhow::Result<(Kernel, Option<ReasonNames>)> {
    let btf = btf::open_vmlinux(sysfs)?;
    let kernel = Kernel::from_btf(&btf)?;
    let reasons = kernel.args.reason.map(|_| reasons::reason_names(&btf));
    if reasons.is_none() {
        log::info!("this kernel gives no reasons for drops (5.17 and later do): reason=\"\"");
    }
    Ok((kernel, reasons))
}

/// Function names are worth a warning, not a failure: a drop without one is still counted.
fn open_symbols(procfs: &std::path::Path) -> Option<Symbols> {
    let path = procfs.join("kallsyms");
    let symbols = Symbols::open(procfs);
    let why = match &symbols {
        Ok(opened) if opened.visibility() == Visibility::Shown => return symbols.ok(),
        Ok(_) => privileges::hidden_symbols_remedy(),
        Err(e) => e.to_string(),
    };
    log::warn!(
        "no function names from {}, so function=\"\": {why}",
        path.display()
    );
    None
}
