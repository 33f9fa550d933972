//! `--log.format`: how a line of the log looks.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use env_logger::fmt::Formatter;
use log::{Level, Record};

use super::journal;

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
    /// As exporters in Go write it.
    Logfmt,
}

/// Writes a record as one line, after its priority if the log goes to the journal.
pub(super) fn write(
    formatter: &mut Formatter,
    record: &Record<'_>,
    is_journal: bool,
    line: fn(&str, &Record<'_>) -> String,
) -> io::Result<()> {
    if is_journal {
        write!(formatter, "{}", journal::priority(record.level()))?;
    }
    let time = formatter.timestamp_millis().to_string();
    writeln!(formatter, "{}", line(&time, record))
}

pub(super) fn json(time: &str, record: &Record<'_>) -> String {
    let (level, target) = (level(record), quoted(record.target()));
    let msg = quoted(&record.args().to_string());
    format!("{{\"time\":\"{time}\",\"level\":\"{level}\",\"target\":{target},\"msg\":{msg}}}")
}

pub(super) fn logfmt(time: &str, record: &Record<'_>) -> String {
    let (level, target) = (level(record), record.target());
    let msg = quoted(&record.args().to_string());
    format!("time={time} level={level} target={target} msg={msg}")
}

/// As log collectors know them: none of them has trace.
fn level(record: &Record<'_>) -> &'static str {
    match record.level() {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug | Level::Trace => "debug",
    }
}

/// As a string of JSON (RFC 8259, section 7), which logfmt takes, too.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => {
                // A string takes everything.
                write!(quoted, "\\u{:04x}", u32::from(c)).ok();
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_whatever_is_in_it() {
        let text = "eth\"0\\ \u{1b}[31m\nlevel=error é\u{85}";
        let args = format_args!("{text}");
        let record = Record::builder()
            .level(Level::Warn)
            .target("netdrop_exporter::web")
            .args(args)
            .build();
        let time = "2026-01-02T03:04:05.678Z";
        let line = json(time, &record);
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(value["msg"], text);
        assert_eq!(value["level"], "warn");
        assert_eq!(value["time"], time);
        assert_eq!(value["target"], "netdrop_exporter::web");
        assert_eq!(
            logfmt(time, &record),
            "time=2026-01-02T03:04:05.678Z level=warn target=netdrop_exporter::web \
             msg=\"eth\\\"0\\\\ \\u001b[31m\\nlevel=error é\\u0085\""
        );
    }
}
