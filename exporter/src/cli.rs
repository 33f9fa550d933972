//! Every flag, with its default, its check and its help.
//!
//! The habits are node_exporter's: dots in long names, `--no-` to switch a collector off, and no
//! flag needed at all. What a flag's value must be is checked here, so that a bad one stops the
//! start and the rest of the program never meets it.

use std::path::PathBuf;
use std::process::exit;

use anyhow::{Context, bail, ensure};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Parser, value_parser};
use log::LevelFilter;
use once_cell::sync::Lazy;

use crate::devices::{DeviceFilter, DevicePattern};
use crate::metrics::{REVISION, VERSION};
use crate::web::{HEALTHY_PATH, ListenAddress, READY_PATH};

/// The exit status for a command line that cannot be used, as getopt-style programs have it.
pub const EXIT_USAGE: i32 = 2;

/// Sixteen times the default. The maps then take 18 MiB, and 2 more for each possible CPU.
const MAX_ENTRIES_LIMIT: i64 = 65_536;

/// Ten times the default. A scrape of so many series took 0.2 s and 90 MB on a slow machine.
const MAX_SERIES_LIMIT: i64 = 100_000;

static LONG_VERSION: Lazy<String> = Lazy::new(|| format!("{VERSION} (revision {REVISION})"));

/// Prometheus exporter for the packets that the Linux kernel drops.
#[derive(Clone, Debug, Parser)]
#[command(name = "netdrop-exporter", version = LONG_VERSION.as_str())]
pub struct Args {
    /// Address to serve on: `:PORT` for all addresses of the host, `HOST:PORT` or `[IPV6]:PORT`;
    /// repeatable.
    #[arg(
        long = "web.listen-address",
        value_name = "ADDRESS",
        default_value = ":10095"
    )]
    pub listen_addresses: Vec<ListenAddress>,

    /// Path of the metrics; `/` leaves out the landing page.
    #[arg(
        long = "web.telemetry-path",
        value_name = "PATH",
        default_value = "/metrics",
        value_parser = telemetry_path
    )]
    pub telemetry_path: String,

    /// Do not count dropped packets.
    #[arg(
        long = "no-collector.drops",
        action = ArgAction::SetFalse,
        overrides_with = "_drops_on"
    )]
    pub drops: bool,

    /// Count dropped packets (the default).
    #[arg(long = "collector.drops", overrides_with = "drops")]
    _drops_on: bool,

    /// Distinct drops that the kernel can hold between two reads, 5 s apart at most. Each costs 288
    /// bytes of kernel memory, and 32 more for each possible CPU.
    #[arg(
        long = "collector.drops.max-entries",
        value_name = "N",
        default_value_t = 4096,
        value_parser = value_parser!(u32).range(1..=MAX_ENTRIES_LIMIT)
    )]
    pub max_entries: u32,

    /// Series of dropped packets that are served; beyond it, new ones join `device="other"`.
    #[arg(
        long = "collector.drops.max-series",
        value_name = "N",
        default_value_t = 10_000,
        value_parser = value_parser!(u32).range(1..=MAX_SERIES_LIMIT)
    )]
    pub max_series: u32,

    /// Also serve how many bytes were dropped: as many series again.
    #[arg(long = "collector.drops.bytes")]
    pub bytes: bool,

    /// Serve the devices of every network namespace, instead of `netns="other"` for all but the
    /// exporter's own.
    #[arg(long = "collector.drops.all-netns")]
    pub all_netns: bool,

    /// Do not serve the state of links. They are followed all the same, for the names of devices.
    #[arg(
        long = "no-collector.link",
        action = ArgAction::SetFalse,
        overrides_with = "_link_on"
    )]
    pub link: bool,

    /// Serve the state of links (the default).
    #[arg(long = "collector.link", overrides_with = "link")]
    _link_on: bool,

    /// Serve only devices whose whole name matches this regular expression; the drops of others get
    /// `device="other"`. It matches bytes: write one that is not UTF-8 as in labels, `\xb9`.
    #[arg(
        long = "collector.link.device-include",
        value_name = "REGEX",
        conflicts_with = "device_exclude",
        value_parser = DevicePattern::new
    )]
    pub device_include: Option<DevicePattern>,

    /// Serve all devices but those whose whole name matches this regular expression of bytes.
    #[arg(
        long = "collector.link.device-exclude",
        value_name = "REGEX",
        value_parser = DevicePattern::new
    )]
    pub device_exclude: Option<DevicePattern>,

    /// Where procfs is mounted.
    #[arg(
        long = "path.procfs",
        value_name = "DIRECTORY",
        default_value = "/proc"
    )]
    pub procfs: PathBuf,

    /// Where sysfs is mounted.
    #[arg(long = "path.sysfs", value_name = "DIRECTORY", default_value = "/sys")]
    pub sysfs: PathBuf,

    /// The least severe messages to log.
    #[arg(
        long = "log.level",
        value_name = "LEVEL",
        default_value = "info",
        value_parser = PossibleValuesParser::new(["error", "warn", "info", "debug", "trace"])
            .try_map(|level| level.parse::<LevelFilter>())
    )]
    pub log_level: LevelFilter,
}

