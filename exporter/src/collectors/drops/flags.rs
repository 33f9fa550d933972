//! The flags of the drop collector.

use clap::value_parser;

/// Sixteen times the default. The maps then take 18 MiB, and 2 more for each possible CPU.
const MAX_ENTRIES_LIMIT: i64 = 65_536;

/// Ten times the default. A scrape of so many series took 0.2 s and 90 MB on a slow machine.
const MAX_SERIES_LIMIT: i64 = 100_000;

/// Ten times the default. The kernel's map of their paths then takes 6 MiB.
const MAX_WORKLOADS_LIMIT: i64 = 10_000;

/// What the drop collector is told on the command line.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Flags {
    /// Distinct drops the kernel can hold between two reads, which are at most 5 s apart (1 to 65536).
    /// Each takes 304 bytes of kernel memory, and 32 more per possible CPU; function names take half a megabyte.
    #[arg(
        long = "collector.drops.max-entries",
        value_name = "N",
        default_value_t = 4096,
        value_parser = value_parser!(u32).range(1..=MAX_ENTRIES_LIMIT)
    )]
    pub max_entries: u32,

    /// Most series of dropped packets to serve (1 to 100000); beyond that, new ones join
    /// `device="other"`.
    #[arg(
        long = "collector.drops.max-series",
        value_name = "N",
        default_value_t = 10_000,
        value_parser = value_parser!(u32).range(1..=MAX_SERIES_LIMIT)
    )]
    pub max_series: u32,

    /// Serve dropped bytes, too; this doubles the number of series.
    #[arg(long = "collector.drops.bytes")]
    pub bytes: bool,

    /// Tell the devices of all network namespaces apart. Without it, every namespace but the
    /// exporter's own is `netns="other"`.
    #[arg(long = "collector.drops.all-netns")]
    pub all_netns: bool,

    /// Do not count drops by service, container and pod.
    #[arg(long = "no-collector.drops.workloads", overrides_with = "workloads")]
    pub no_workloads: bool,

    /// Count drops by service, container and pod, too (the default).
    #[arg(long = "collector.drops.workloads", overrides_with = "no_workloads")]
    pub workloads: bool,

    /// Most services, containers and pods to tell apart (1 to 10000); beyond that, new ones join
    /// `workload="other"`. Each takes 584 bytes of kernel memory.
    #[arg(
        long = "collector.drops.max-workloads",
        value_name = "N",
        default_value_t = 1000,
        value_parser = value_parser!(u32).range(1..=MAX_WORKLOADS_LIMIT)
    )]
    pub max_workloads: u32,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }

    fn parse(flags: &[&str]) -> Result<Flags, String> {
        let line = Line::try_parse_from(["netdrop-exporter"].iter().chain(flags));
        line.map(|line| line.flags).map_err(|e| e.to_string())
    }

    #[test]
    fn no_flag_is_needed() {
        let flags = parse(&[]).expect("the defaults");
        assert_eq!((flags.max_entries, flags.max_series), (4096, 10_000));
        assert_eq!(flags.max_workloads, 1000);
        assert!(!flags.bytes && !flags.all_netns && !flags.no_workloads);
    }

    #[test]
    fn numbers_have_bounds() {
        let flags = parse(&["--collector.drops.max-entries=512"]).expect("a good flag");
        assert_eq!(flags.max_entries, 512);
        for flag in [
            "--collector.drops.max-entries=0",
            "--collector.drops.max-entries=65537",
            "--collector.drops.max-entries=x",
            "--collector.drops.max-series=0",
            "--collector.drops.max-series=100001",
            "--collector.drops.max-workloads=0",
            "--collector.drops.max-workloads=10001",
        ] {
            let (name, _) = flag.split_once('=').expect("a value");
            assert!(parse(&[flag]).expect_err("a bad flag").contains(name));
        }
    }

    #[test]
    fn the_last_switch_of_workloads_wins() {
        let (on, off) = (
            "--collector.drops.workloads",
            "--no-collector.drops.workloads",
        );
        for (flags, none) in [([on, off], true), ([off, on], false)] {
            assert_eq!(parse(&flags).expect("good flags").no_workloads, none);
        }
    }
}
