//! The drop collector: what the BPF program counted, drained into series, as metric families.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use anyhow::Context;
use prometheus::proto::MetricFamily;

use crate::{
    collectors::{Common, DroppedWhileDown, Open, Opened},
    heap,
    kernel::name::Name,
    kernel::{
        btf,
        netns::{self, Namespaces, Scope},
        reasons::{self, ReasonNames, Reasons},
        symbols::{NoSymbols, Symbols},
    },
    metrics::Collector,
    privileges::{self, Privileged, Unprivileged},
};

pub mod device_names;
pub mod drain;
mod families;
mod flags;
pub mod functions;
pub mod program;
pub mod resolve;
pub mod series;
pub mod sight;
pub mod workload_names;

use device_names::DeviceNames;
use drain::{Drain, Drained, UnattributedPackets};
use families::Snapshot;
use flags::Flags;
use functions::{FunctionNames, Functions};
use program::{Attached, Kernel, RunStats, Sizes};
use resolve::{Names, Resolver};
use series::Series;
use sight::Sight;
use workload_names::WorkloadNames;

/// Loads the BPF program and begins to count.
///
/// # Errors
///
/// The kernel lacks something, or this process lacks a privilege; the error says which and how
/// to get it.
pub fn open(flags: Flags, common: &Common, _: &Privileged) -> Open {
    let collector = DropCollector::attach(&flags, common).context("cannot count drops");
    // Parsing BTF took tens of megabytes, which are free by now, also after a failure.
    heap::trim();
    let collector = Arc::new(collector?);
    let asked = Arc::clone(&collector);
    let dropped_while_down: DroppedWhileDown =
        Arc::new(move |device| asked.link_down_packets(device));
    // There is one drop collector, so nobody has set it.
    common.dropped_while_down.set(dropped_while_down).ok();
    Ok(Box::new(collector))
}

/// Counts every packet that the kernel frees as dropped, for as long as this lives.
pub struct DropCollector {
    state: Mutex<State>,
    procfs: PathBuf,
    max_entries: u32,
    bytes: bool,
    sight: Sight,
    /// Why places have no names.
    no_functions: Option<String>,
    workloads: bool,
    /// Why it cannot be told whose packets they were.
    no_cgroups: Option<String>,
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
    fn attach(flags: &Flags, common: &Common) -> anyhow::Result<Self> {
        let scope = if flags.all_netns {
            Scope::All(netns::RUN_NETNS.into())
        } else {
            Scope::Own
        };
        let namespaces = Namespaces::open(&common.procfs, scope)?;
        let devices = DeviceNames::new(Arc::clone(&common.devices), common.filter.clone());
        let (kernel, reasons) = ask_kernel(&common.sysfs)?;
        let sizes = Sizes {
            entries: flags.max_entries,
            cgroups: (!flags.no_workloads).then_some(flags.max_workloads),
        };
        let (program, maps) = program::attach(&kernel, sizes)?;
        let drain = Drain::new(maps)?;
        let (functions, no_functions) = if kernel.names_functions {
            tell_masked_symbols(&common.procfs);
            (Functions::Program(FunctionNames::default()), None)
        } else {
            match open_symbols(&common.procfs) {
                Ok(symbols) => (Functions::Kallsyms(symbols), None),
                Err(why) => (Functions::Unknown, Some(why)),
            }
        };
        let sight = Sight {
            reasons: reasons.is_some(),
            receiving_sockets: program.receiving_sockets,
            functions: no_functions.is_none(),
        };
        let names = Names::new(
            Reasons::new(reasons, common.sysfs.clone()),
            devices,
            namespaces,
        );
        Ok(Self {
            state: Mutex::new(State {
                program,
                drain,
                resolver: Resolver {
                    functions,
                    names,
                    workloads: WorkloadNames::default(),
                },
                series: Series::new(flags.max_series as usize, flags.max_workloads as usize),
                unattributed: UnattributedPackets::default(),
                run_stats: RunStats::default(),
                fullest: 0,
            }),
            procfs: common.procfs.clone(),
            max_entries: flags.max_entries,
            bytes: flags.bytes,
            sight,
            no_functions,
            workloads: !flags.no_workloads && kernel.cgroups.is_ok(),
            no_cgroups: kernel.cgroups.err().map(|e| e.to_string()),
        })
    }