impl Args {
    /// The flags of this process. Prints help or version, or one line about a flag that cannot be
    /// used, and exits.
    pub fn parse_or_exit() -> Self {
        Self::try_parse().unwrap_or_else(|error| {
            if !error.use_stderr() {
                error.exit();
            }
            eprintln!("netdrop-exporter: {}", one_line(&error.to_string()));
            exit(EXIT_USAGE)
        })
    }

    /// Which devices are to be shown.
    pub fn device_filter(&self) -> DeviceFilter {
        match (&self.device_include, &self.device_exclude) {
            (Some(include), _) => DeviceFilter::Include(include.clone()),
            (None, Some(exclude)) => DeviceFilter::Exclude(exclude.clone()),
            (None, None) => DeviceFilter::All,
        }
    }
}

fn telemetry_path(path: &str) -> anyhow::Result<String> {
    ensure!(path.starts_with('/'), "it must begin with /");
    ensure!(
        path != HEALTHY_PATH && path != READY_PATH,
        "the path is taken"
    );
    // What cannot be in the path of a URI (RFC 3986, section 3.3) could never be asked for.
    let is_path = |c: char| c.is_ascii_alphanumeric() || "/-._~!$&'()*+,;=:@%".contains(c);
    if let Some(c) = path.chars().find(|&c| !is_path(c)) {
        bail!("{c:?} cannot be in a path");
    }
    path.parse::<hyper::Uri>().context("it is not a path")?;
    Ok(path.to_owned())
}

