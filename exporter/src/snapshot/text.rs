//! A report as lines for a terminal or a pipe.

use std::fmt::{self, Display, Write};

use anstyle::{AnsiColor, Style};

use crate::report::{DropReport, LinkReport, LinkState, Report};

const HEADING: Style = Style::new().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const WEAK: Style = Style::new().dimmed();

/// Titles of the columns of drops.
const TITLES: [&str; 9] = [
    "PACKETS", "PER S", "REASON", "CATEGORY", "FUNCTION", "STATE", "DEVICE", "NETNS", "MEANING",
];

/// How many columns of numbers there are; they are aligned to the right.
const NUMBERS: usize = 2;

/// The report as text, with colours; whoever prints it removes them where they are not wanted. `now` is in seconds
/// since 1970.
pub(super) fn render(report: &Report, now: f64) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let written = links(report, now, &mut text).and_then(|()| drops(report, &mut text));
    debug_assert!(written.is_ok());
    text
}

fn links(report: &Report, now: f64, text: &mut String) -> fmt::Result {
    if report.failed_collectors.iter().any(|name| name == "link") {
        return writeln!(
            text,
            "{BAD}Links are not known:{BAD:#} see the error above\n"
        );
    }
    if report.links.is_empty() {
        return writeln!(text, "{HEADING}No link is down or flapped.{HEADING:#}\n");
    }
    writeln!(text, "{HEADING}Links{HEADING:#}")?;
    for link in &report.links {
        writeln!(text, "  {}", line(link, now))?;
    }
    writeln!(text)
}

/// `eth0: no carrier for 12 s: no cable (mlx5_core), 8 packets lost`.
fn line(link: &LinkReport, now: f64) -> String {
    let style = match link.state {
        LinkState::NoCarrier => BAD,
        LinkState::AdminDown | LinkState::Up => Style::new(),
    };
    let state = match link.state {
        LinkState::NoCarrier => "no carrier",
        LinkState::Up => "up again",
        LinkState::AdminDown => "set down",
    };
    let mut line = format!("{style}{}: {state}{style:#}", escaped(&link.device));
    let mut add = |words: String| line.push_str(&words);
    if let (LinkState::NoCarrier, Some(since)) = (link.state, link.since) {
        add(format!(" for {}", age(now - since)));
    }
    if !link.reason.is_empty() {
        add(format!(": {}", link.reason));
    }
    let what = if link.driver.is_empty() {
        &link.kind
    } else {
        &link.driver
    };
    if !what.is_empty() {
        add(format!(" ({})", escaped(what)));
    }
    match link.carrier_losses {
        0 => {}
        1 => add(", lost carrier once".to_owned()),
        times => add(format!(", lost carrier {times} times")),
    }
    match link.lost_packets {
        0 => {}
        1 => add(", 1 packet lost".to_owned()),
        packets => add(format!(", {} packets lost", grouped(packets))),
    }
    line
}

fn drops(report: &Report, text: &mut String) -> fmt::Result {
    if report.failed_collectors.iter().any(|name| name == "drops") {
        return writeln!(text, "{BAD}Drops are not known:{BAD:#} see the error above");
    }
    let time = age(report.seconds);
    let all = report.categories.values().sum::<u64>() + report.unattributed;
    if all == 0 {
        return writeln!(text, "{HEADING}No packet was dropped in {time}.{HEADING:#}");
    }
    let categories: Vec<_> = (report.categories.iter())
        .map(|(category, packets)| format!("{category} {}", grouped(*packets)))
        .collect();
    writeln!(
        text,
        "{HEADING}{} dropped in {time}{HEADING:#} ({})",
        packets(all),
        categories.join(", ")
    )?;
    if report.unattributed > 0 {
        writeln!(
            text,
            "  {} without reason, function, state and device: see netdrop_unattributed_packets_total",
            packets(report.unattributed)
        )?;
    }
    table(&report.drops, text)
}

fn table(drops: &[DropReport], text: &mut String) -> fmt::Result {
    let rows: Vec<_> = drops.iter().map(cells).collect();
    let widths: Vec<_> = (0..TITLES.len())
        .map(|column| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.chain([TITLES[column].len()]).max().unwrap_or(0)
        })
        .collect();
    let titles = TITLES.map(str::to_owned);
    writeln!(text, "  {WEAK}{}{WEAK:#}", aligned(&titles, &widths))?;
    for (drop, row) in drops.iter().zip(&rows) {
        let style = match drop.category {
            "link" => BAD,
            "expected" => WEAK,
            _ => Style::new(),
        };
        writeln!(text, "  {style}{}{style:#}", aligned(row, &widths))?;
    }
    Ok(())
}

