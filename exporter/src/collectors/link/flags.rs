//! The flags of the link collector.

use std::time::Duration;

use anyhow::{Context, bail, ensure};

use crate::devices::{DeviceFilter, DevicePattern};

/// Longer than any port takes to come up, and as long as the alerts look back.
const MAX_SETTLE: Duration = Duration::from_secs(3600);

/// What the link collector is told on the command line.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Flags {
    /// How long a port may negotiate after it appeared, was set up, or the exporter started (such as
    /// `30s` or `1m30s`, up to `1h`). A carrier that is lost in this time counts as a loss if it is
    /// still missing at the end.
    #[arg(
        long = "collector.link.settle",
        value_name = "DURATION",
        default_value = "60s",
        value_parser = parse_duration
    )]
    pub settle: Duration,

    /// Page only for links whose whole name matches this regular expression; the others get
    /// `watch="ticket"` instead of `watch="page"`. Excluded paravirtual ports get `watch="none"`, because
    /// with `ticket` they would still page when they stay down.
    #[arg(
        long = "collector.link.page-include",
        value_name = "REGEX",
        conflicts_with = "page_exclude",
        value_parser = DevicePattern::new
    )]
    pub page_include: Option<DevicePattern>,

    /// Do not page for links whose whole name matches this regular expression, such as one of
    /// several equal uplinks.
    #[arg(
        long = "collector.link.page-exclude",
        value_name = "REGEX",
        value_parser = DevicePattern::new
    )]
    pub page_exclude: Option<DevicePattern>,
}

impl Flags {
    /// Which links may page.
    pub fn pages(&self) -> DeviceFilter {
        DeviceFilter::new(self.page_include.as_ref(), self.page_exclude.as_ref())
    }
}

/// A duration as Prometheus writes it: `1m30s`.
fn parse_duration(text: &str) -> anyhow::Result<Duration> {
    ensure!(
        !text.is_empty(),
        "it is empty: write a number and a unit, such as 60s"
    );
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit());
        let (number, after) = rest.split_at(digits.unwrap_or(rest.len()));
        let letters = after.find(|c: char| c.is_ascii_digit());
        let (unit, after) = after.split_at(letters.unwrap_or(after.len()));
        let millis = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => bail!("write a number and a unit (ms, s, m, h), such as 60s"),
        };
        let number: u64 = number
            .parse()
            .context("write a number and a unit, such as 60s")?;
        sum = sum.saturating_add(Duration::from_millis(number.saturating_mul(millis)));
        rest = after;
    }
    ensure!(sum <= MAX_SETTLE, "it can be an hour at most");
    Ok(sum)
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
        assert_eq!(flags.settle, Duration::from_secs(60));
        assert!(flags.pages().shows(&"eth0".into()));
    }

    #[test]
    fn a_duration_is_written_as_in_prometheus() {
        for (text, millis) in [
            ("0s", 0),
            ("500ms", 500),
            ("90s", 90_000),
            ("1m30s", 90_000),
            ("1h", 3_600_000),
        ] {
            let flags = parse(&[&format!("--collector.link.settle={text}")]).expect(text);
            assert_eq!(flags.settle, Duration::from_millis(millis), "{text}");
        }
        let huge = format!("{}s", u64::MAX);
        for text in [
            "",
            "60",
            "s",
            "1d",
            "-1s",
            "1.5s",
            "1h1ms",
            "1 s",
            "m1",
            "99999999999999999999s",
            &huge,
        ] {
            let flag = format!("--collector.link.settle={text}");
            assert!(parse(&[&flag]).is_err(), "{text}");
        }
    }

    #[test]
    fn pages_are_filtered_by_whole_names_and_one_filter_at_a_time() {
        let (eth0, eth10) = ("eth0".into(), "eth10".into());
        let flags = parse(&["--collector.link.page-include=eth0"]).expect("a good flag");
        assert_eq!(
            [&eth0, &eth10].map(|name| flags.pages().shows(name)),
            [true, false]
        );
        let flags = parse(&["--collector.link.page-exclude=eth0"]).expect("a good flag");
        assert_eq!(
            [&eth0, &eth10].map(|name| flags.pages().shows(name)),
            [false, true]
        );
        let both = [
            "--collector.link.page-include=a",
            "--collector.link.page-exclude=b",
        ];
        assert!(
            parse(&both)
                .expect_err("both")
                .contains("cannot be used with")
        );
        assert!(parse(&["--collector.link.page-exclude=["]).is_err());
    }
}
