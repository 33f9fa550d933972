//! The flags of the daemon.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use log::LevelFilter;

use crate::collectors::{self, Common};
use crate::devices::{DeviceFilter, DevicePattern};
use crate::logging;
use crate::web::{self, ListenAddress, Listener, TelemetryPath};

/// Serve metrics over HTTP (the default).
#[derive(clap::Args)]
pub struct ServeArgs {
    /// Address to listen on: `:PORT` (all addresses), `HOST:PORT`, `[IPV6]:PORT`, or `unix:PATH`, whose mode is
    /// 660 or as in `unix:PATH,mode=666`; repeatable.
    #[arg(
        long = "web.listen-address",
        value_name = "ADDRESS",
        default_value = ":10095"
    )]
    pub listen_addresses: Vec<ListenAddress>,

    /// Listen on the sockets of a systemd `.socket` unit instead.
    #[arg(long = "web.systemd-socket", conflicts_with = "listen_addresses")]
    pub systemd_socket: bool,

    /// Path of the metrics; `/` replaces the landing page.
    #[arg(
        long = "web.telemetry-path",
        value_name = "PATH",
        default_value = "/metrics"
    )]
    pub telemetry_path: TelemetryPath,

    /// File with TLS, passwords and more, in the format that Prometheus' exporters share.
    #[arg(long = "web.config.file", value_name = "FILE")]
    pub web_config: Option<PathBuf>,

    /// Most requests for metrics to answer at a time; others get 503 with `Retry-After`. 0 is no limit.
    #[arg(long = "web.max-requests", value_name = "N", default_value_t = 0)]
    pub max_requests: u32,

    /// Which collectors run, and their own flags.
    #[command(flatten)]
    pub collectors: collectors::Flags,

    /// Serve only devices whose whole name matches this regular expression; drops of the others get
    /// `device="other"`. It matches bytes: write one that is not UTF-8 as labels do, `\xb9`.
    #[arg(
        long = "collector.link.device-include",
        value_name = "REGEX",
        conflicts_with = "device_exclude",
        value_parser = DevicePattern::new
    )]
    pub device_include: Option<DevicePattern>,

    /// Serve all devices except those whose whole name matches this regular expression.
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

    /// Log messages of this level and above.
    #[arg(
        long = "log.level",
        value_name = "LEVEL",
        default_value = "info",
        value_parser = PossibleValuesParser::new(["error", "warn", "info", "debug", "trace"])
            .try_map(|level| level.parse::<LevelFilter>())
    )]
    pub log_level: LevelFilter,

    /// How log lines look.
    #[arg(
        long = "log.format",
        value_name = "FORMAT",
        value_enum,
        default_value_t
    )]
    pub log_format: logging::Format,

    /// Check the flags and the files they name, bind and start nothing, and exit: 0 if all is well, 1 if not.
    #[arg(long = "config.check")]
    pub config_check: bool,
}

impl ServeArgs {
    /// What all collectors may use.
    pub fn common(&self) -> Common {
        let filter = DeviceFilter::new(self.device_include.as_ref(), self.device_exclude.as_ref());
        Common::new(&self.procfs, &self.sysfs, filter)
    }

    /// Where to listen.
    ///
    /// # Errors
    ///
    /// One line that says what can be done.
    pub fn listeners(&self) -> anyhow::Result<Vec<Listener>> {
        if self.systemd_socket {
            web::from_systemd()
        } else {
            web::bind(&self.listen_addresses)
        }
    }

    /// What must stay readable when file accesses are confined.
    pub fn readable(&self) -> Vec<PathBuf> {
        let mut paths = vec![self.procfs.clone(), self.sysfs.clone()];
        let config = self.web_config.iter();
        paths.extend(config.flat_map(|file| web::directories(file)));
        paths
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{accepted, refused};

    #[test]
    fn no_flag_is_needed() {
        let args = accepted(&[]);
        let addresses: Vec<String> = args
            .listen_addresses
            .iter()
            .map(|a| a.to_string())
            .collect();
        assert_eq!(addresses, [":10095"]);
        assert_eq!(args.telemetry_path.as_str(), "/metrics");
        assert_eq!(
            args.collectors.switched_on(),
            ["conntrack", "drops", "link", "port", "process"]
        );
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
    fn the_telemetry_path_is_checked() {
        let args = accepted(&["--web.telemetry-path=/"]);
        assert_eq!(args.telemetry_path.as_str(), "/");
        assert!(refused(&["--web.telemetry-path=metrics"]).contains("it must begin with /"));
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
}
