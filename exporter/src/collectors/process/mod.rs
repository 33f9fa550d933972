//! What this exporter itself costs: the `process_*` metrics that Prometheus' client libraries agree
//! on (<https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>).
//!
//! From `/proc/self/stat`, `/proc/self/limits`, `/proc/self/fd` and the `btime` line of `/proc/stat`
//! (man 5 proc); any kernel has them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, ensure};
use once_cell::sync::OnceCell;
use procfs::process::{Process, Stat};
use procfs::{FromRead, ProcError};
use prometheus::proto::{MetricFamily, MetricType};

use crate::{
    collectors::{Common, NoFlags, Open, Opened},
    metrics::{Collector, family, sample},
    privileges::{Privileged, Unprivileged},
};

/// Needs no privilege, and always opens.
pub fn open(_: NoFlags, common: &Common, _: &Privileged) -> Open {
    Ok(Box::new(ProcessCollector::new(&common.procfs)))
}

/// Reads the exporter's own entry in procfs at each scrape.
pub struct ProcessCollector {
    procfs: PathBuf,
    /// Filled by the first scrape that can read it. `/proc/stat` grows with CPUs and interrupts,
    /// and the time of the boot does not change.
    boot_time_seconds: OnceCell<u64>,
}

impl ProcessCollector {
    /// A collector over the procfs that is mounted at `procfs`.
    pub fn new(procfs: impl Into<PathBuf>) -> Self {
        Self {
            procfs: procfs.into(),
            boot_time_seconds: OnceCell::new(),
        }
    }

    fn boot_time_seconds(&self) -> anyhow::Result<u64> {
        let read = || {
            let path = self.procfs.join("stat");
            let stat = fs::read(&path).with_context(|| cannot_read(&path))?;
            boot_time_seconds(&stat).with_context(|| cannot_read(&path))
        };
        self.boot_time_seconds.get_or_try_init(read).copied()
    }
}

impl Opened for ProcessCollector {
    fn start(self: Box<Self>, _: &Common, _: &Unprivileged) -> anyhow::Result<Box<dyn Collector>> {
        Ok(self)
    }
}

impl Collector for ProcessCollector {
    fn name(&self) -> &'static str {
        "process"
    }

    fn collect(&self, families: &mut Vec<MetricFamily>) -> anyhow::Result<()> {
        let root = self.procfs.join("self");
        let process = Process::new_with_root(root.clone())
            .map_err(plain)
            .with_context(|| cannot_read(&root))?;

        let path = root.join("stat");
        let stat = fs::read(&path).with_context(|| cannot_read(&path))?;
        let stat = parse_stat(&stat).with_context(|| cannot_read(&path))?;
        families.extend(usage(&stat));

        let open = process
            .fd_count()
            .map_err(plain)
            .with_context(|| cannot_read(&root.join("fd")))?;
        families.push(gauge(
            "process_open_fds",
            "Number of open file descriptors.",
            open as f64,
        ));

        let path = root.join("limits");
        let limits = fs::read_to_string(&path).with_context(|| cannot_read(&path))?;
        let limit = max_open_files(&limits).with_context(|| cannot_read(&path))?;
        families.push(gauge(
            "process_max_fds",
            "Maximum number of open file descriptors.",
            limit,
        ));

        let start = self.boot_time_seconds()? as f64 + seconds(stat.starttime);
        families.push(gauge(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            start,
        ));
        Ok(())
    }
}

fn cannot_read(path: &Path) -> String {
    format!("cannot read {}", path.display())
}

/// What `/proc/self/stat` alone tells.
fn usage(stat: &Stat) -> [MetricFamily; 4] {
    let resident = stat.rss.saturating_mul(procfs::page_size());
    [
        family(
            "process_cpu_seconds_total",
            "Total user and system CPU time spent in seconds.",
            MetricType::COUNTER,
            [sample(&[], seconds(stat.utime.saturating_add(stat.stime)))],
        ),
        gauge(
            "process_virtual_memory_bytes",
            "Virtual memory size in bytes.",
            stat.vsize as f64,
        ),
        gauge(
            "process_resident_memory_bytes",
            "Resident memory size in bytes.",
            resident as f64,
        ),
        gauge(
            "process_threads",
            "Number of OS threads in the process.",
            stat.num_threads as f64,
        ),
    ]
}