/// The first paragraph of clap's text, which says what is wrong, and its tip for a misspelt flag.
fn one_line(error: &str) -> String {
    let wrong: Vec<&str> = error
        .lines()
        .map(str::trim)
        .take_while(|line| !line.is_empty())
        .collect();
    let similar = error
        .lines()
        .filter_map(|line| line.trim().strip_prefix("tip: "))
        .find(|tip| tip.contains("similar"));
    let tip = similar.unwrap_or("try --help");
    let wrong = wrong.join(" ");
    format!("{} ({tip})", wrong.trim_start_matches("error: "))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(flags: &[&str]) -> Result<Args, String> {
        let words = ["netdrop-exporter"].iter().chain(flags);
        Args::try_parse_from(words).map_err(|error| {
            assert_eq!(error.exit_code(), EXIT_USAGE);
            one_line(&error.to_string())
        })
    }

    fn accepted(flags: &[&str]) -> Args {
        parse(flags).expect("good flags")
    }

    fn refused(flags: &[&str]) -> String {
        let line = parse(flags).expect_err("bad flags");
        assert!(!line.contains('\n'), "{line}");
        line
    }

    #[test]
    fn the_command_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn no_flag_is_needed() {
        let args = accepted(&[]);
        let addresses: Vec<String> = args
            .listen_addresses
            .iter()
            .map(|a| a.to_string())
            .collect();
        assert_eq!(addresses, [":10095"]);
        assert_eq!(args.telemetry_path, "/metrics");
        assert!(args.drops && args.link);
        assert_eq!(args.max_entries, 4096);
        assert_eq!(args.max_series, 10_000);
        assert!(!args.bytes && !args.all_netns);
        assert!(args.device_include.is_none() && args.device_exclude.is_none());
        assert_eq!(args.procfs, PathBuf::from("/proc"));
        assert_eq!(args.sysfs, PathBuf::from("/sys"));
        assert_eq!(args.log_level, LevelFilter::Info);
    }

    #[test]
    fn listen_addresses_replace_the_default_and_repeat() {
        let args = accepted(&[
            "--web.listen-address=127.0.0.1:0",
            "--web.listen-address",
            "[::1]:9",
        ]);
        let addresses: Vec<String> = args
            .listen_addresses
            .iter()
            .map(|a| a.to_string())
            .collect();
        assert_eq!(addresses, ["127.0.0.1:0", "[::1]:9"]);
        assert!(refused(&["--web.listen-address=10095"]).contains("the port is missing"));
    }

    #[test]
    fn the_last_of_a_collectors_switches_wins() {
        assert!(!accepted(&["--no-collector.drops"]).drops);
        assert!(accepted(&["--collector.drops"]).drops);
        assert!(accepted(&["--no-collector.drops", "--collector.drops"]).drops);
        assert!(!accepted(&["--collector.drops", "--no-collector.drops"]).drops);
        assert!(!accepted(&["--no-collector.link"]).link);
        assert!(accepted(&["--no-collector.link", "--collector.link"]).link);
    }

    #[test]
    fn numbers_have_bounds() {
        assert_eq!(
            accepted(&["--collector.drops.max-entries=512"]).max_entries,
            512
        );
        for flag in [
            "--collector.drops.max-entries=0",
            "--collector.drops.max-entries=65537",
            "--collector.drops.max-entries=x",
            "--collector.drops.max-series=0",
            "--collector.drops.max-series=100001",
        ] {
            let (name, _) = flag.split_once('=').expect("a value");
            assert!(refused(&[flag]).contains(name));
        }
    }

    #[test]
    fn the_telemetry_path_is_a_free_path() {
        assert_eq!(
            accepted(&["--web.telemetry-path=/"]).telemetry_path,
            "/",
            "then there is no landing page"
        );
        for path in [
            "",
            "metrics",
            "/-/healthy",
            "/-/ready",
            "/a?b",
            "/a#b",
            "/a b",
            "/ä",
        ] {
            refused(&["--web.telemetry-path", path]);
        }
    }

    #[test]
    fn device_patterns_match_whole_names() {
        let args = accepted(&[r"--collector.link.device-include=eth\d+|(?i:veth.*)"]);
        let pattern = args.device_include.expect("the flag");
        for name in ["eth0", "eth12", "VETH", "veth1"] {
            assert!(pattern.matches(name), "{name}");
        }
        for name in ["eth", "xeth0", "eth0.5", "eth0\n"] {
            assert!(!pattern.matches(name), "{name}");
        }
        assert!(pattern.matches(b"veth\xff"), "names need not be UTF-8");
    }

    #[test]
    fn bad_device_patterns_are_refused_in_one_line() {
        for expression in ["[", "a)|(b", "", r"\p{Greek}"] {
            refused(&["--collector.link.device-exclude", expression]);
        }
        let line = refused(&["--collector.link.device-exclude=["]);
        assert!(line.contains("unclosed character class"), "{line}");
    }

    #[test]
    fn include_and_exclude_exclude_each_other() {
        let line = refused(&[
            "--collector.link.device-include=a",
            "--collector.link.device-exclude=b",
        ]);
        assert!(line.contains("cannot be used with"), "{line}");
    }

    #[test]
    fn unknown_levels_and_flags_are_refused_with_what_there_is() {
        assert_eq!(
            accepted(&["--log.level=trace"]).log_level,
            LevelFilter::Trace
        );
        assert!(refused(&["--log.level=off"]).contains("[possible values: error, warn"));
        let line = refused(&["--web.listen-adress=:1"]);
        assert!(line.contains("'--web.listen-address'"), "{line}");
        refused(&["stray"]);
    }

    #[test]
    fn the_version_has_the_revision() {
        let error = Args::try_parse_from(["netdrop-exporter", "--version"]).expect_err("a version");
        assert_eq!(error.exit_code(), 0);
        assert_eq!(
            error.to_string(),
            format!("netdrop-exporter {VERSION} (revision {REVISION})\n")
        );
    }
}
