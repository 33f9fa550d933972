//! Loads the BPF program, with the constants of the running kernel, and attaches it.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::Path,
    time::Duration,
};

use anyhow::{Context, anyhow};
use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::Map,
    programs::{BtfTracePoint, ProgramError, tp_btf::BtfTracePointLink},
};

use super::{drain::Maps, sight::ReceivingSockets};
use crate::{
    abi::{
        ACTIVE_SECTION, CELLS, CGROUPS, DROPS_A, DROPS_B, FUNCTIONS, NAMES, PROBE_RX_SK, PROGRAM,
        PROGRAM_RX_SK, TRACEPOINT, UNATTRIBUTED,
    },
    kernel::{
        btf::{self, BtfError, TracepointArgs},
        maps::{Array, Hash, MapError, PerCpuArray, PerCpuHash, PossibleCpus},
    },
    privileges,
};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/netdrop.bpf.o"));

/// Where the program expects its arguments (`exporter-ebpf/src/program.rs`).
const REASON_ARGUMENT: usize = 2;
const RX_SK_ARGUMENT: usize = 3;

/// Names of functions that the kernel's map has room for, at most: half a megabyte. A kernel has a few
/// thousand places that drop packets, and a host uses some hundreds.
const MAX_FUNCTIONS: u32 = 4096;

/// What the program must know of the running kernel.
pub struct Kernel {
    /// Values of the program's globals: offsets of fields, in bytes.
    pub offsets: Vec<(&'static str, u32)>,
    /// Which arguments the tracepoint has.
    pub args: TracepointArgs,
    /// Whether the program can have the kernel write the names of functions down (5.13 and later).
    pub names_functions: bool,
    /// The same as `offsets` for cgroups, or why they cannot be read.
    pub cgroups: Result<Vec<(&'static str, u32)>, BtfError>,
    /// Whether it skips a program that is hit again, by an interrupt, while it runs on that CPU (6.1
    /// and later).
    pub never_nests: bool,
}

impl Kernel {
    /// Reads it from the kernel's BTF.
    ///
    /// # Errors
    ///
    /// The BTF lacks something, which the error names.
    pub fn from_btf(btf: &btf_rs::Btf) -> Result<Self, BtfError> {
        let mut args = btf::tracepoint_args(btf)?;
        // At another place the program would not find them.
        args.reason = args.reason.filter(|&n| n == REASON_ARGUMENT);
        args.rx_sk = args.rx_sk.filter(|&n| n == RX_SK_ARGUMENT);
        Ok(Self {
            offsets: btf::offsets(btf)?,
            args,
            names_functions: btf::has_enumerator(btf, "bpf_func_id", "BPF_FUNC_snprintf")?,
            cgroups: btf::cgroup_globals(btf),
            // Raw tracepoints call it since they skip (`__bpf_trace_run`, `kernel/trace/bpf_trace.c`).
            never_nests: btf::has_function(btf, "bpf_prog_inc_misses_counter")?,
        })
    }
}

/// The program, attached to the tracepoint until this is dropped.
pub struct Attached {
    /// Whether the program looks at the socket that was to receive the packet.
    pub receiving_sockets: ReceivingSockets,
    program: OwnedFd,
    _link: BtfTracePointLink,
}

/// What the kernel counts about the program itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunStats {
    /// Drops that the kernel did not show to the program, because they happened in an interrupt
    /// while it ran on that CPU (5.12 and later; the kernel skips since 6.1).
    pub recursion_misses: u64,
    /// Runs, and the time they took; 0 unless `kernel.bpf_stats_enabled` is set.
    pub runs: u64,
    /// See `runs`.
    pub run_time: Duration,
}

/// How large the kernel's maps are to be.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Keys, and device names.
    pub entries: u32,
    /// Cgroups; `None` if they are not to be looked at.
    pub cgroups: Option<u32>,
}

/// Loads and attaches the program, with maps of these sizes.
///
/// # Errors
///
/// The kernel refuses; where it does not permit it, the error says why.
pub fn attach(kernel: &Kernel, sizes: Sizes) -> anyhow::Result<(Attached, Maps)> {
    try_attach(kernel, sizes).map_err(|error| {
        if is_not_permitted(&error) {
            error.context(privileges::why_no_bpf())
        } else {
            error
        }
    })
}

fn is_not_permitted(error: &anyhow::Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>();
    cause.is_some_and(|e| e.kind() == io::ErrorKind::PermissionDenied)
}