fn cells(drop: &DropReport) -> [String; 9] {
    [
        grouped(drop.packets),
        format!("{:.1}", drop.rate),
        or_dash(&drop.reason),
        drop.category.to_owned(),
        or_dash(&drop.function),
        or_dash(&drop.state),
        or_dash(&drop.device),
        or_dash(&drop.netns),
        drop.meaning.to_owned(),
    ]
}

fn aligned(cells: &[String; 9], widths: &[usize]) -> String {
    let mut line = String::new();
    for (column, (cell, &width)) in cells.iter().zip(widths).enumerate() {
        let padding = " ".repeat(width - cell.chars().count());
        let gap = if column == 0 { "" } else { "  " };
        let (before, after) = if column < NUMBERS {
            (&*padding, "")
        } else {
            ("", &*padding)
        };
        line += &format!("{gap}{before}{cell}{after}");
    }
    line.trim_end().to_owned()
}

fn or_dash(label: &str) -> String {
    if label.is_empty() {
        "-".to_owned()
    } else {
        escaped(label)
    }
}

/// Names come from whoever made the device: no control character of theirs reaches the terminal.
fn escaped(name: &str) -> String {
    name.chars()
        .flat_map(|c| {
            let safe = !c.is_control();
            let escape = (!safe).then(|| c.escape_default());
            escape.into_iter().flatten().chain(safe.then_some(c))
        })
        .collect()
}

fn packets(number: u64) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} packet{plural}", grouped(number))
}

/// 1234567 as `1,234,567`.
fn grouped(number: impl Display) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Seconds as `30 ms`, `0.4 s`, `12 s`, `3 min` or `2 h`.
fn age(seconds: f64) -> String {
    match seconds.max(0.0) {
        s if s < 0.1 => format!("{:.0} ms", s * 1000.0),
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.0} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn report() -> Report {
        Report {
            seconds: 10.0,
            links: vec![LinkReport {
                device: "eth0\u{1b}[2J".to_owned(),
                kind: String::new(),
                driver: "mlx5_core".to_owned(),
                state: LinkState::NoCarrier,
                since: Some(100.0),
                reason: "no cable".to_owned(),
                carrier_losses: 1,
                lost_packets: 1234,
            }],
            drops: vec![DropReport {
                reason: "QDISC_DROP".to_owned(),
                category: "link",
                meaning: "the link was down",
                function: "__dev_queue_xmit".to_owned(),
                state: "SYN_SENT".to_owned(),
                device: "eth0".to_owned(),
                netns: String::new(),
                packets: 1234,
                rate: 123.4,
            }],
            categories: BTreeMap::from([("link", 1234)]),
            unattributed: 1,
            failed_collectors: Vec::new(),
        }
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn a_report_is_links_first_then_a_table_of_drops() {
        let text = plain(&render(&report(), 112.0));
        let expected = "\
Links
  eth0\\u{1b}[2J: no carrier for 12 s: no cable (mlx5_core), lost carrier once, 1,234 packets lost

1,235 packets dropped in 10 s (link 1,234)
  1 packet without reason, function, state and device: see netdrop_unattributed_packets_total
  PACKETS  PER S  REASON      CATEGORY  FUNCTION          STATE     DEVICE  NETNS  MEANING
    1,234  123.4  QDISC_DROP  link      __dev_queue_xmit  SYN_SENT  eth0    -      the link was down
";
        assert_eq!(text, expected);
    }

    #[test]
    fn nothing_and_failure_are_told_apart() {
        let nothing = Report {
            links: Vec::new(),
            drops: Vec::new(),
            categories: BTreeMap::new(),
            unattributed: 0,
            ..report()
        };
        let text = plain(&render(&nothing, 0.0));
        assert_eq!(
            text,
            "No link is down or flapped.\n\nNo packet was dropped in 10 s.\n"
        );
        let failed = Report {
            failed_collectors: vec!["drops".to_owned(), "link".to_owned()],
            ..nothing
        };
        let text = plain(&render(&failed, 0.0));
        assert!(text.contains("Links are not known") && text.contains("Drops are not known"));
    }

    #[test]
    fn numbers_and_ages_are_readable() {
        assert_eq!(
            ["1", "999", "1000", "1234567"].map(grouped),
            ["1", "999", "1,000", "1,234,567"]
        );
        let ages = [-1.0, 0.03, 0.42, 12.3, 600.0, 90_000.0].map(age);
        assert_eq!(ages, ["0 ms", "30 ms", "0.4 s", "12 s", "10 min", "25 h"]);
    }
}