fn gauge(name: &str, help: &str, value: f64) -> MetricFamily {
    family(name, help, MetricType::GAUGE, [sample(&[], value)])
}

/// Clock ticks (`USER_HZ`) as seconds.
fn seconds(ticks: u64) -> f64 {
    ticks as f64 / procfs::ticks_per_second() as f64
}

/// A line such as `7 (name) S 1 ...`. Without the name, which may have anything in it: procfs panics
/// where the parentheses do not fit.
fn parse_stat(line: &[u8]) -> anyhow::Result<Stat> {
    let line = String::from_utf8_lossy(line);
    let (_, numbers) = line.rsplit_once(')').context("it has no name")?;
    let numbers = numbers.trim();
    ensure!(!numbers.is_empty(), "it ends with the name");
    Stat::from_read(format!("0 () {numbers}").as_bytes()).map_err(plain)
}

/// The time of the boot in seconds since the epoch, from the line `btime 1700000000` of `/proc/stat`.
/// Not by procfs, which wants every other line of that file, too.
fn boot_time_seconds(stat: &[u8]) -> anyhow::Result<u64> {
    let mut lines = stat.split(|&byte| byte == b'\n');
    let value = lines.find_map(|line| line.strip_prefix(b"btime "));
    let value = value.context("it has no btime, the time of the boot")?;
    let value = std::str::from_utf8(value).context("its btime is not a number")?;
    value.trim().parse().context("its btime is not a number")
}

/// The error without procfs' words around it: they repeat the path, and for a file without what it
/// expects they ask to report a bug and name the machine that it was built on.
fn plain(error: ProcError) -> anyhow::Error {
    match error {
        ProcError::Io(error, _) => error.into(),
        ProcError::NotFound(_) => anyhow!("there is no such file"),
        ProcError::PermissionDenied(_) => anyhow!("permission denied"),
        _ => anyhow!("it is not as proc(5) describes it"),
    }
}