    /// Packets that were dropped so far while the link of this device was down, up to this moment;
    /// `None` if the kernel does not tell. The device is one of the exporter's own namespace.
    fn link_down_packets(&self, device: &Name) -> Option<u64> {
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

impl Opened for Arc<DropCollector> {
    fn works_now(&self) -> bool {
        self.lock().drain.unattributed().is_ok()
    }

    fn sight(&self) -> Option<String> {
        Some(self.sight.to_string())
    }

    fn start(self: Box<Self>, _: &Common, _: &Unprivileged) -> anyhow::Result<Box<dyn Collector>> {
        // Worth a warning, not a failure: a drop without a function is still counted.
        if let Some(why) = &self.no_functions {
            log::warn!("no function names, so function=\"\": {why}");
        }
        if let Some(why) = &self.no_cgroups {
            log::info!("cannot tell whose packets are dropped: {why}");
        }
        Ok(self)
    }
}

impl Collector for Arc<DropCollector> {
    fn name(&self) -> &'static str {
        "drops"
    }

    /// Reads what was counted since the last drain, so that the kernel's maps do not fill up.
    fn work(&self) -> anyhow::Result<()> {
        self.lock().drain(&self.procfs)
    }

    fn collect(&self, families: &mut Vec<MetricFamily>) -> anyhow::Result<()> {
        let mut state = self.lock();
        let drained = state.drain(&self.procfs);
        let snapshot = Snapshot {
            series: &state.series,
            unattributed: state.unattributed,
            run_stats: state.run_stats,
            fullest: state.fullest,
            max_entries: self.max_entries,
            bytes: self.bytes,
            workloads: self.workloads,
        };
        families::append(&snapshot, families);
        state.fullest = 0;
        drained
    }
}

impl State {
    fn drain(&mut self, procfs: &std::path::Path) -> anyhow::Result<()> {
        let mut drained = Drained::default();
        // Each step goes on where the one before failed: what has left the kernel must be counted.
        let drops = self.drain.drops(&mut drained);
        let device_names = self.drain.names(&mut drained.device_names);
        let workloads = &mut self.resolver.workloads;
        let cgroups = self.drain.cgroups(|id, path| workloads.learn(id, path));
        let now = Instant::now();
        self.fullest = self.fullest.max(drained.drops.len());
        for drops in self.resolver.resolve(&drained, now) {
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
        drops
            .and(device_names)
            .and(cgroups)
            .and(unattributed)
            .and(run_stats)
    }
}

/// What the running kernel is and what its drop reasons are called; `None` without reasons.
fn ask_kernel(sysfs: &std::path::Path) -> anyhow::Result<(Kernel, Option<ReasonNames>)> {
    let btf = btf::open_vmlinux(sysfs)?;
    let kernel = Kernel::from_btf(&btf)?;
    let reasons = kernel.args.reason.map(|_| reasons::reason_names(&btf));
    Ok((kernel, reasons))
}

/// Says that kallsyms is hidden, which whoever debugs this host should know, although it costs no name here.
fn tell_masked_symbols(procfs: &std::path::Path) {
    if let Err(masked @ NoSymbols::Masked) = Symbols::open(procfs) {
        let path = procfs.join("kallsyms");
        log::warn!(
            "{}: {masked}; no function name is missing, since this kernel tells the BPF program",
            path.display()
        );
    }
}

/// The error is what the log says about it.
fn open_symbols(procfs: &std::path::Path) -> Result<Symbols, String> {
    Symbols::open(procfs).map_err(|error| {
        let why = match error {
            NoSymbols::Hidden => privileges::why_hidden_symbols(),
            error => error.to_string(),
        };
        format!("{}: {why}", procfs.join("kallsyms").display())
    })
}