fn try_attach(kernel: &Kernel, sizes: Sizes) -> anyhow::Result<(Attached, Maps)> {
    let mut ebpf = load_maps(kernel, sizes).context("create the BPF maps")?;
    let maps = open_maps(&ebpf)?;
    let btf = Btf::from_sys_fs().context("read the kernel's BTF")?;
    let receiving_sockets = receiving_sockets(&mut ebpf, kernel, &btf);
    let name = match receiving_sockets {
        ReceivingSockets::Seen => PROGRAM_RX_SK,
        ReceivingSockets::Absent | ReceivingSockets::Unsafe => PROGRAM,
    };

    let program = program(&mut ebpf, name)?;
    program
        .load(TRACEPOINT, &btf)
        .map_err(refusal)
        .context("load the BPF program")?;
    let link = program
        .attach()
        .context("attach to the tracepoint kfree_skb")?;
    let link = program.take_link(link)?;
    let program = program.fd()?.as_fd().try_clone_to_owned()?;
    Ok((
        Attached {
            receiving_sockets,
            program,
            _link: link,
        },
        maps,
    ))
}

fn load_maps(kernel: &Kernel, sizes: Sizes) -> anyhow::Result<Ebpf> {
    let has_reason = u32::from(kernel.args.reason.is_some());
    let has_snprintf = u32::from(kernel.names_functions);
    let never_nested = u32::from(kernel.never_nests);
    let mut loader = EbpfLoader::new();
    // `true`: a name that the object lacks is an error, not ignored.
    loader.override_global("HAS_REASON", &has_reason, true);
    loader.override_global("HAS_SNPRINTF", &has_snprintf, true);
    loader.override_global("NEVER_NESTED", &never_nested, true);
    for (name, offset) in &kernel.offsets {
        loader.override_global(name, offset, true);
    }
    for map in [DROPS_A, DROPS_B, NAMES] {
        loader.map_max_entries(map, sizes.entries);
    }
    if let (Some(cgroups), Ok(globals)) = (sizes.cgroups, &kernel.cgroups) {
        for (name, value) in globals {
            loader.override_global(name, value, true);
        }
        loader.map_max_entries(CGROUPS, cgroups);
    }
    if kernel.names_functions {
        // A read finds places of keys in one map, and of those that are in the other already.
        loader.map_max_entries(FUNCTIONS, MAX_FUNCTIONS.min(2 * sizes.entries));
    }
    Ok(loader.load(OBJECT)?)
}

/// Whether `rx_sk` is there and the verifier knows that it may be NULL.
///
/// Some kernels from 6.11 to 6.13 do not tell it so. There the verifier removes the program's
/// check for NULL, and the first drop without a socket crashes the kernel (CVE-2025-21852). Such a
/// kernel accepts a program that reads `rx_sk` without a check; a fixed one rejects it.
fn receiving_sockets(ebpf: &mut Ebpf, kernel: &Kernel, btf: &Btf) -> ReceivingSockets {
    if kernel.args.rx_sk.is_none() {
        return ReceivingSockets::Absent;
    }
    let Ok(probe) = program(ebpf, PROBE_RX_SK) else {
        return ReceivingSockets::Unsafe;
    };
    match probe.load(TRACEPOINT, btf) {
        // Only this rejection proves it: one for another reason says nothing about the pointer.
        Err(ProgramError::LoadError { verifier_log, .. })
            if verifier_log.to_string().contains("or_null") =>
        {
            ReceivingSockets::Seen
        }
        Err(_) => ReceivingSockets::Unsafe,
        Ok(()) => {
            if let Err(e) = probe.unload() {
                log::debug!("cannot unload the probe: {e}");
            }
            ReceivingSockets::Unsafe
        }
    }
}

/// The error without aya's words around it, which repeat it and have the whole log of the verifier.
fn refusal(error: ProgramError) -> anyhow::Error {
    let ProgramError::LoadError {
        io_error,
        verifier_log,
    } = error
    else {
        return error.into();
    };
    let log = verifier_log.to_string();
    log::debug!("the verifier's log: {log}");
    let error = anyhow::Error::new(io_error);
    match verdict(&log) {
        Some(verdict) => error.context(format!("the verifier says: {verdict}")),
        None => error,
    }
}

