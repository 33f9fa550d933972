//! The log, on standard error. It never makes the exporter wait: what standard error does not take is
//! kept for a while, and then dropped and counted.
//!
//! In systemd's journal lines have priorities and the journal's own time; elsewhere they begin with the
//! time.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io::{self, Write},
    panic::{self, PanicHookInfo},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use env_logger::{Target, fmt::Formatter};
use log::{Level, LevelFilter, Record};

use crate::privileges::Unprivileged;

mod format;
mod journal;
mod queue;

pub use format::Format;
use queue::{Lost, Queue};

/// How long the end of the process waits for a reader of the log. One that reads takes milliseconds.
const FLUSH: Duration = Duration::from_secs(1);

static QUEUE: Queue = Queue::new();

/// Begins to log what is at least as severe as `level`, also panics. Until [`write_in_background`] this
/// thread writes, as far as that does not block.
pub fn start(level: LevelFilter, format: Format) -> Flush {
    let mut logger = env_logger::Builder::new();
    logger
        .filter_level(level)
        // Its warnings come before an error that is reported; its relocations fill pages at debug level.
        .filter_module("aya", level.min(LevelFilter::Error))
        .filter_module("aya_obj", level.min(LevelFilter::Info))
        .target(Target::Pipe(Box::new(ToQueue)));
    let is_journal = journal::is_stderr();
    match format {
        Format::Text if is_journal => {
            logger.format(for_journal);
        }
        Format::Text => {}
        Format::Json => {
            logger.format(move |to, record| format::write(to, record, is_journal, format::json));
        }
        Format::Logfmt => {
            logger.format(move |to, record| format::write(to, record, is_journal, format::logfmt));
        }
    }
    logger.init();
    panic::set_hook(Box::new(log_panic));
    Flush
}

/// From now on a thread of its own writes the log. It has the capabilities of the one that starts it,
/// which are none.
///
/// # Errors
///
/// No thread can be had.
pub fn write_in_background(_: &Unprivileged) -> anyhow::Result<()> {
    let write = || QUEUE.write_for_ever(io::stderr(), tell);
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(write)
        .context("start the thread that writes the log")?;
    Ok(())
}

/// What begins a line that is written to standard error without the logger.
pub fn prefix(level: Level) -> &'static str {
    if journal::is_stderr() {
        journal::priority(level)
    } else {
        ""
    }
}

/// "this", "this and that", or "this, that and more".
pub fn list(items: &[impl AsRef<str>]) -> String {
    match items {
        [] => "nothing".to_owned(),
        [one] => one.as_ref().to_owned(),
        [most @ .., last] => {
            let most: Vec<_> = most.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", most.join(", "), last.as_ref())
        }
    }
}

/// Writes what is left of the log when it is dropped, also by a panic, but does not wait for long.
#[must_use = "the last lines are lost without it"]
pub struct Flush;

impl Drop for Flush {
    fn drop(&mut self) {
        let deadline = Instant::now() + FLUSH;
        QUEUE.write_until(io::stderr(), deadline);
        QUEUE.wait_until_written(deadline);
    }
}

/// Where the logger writes its lines.
struct ToQueue;

impl Write for ToQueue {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        QUEUE.push(lines);
        QUEUE.write_until(io::stderr(), Instant::now());
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Each line has a priority, or the journal would take it for one of its own.
fn for_journal(formatter: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let (level, target) = (record.level(), record.target());
    let priority = journal::priority(level);
    for line in record.args().to_string().lines() {
        writeln!(formatter, "{priority}[{level:<5} {target}] {line}")?;
    }
    Ok(())
}

/// Tells of lines that were lost, at the least severe level that is logged up to warnings.
fn tell(lost: Lost) {
    let level = log::max_level().to_level().unwrap_or(Level::Error);
    let Lost { lines, error } = lost;
    let lines = format!("{lines} log line{}", if lines == 1 { "" } else { "s" });
    match error {
        None => log::log!(
            level.min(Level::Warn),
            "dropped {lines} because stderr was not read"
        ),
        Some(error) => log::log!(
            level.min(Level::Warn),
            "dropped {lines}: cannot write to stderr: {error}"
        ),
    }
}

/// In one line, but for the backtrace, which only comes when `RUST_BACKTRACE` asks for it.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let current = thread::current();
    let thread = current.name().unwrap_or("without a name");
    let place = panic
        .location()
        .map(ToString::to_string)
        .unwrap_or_default();
    let why = panic
        .payload_as_str()
        .unwrap_or("no message")
        .replace('\n', " ");
    log::error!("thread {thread} panicked at {place}: {why}");
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        log::error!("backtrace:\n{backtrace}");
    }
}