/// The soft limit in a line such as `Max open files    1024    524288    files`. Not by procfs, which
/// panics on a line that is cut short.
fn max_open_files(limits: &str) -> anyhow::Result<f64> {
    let mut lines = limits.lines();
    let limit = lines.find_map(|line| line.strip_prefix("Max open files"));
    let limit = limit.and_then(|limit| limit.split_whitespace().next());
    match limit.context("it has no limit of open files")? {
        "unlimited" => Ok(f64::INFINITY),
        limit => {
            let limit: u64 = limit.parse().context("its limit of open files")?;
            Ok(limit as f64)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    // `cat /proc/self/stat` and the first lines of `/proc/stat`, with round numbers put in: 12.5 s
    // of user and 2.5 s of system time, 9 threads, started 1000 s after the boot, 8 MiB, 512 pages.
    const SELF_STAT: &str = "4242 (a) b) S 1 4242 4242 0 -1 4194560 1 0 0 0 1250 250 0 0 20 0 9 0 \
        100000 8388608 512 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0";
    const STAT: &str = "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\nintr 1 0\nctxt 2\n\
        btime 1700000000\nprocesses 3\nprocs_running 1\nprocs_blocked 0\nsoftirq 4 0\n";

    /// A procfs with this process as 4242, but without `limits`.
    fn procfs_without_limits() -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a temporary directory");
        let process = root.path().join("4242");
        fs::create_dir_all(process.join("fd")).expect("fd");
        fs::write(process.join("stat"), SELF_STAT).expect("self/stat");
        fs::write(root.path().join("stat"), STAT).expect("stat");
        symlink("4242", root.path().join("self")).expect("self");
        root
    }

    fn collect(root: &Path) -> (Vec<(String, f64)>, anyhow::Result<()>) {
        let mut families = Vec::new();
        let outcome = ProcessCollector::new(root).collect(&mut families);
        let values = families
            .iter()
            .map(|f| {
                (
                    f.name().to_owned(),
                    f.get_metric()[0].get_gauge().get_value(),
                )
            })
            .collect();
        (values, outcome)
    }

    fn value(values: &[(String, f64)], name: &str) -> f64 {
        let found = values.iter().find(|(n, _)| n == name);
        found
            .unwrap_or_else(|| unreachable!("no {name} in {values:?}"))
            .1
    }

    #[test]
    fn numbers_are_converted_to_base_units() {
        let root = procfs_without_limits();
        let limits = fs::read("/proc/self/limits").expect("our limits");
        fs::write(root.path().join("4242/limits"), limits).expect("limits");
        let (values, outcome) = collect(root.path());
        outcome.expect("a complete procfs");

        let hz = procfs::ticks_per_second() as f64;
        assert_eq!(value(&values, "process_cpu_seconds_total"), 1500.0 / hz);
        assert_eq!(value(&values, "process_virtual_memory_bytes"), 8_388_608.0);
        assert_eq!(
            value(&values, "process_resident_memory_bytes"),
            512.0 * procfs::page_size() as f64
        );
        assert_eq!(value(&values, "process_threads"), 9.0);
        assert_eq!(
            value(&values, "process_start_time_seconds"),
            1_700_000_000.0 + 100_000.0 / hz
        );
        assert!(value(&values, "process_max_fds") > 0.0);
        // Not `process_open_fds`: from Linux 6.2 the count is the size of the directory in procfs,
        // which a fixture on another file system cannot have.
    }

    #[test]
    fn a_limit_is_a_number_or_none() {
        let heading = "Limit                     Soft Limit           Hard Limit           Units\n";
        let read = |line: &str| max_open_files(&format!("{heading}{line}"));
        let line = "Max open files            1024                 524288               files\n";
        assert_eq!(read(line).expect("a limit"), 1024.0);
        let line = "Max open files            unlimited            unlimited            files\n";
        assert_eq!(read(line).expect("a limit"), f64::INFINITY);
        for line in ["", "Max open files", "Max open files   some"] {
            assert!(read(line).is_err(), "{line}");
        }
    }

    #[test]
    fn an_unreadable_file_is_named_and_costs_only_what_it_tells() {
        let root = procfs_without_limits();
        let (values, outcome) = collect(root.path());
        let error = format!("{:#}", outcome.expect_err("no limits"));
        assert!(error.contains("self/limits"), "{error}");
        assert_eq!(value(&values, "process_threads"), 9.0);
    }

    #[test]
    fn a_file_without_what_it_should_have_is_named_in_our_own_words() {
        let root = procfs_without_limits();
        fs::write(root.path().join("4242/limits"), "Max open files 1024").expect("limits");
        for (file, text, says) in [
            ("stat", "cpu  1 2 3\n", "cannot read {}: it has no btime"),
            (
                "stat",
                "btime soon\n",
                "cannot read {}: its btime is not a number",
            ),
            (
                "stat",
                "btime \u{ff}\n",
                "cannot read {}: its btime is not a number",
            ),
            (
                "self/stat",
                "7 (name) S 1 2\n",
                "cannot read {}: it is not as proc(5)",
            ),
            (
                "self/stat",
                "7 (name) S 1 2 x\n",
                "cannot read {}: it is not as proc(5)",
            ),
        ] {
            let path = root.path().join(file);
            let before = fs::read(&path).expect(file);
            fs::write(&path, text).expect(file);
            let error = collect(root.path()).1.expect_err(text);
            let says = says.replace("{}", &path.display().to_string());
            let error = format!("{error:#}");
            assert!(error.starts_with(&says), "{text:?}: {error}");
            assert!(!error.contains("bug"), "{text:?}: {error}");
            fs::write(&path, before).expect(file);
        }
    }

    #[test]
    fn of_proc_stat_only_the_btime_is_needed() {
        assert_eq!(boot_time_seconds(b"btime 17\n").expect("a time"), 17);
        assert_eq!(
            boot_time_seconds(STAT.as_bytes()).expect("a time"),
            1_700_000_000
        );
    }

    #[test]
    fn a_missing_procfs_is_named() {
        let error = collect(Path::new("/nonexistent")).1.expect_err("no procfs");
        let error = format!("{error:#}");
        assert!(error.contains("cannot read /nonexistent/self"), "{error}");
    }

    #[test]
    fn the_live_procfs_can_be_read() {
        let (values, outcome) = collect(Path::new("/proc"));
        outcome.expect("a readable /proc");
        assert!(value(&values, "process_open_fds") >= 1.0);
        assert!(value(&values, "process_start_time_seconds") > 1.6e9);
    }
}