/// The verifier's last word, before its statistics (`print_verification_stats`, `kernel/bpf/verifier.c`).
fn verdict(log: &str) -> Option<&str> {
    let statistics = ["verification time ", "stack depth ", "processed "];
    log.lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty() && !statistics.iter().any(|begin| line.starts_with(begin)))
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> anyhow::Result<&'a mut BtfTracePoint> {
    let program = ebpf
        .program_mut(name)
        .ok_or_else(|| anyhow!("the BPF object has no program {name}"))?;
    Ok(program.try_into()?)
}

/// The maps, past aya, which would size its buffers by `/sys/devices/system/cpu/possible`.
fn open_maps(ebpf: &Ebpf) -> anyhow::Result<Maps> {
    let cpus = PossibleCpus::ask()?;
    log::debug!("the kernel has {} possible CPUs", cpus.get());
    let drops = |name| open_map(ebpf, name, |fd| PerCpuHash::open(fd, cpus));
    Ok(Maps {
        drops: [drops(DROPS_A)?, drops(DROPS_B)?],
        cells: open_map(ebpf, CELLS, |fd| PerCpuArray::open(fd, cpus))?,
        names: open_map(ebpf, NAMES, Hash::open)?,
        functions: open_map(ebpf, FUNCTIONS, Hash::open)?,
        cgroups: open_map(ebpf, CGROUPS, Hash::open)?,
        unattributed: open_map(ebpf, UNATTRIBUTED, |fd| PerCpuArray::open(fd, cpus))?,
        active: open_map(ebpf, ACTIVE_SECTION, Array::open)?,
    })
}

fn open_map<T>(
    ebpf: &Ebpf,
    name: &str,
    open: impl FnOnce(OwnedFd) -> Result<T, MapError>,
) -> anyhow::Result<T> {
    let map = ebpf
        .map(name)
        .ok_or_else(|| anyhow!("the BPF object has no map {name}"))?;
    let (Map::PerCpuHashMap(data) | Map::PerCpuArray(data) | Map::HashMap(data) | Map::Array(data)) =
        map
    else {
        return Err(anyhow!(
            "map {name} of the BPF object has an unexpected type"
        ));
    };
    let fd = data.fd().as_fd().try_clone_to_owned()?;
    open(fd).with_context(|| format!("map {name}"))
}

impl Attached {
    /// Reads what the kernel counts about the program, from `<procfs>/self/fdinfo`.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn run_stats(&self, procfs: &Path) -> anyhow::Result<RunStats> {
        let path = procfs.join(format!("self/fdinfo/{}", self.program.as_raw_fd()));
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        Ok(parse_fdinfo(&text))
    }
}

/// Parses lines such as `recursion_misses:\t12` (`bpf_prog_show_fdinfo`, `kernel/bpf/syscall.c`).
/// What an older kernel does not have counts as 0.
pub fn parse_fdinfo(text: &str) -> RunStats {
    let value = |name: &str| {
        text.lines()
            .find_map(|line| {
                line.strip_prefix(name)?
                    .strip_prefix(':')?
                    .trim()
                    .parse()
                    .ok()
            })
            .unwrap_or(0)
    };
    RunStats {
        recursion_misses: value("recursion_misses"),
        runs: value("run_cnt"),
        run_time: Duration::from_nanos(value("run_time_ns")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fdinfo_of_a_program_is_read() {
        let text =
            "pos:\t0\nprog_type:\t26\nrun_time_ns:\t1500\nrun_cnt:\t12\nrecursion_misses:\t3\n";
        let expected = RunStats {
            recursion_misses: 3,
            runs: 12,
            run_time: Duration::from_nanos(1500),
        };
        assert_eq!(parse_fdinfo(text), expected);
    }

    #[test]
    fn the_verdict_is_the_last_line_before_the_statistics() {
        // From Linux 6.18, for a program that only exits.
        let log = "0: R1=ctx() R10=fp0\n0: (95) exit\nR0 !read_ok\nverification time 37 usec\n\
                   stack depth 0\nprocessed 1 insns (limit 1000000) max_states_per_insn 0 \
                   total_states 0 peak_states 0 mark_read 0\n";
        assert_eq!(verdict(log), Some("R0 !read_ok"));
        assert_eq!(verdict(""), None);
        assert_eq!(verdict("processed 0 insns\n"), None);
    }

    #[test]
    fn fdinfo_of_an_old_or_odd_kernel_counts_as_zero() {
        for text in [
            "",
            "run_cnt",
            "run_cnt:",
            "run_cnt:\tmany\n",
            "recursion_misses_x:\t4",
        ] {
            assert_eq!(parse_fdinfo(text), RunStats::default(), "{text:?}");
        }
    }
}
