//! `netdrop-exporter snapshot`: the collectors without a server, for a person at a terminal and for scripts.
//!
//! It opens the collectors as the daemon does, gives up all privileges, reads them twice and prints what happened in
//! between. It runs beside a daemon and beside itself.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context;
use prometheus::proto::MetricFamily;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{interval, sleep_until},
};

use crate::{
    cli::SnapshotArgs,
    collectors::{Collectors, Common},
    devices::DeviceFilter,
    logging,
    metrics::Exposition,
    privileges::{self, Privileged},
    report::Report,
};

mod text;

/// The exit status for drops that `--fail-on` names.
const EXIT_DROPS: u8 = 3;

/// The exit status of a shell for a program that SIGINT ended.
const EXIT_INTERRUPTED: u8 = 130;

/// How often the progress is drawn.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// Back to the top left corner, and everything below it cleared (ECMA-48: CUP, ED).
const REDRAW: &str = "\x1b[H\x1b[J";

/// Runs the command.
///
/// # Errors
///
/// It cannot start, or standard output cannot be written. Must be called within the event loop.
pub async fn run(args: SnapshotArgs) -> anyhow::Result<ExitCode> {
    let mut interrupted = signal(SignalKind::interrupt()).context("watch for SIGINT")?;
    let output = Output {
        json: args.json,
        redraw: args.watch && io::stdout().is_terminal(),
    };
    let (time, watch, fail_on) = (args.time, args.watch, args.fail_on.clone());
    let collectors = start(args)?;
    let exposition = &collectors.exposition;
    let mut failure_seen = false;
    let mut before = read(exposition).await?;
    let mut since = Instant::now();
    loop {
        let stopped = tokio::select! {
            () = wait(time) => false,
            _ = interrupted.recv() => true,
        };
        let (after, now) = (read(exposition).await?, Instant::now());
        let report = Report::between(&before, &after, now - since);
        (before, since) = (after, now);
        failure_seen |= fail_on
            .iter()
            .any(|c| report.categories.contains_key(c.as_str()));
        let goes_on = output.print(&report)? && watch && !stopped;
        if !goes_on {
            return Ok(match () {
                () if stopped => EXIT_INTERRUPTED.into(),
                () if !report.failed_collectors.is_empty() => ExitCode::FAILURE,
                () if failure_seen => EXIT_DROPS.into(),
                () => ExitCode::SUCCESS,
            });
        }
    }
}

/// The collectors of the daemon, started without privileges.
fn start(args: SnapshotArgs) -> anyhow::Result<Collectors> {
    let privileged = Privileged::at_start();
    let common = Common::new(&args.procfs, &args.sysfs, DeviceFilter::All);
    args.collectors.start_helpers(&common, &privileged);
    let confined = privileges::confine(&[&args.procfs, &args.sysfs]);
    let opened = args.collectors.open(common, &privileged);
    let unprivileged = privileges::give_up(privileged, || opened.work_now())?;
    logging::write_in_background(&unprivileged)?;
    if let Err(e) = confined {
        log::log!(e.level(), "file accesses are not confined: {e}");
    }
    Ok(opened.start(&unprivileged))
}

/// What all collectors say now. The event loop goes on meanwhile.
async fn read(exposition: &Arc<Exposition>) -> anyhow::Result<Vec<MetricFamily>> {
    let exposition = Arc::clone(exposition);
    tokio::task::spawn_blocking(move || exposition.families())
        .await
        .context("read the collectors")
}

/// Waits, and shows the progress where somebody sees it.
async fn wait(time: Duration) {
    let end = Instant::now() + time;
    let shown = io::stderr().is_terminal() && io::stdout().is_terminal();
    let mut ticks = interval(PROGRESS_INTERVAL);
    let done = sleep_until(end.into());
    tokio::pin!(done);
    loop {
        tokio::select! {
            () = &mut done => break,
            _ = ticks.tick(), if shown => {
                let left = end.saturating_duration_since(Instant::now());
                eprint!("\r{}", bar(1.0 - left.as_secs_f64() / time.as_secs_f64(), left));
            }
        }
    }
    if shown {
        // Clears the line (ECMA-48: EL).
        eprint!("\r\x1b[K");
    }
}

/// `[#####     ] 5 s left`.
fn bar(done: f64, left: Duration) -> String {
    const WIDTH: usize = 30;
    let full = (done.clamp(0.0, 1.0) * WIDTH as f64) as usize;
    let (full, empty) = ("#".repeat(full), " ".repeat(WIDTH - full));
    format!("[{full}{empty}] {:.0} s left ", left.as_secs_f64().ceil())
}

/// How reports are printed.
struct Output {
    json: bool,
    redraw: bool,
}

impl Output {
    /// Prints a report; false if nobody reads any more.
    fn print(&self, report: &Report) -> anyhow::Result<bool> {
        let mut out = anstream::stdout().lock();
        let written = if self.json {
            serde_json::to_writer(&mut out, report)
                .map_err(io::Error::from)
                .and_then(|()| writeln!(out))
        } else {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            let now = now.map_or(0.0, |since| since.as_secs_f64());
            let above = if self.redraw { REDRAW } else { "" };
            write!(out, "{above}{}", text::render(report, now))
        };
        match written.and_then(|()| out.flush()) {
            Ok(()) => Ok(true),
            // As `head` does when it has seen enough.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(e) => Err(e).context("write to standard output"),
        }
    }
}
