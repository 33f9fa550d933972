//! The flags of `snapshot`.

use std::path::PathBuf;
use std::time::Duration;

use crate::collectors;
use crate::kernel::reasons::{Category, UnknownCategory};

/// Watch drops and links for some seconds and print what happened, without a server.
#[derive(clap::Args)]
pub struct SnapshotArgs {
    /// How long to watch, such as `10s`, `500ms` or `2m`.
    #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub time: Duration,

    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,

    /// Print a report after each interval, until Ctrl-C. On a terminal, each replaces the one before.
    #[arg(long)]
    pub watch: bool,

    /// Exit with status 3 if packets of one of these categories were dropped, such as `link,congestion`.
    #[arg(long, value_name = "CATEGORY", value_delimiter = ',', value_parser = category)]
    pub fail_on: Vec<Category>,

    #[command(flatten)]
    pub(crate) collectors: collectors::Flags,

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
}

fn category(name: &str) -> Result<Category, String> {
    name.parse().map_err(|e: UnknownCategory| {
        let all: Vec<_> = Category::ALL.iter().map(|c| c.as_str()).collect();
        format!("{e}; there are {}", all.join(", "))
    })
}

/// A number with a unit: `ms`, `s` (also without one), `m` or `h`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("the unit must be ms, s, m or h".to_owned()),
    };
    let number: f64 = digits
        .parse()
        .map_err(|e| format!("not a number with a unit, such as 10s: {e}"))?;
    let seconds = number * unit;
    // A day is more than anybody watches, and 10 ms less than a drain takes.
    if !(0.01..=86_400.0).contains(&seconds) {
        return Err("must be from 10ms to 24h".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit_and_limits() {
        for (text, seconds) in [
            ("10s", 10.0),
            ("10", 10.0),
            ("500ms", 0.5),
            ("2m", 120.0),
            ("1.5h", 5400.0),
        ] {
            assert_eq!(
                duration(text),
                Ok(Duration::from_secs_f64(seconds)),
                "{text}"
            );
        }
        for text in [
            "", "s", "ten", "-1s", "0", "1d", "25h", "NaN", "infs", "1e9s", "1s2",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn categories_are_those_of_the_metric() {
        assert_eq!(category("link"), Ok(Category::Link));
        assert!(
            category("links")
                .unwrap_err()
                .contains("congestion, policy")
        );
    }
}
