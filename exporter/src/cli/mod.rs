//! The command line: commands, and the flags of each in a file of its own.
//!
//! The habits are node_exporter's: dots in long names, `--no-` to switch a collector off, and no
//! flag needed at all. What a flag's value must be is checked here, so that a bad one stops the
//! start and the rest of the program never meets it.

use std::process::exit;

use clap::{CommandFactory, Parser, Subcommand};
use log::Level;
use once_cell::sync::Lazy;

use crate::{
    collectors::optics,
    logging,
    metrics::{REVISION, VERSION},
};

mod healthcheck;
mod serve;
mod snapshot;

pub use healthcheck::HealthcheckArgs;
pub use serve::ServeArgs;
pub use snapshot::SnapshotArgs;

/// The exit status for a command line that cannot be used, as getopt-style programs have it.
pub const EXIT_USAGE: i32 = 2;

static LONG_VERSION: Lazy<String> = Lazy::new(|| format!("{VERSION} (revision {REVISION})"));

/// Prometheus exporter for the packets that the Linux kernel frees as dropped.
///
/// It counts all packets that the kernel frees as dropped (`kfree_skb`), exactly, and follows the
/// carrier of every link. It does not see what the network card or an XDP program in the driver
/// drops, nor what a driver frees as consumed: see the device's own counters (`ip -s link`).
#[derive(Parser)]
#[command(
    name = "netdrop-exporter",
    version = LONG_VERSION.as_str(),
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true
)]
struct CommandLine {
    #[command(flatten)]
    serve: ServeArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What the program is asked to do.
#[derive(Subcommand)]
pub enum Command {
    /// Serve metrics over HTTP; so do these options without a command.
    Serve(ServeArgs),
    /// Watch drops and links for some seconds and print what happened, without a server.
    Snapshot(SnapshotArgs),
    /// Ask a running exporter whether it is healthy.
    Healthcheck(HealthcheckArgs),
    /// What the exporter starts for its collector `optics`: reads modules for who is on standard input.
    #[command(name = optics::helper::COMMAND, hide = true)]
    OpticsHelper,
}

impl Command {
    /// The command line of this process. Prints help or version, or one line about a flag that
    /// cannot be used, and exits.
    pub fn parse_or_exit() -> Self {
        parse(std::env::args_os()).unwrap_or_else(|error| {
            if !error.use_stderr() {
                error.exit();
            }
            let prefix = logging::prefix(Level::Error);
            eprintln!("{prefix}netdrop-exporter: {}", one_line(&error.to_string()));
            exit(EXIT_USAGE)
        })
    }
}

/// Every command and flag, for a manual.
pub fn command() -> clap::Command {
    CommandLine::command()
}

fn parse<W: Into<std::ffi::OsString> + Clone>(
    words: impl IntoIterator<Item = W>,
) -> Result<Command, clap::Error> {
    let line = CommandLine::try_parse_from(words)?;
    Ok(line.command.unwrap_or(Command::Serve(line.serve)))
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
mod testing {
    use super::{Command, EXIT_USAGE, ServeArgs, one_line};

    fn parse(flags: &[&str]) -> Result<ServeArgs, String> {
        let words = ["netdrop-exporter"].iter().chain(flags);
        match super::parse(words) {
            Ok(Command::Serve(args)) => Ok(args),
            Ok(Command::Snapshot(_) | Command::Healthcheck(_) | Command::OpticsHelper) => {
                unreachable!("another command: {flags:?}")
            }
            Err(error) => {
                assert_eq!(error.exit_code(), EXIT_USAGE);
                Err(one_line(&error.to_string()))
            }
        }
    }

    pub(super) fn accepted(flags: &[&str]) -> ServeArgs {
        parse(flags).expect("good flags")
    }

    pub(super) fn refused(flags: &[&str]) -> String {
        let Err(line) = parse(flags) else {
            unreachable!("accepted: {flags:?}")
        };
        assert!(!line.contains('\n'), "{line}");
        line
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use log::LevelFilter;

    use super::{
        testing::{accepted, refused},
        *,
    };

    #[test]
    fn the_command_is_consistent() {
        CommandLine::command().debug_assert();
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
        let Err(error) = parse(["netdrop-exporter", "--version"]) else {
            unreachable!("it is printed")
        };
        assert_eq!(error.exit_code(), 0);
        assert_eq!(
            error.to_string(),
            format!("netdrop-exporter {VERSION} (revision {REVISION})\n")
        );
    }

    #[test]
    fn the_daemon_is_the_default_command() {
        for words in [&["--path.sysfs=/x"][..], &["serve", "--path.sysfs=/x"]] {
            assert_eq!(accepted(words).sysfs, Path::new("/x"));
        }
        assert!(parse(["netdrop-exporter", "--path.sysfs=/x", "serve"]).is_err());
    }
}
