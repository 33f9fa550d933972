//! Signals: signal(7) has what they do to a process that does not handle them.
//!
//! SIGTERM and SIGINT stop the exporter; SIGHUP makes it read the web configuration again. All else that
//! would end it without a core dump does not: log rotation and reload scripts send SIGHUP or SIGUSR1 to
//! whatever matches a pattern, and systemd takes an end by SIGHUP for a clean one, after which
//! `Restart=on-failure` does nothing. Users of node_exporter know it so, for all but SIGHUP, from Go's runtime.

use std::sync::Arc;

use anyhow::Context;
use log::Level;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{service, web::WebConfig};

/// Signals that end a process by default. Who sends the first two means the exporter, and is answered in
/// the log; the others come from timers and the like. SIGPIPE is not here: Rust ignores it.
const IGNORED: [(libc::c_int, Level, &str); 8] = [
    (libc::SIGUSR1, Level::Info, "SIGUSR1"),
    (libc::SIGUSR2, Level::Info, "SIGUSR2"),
    (libc::SIGALRM, Level::Debug, "SIGALRM"),
    (libc::SIGVTALRM, Level::Debug, "SIGVTALRM"),
    (libc::SIGPROF, Level::Debug, "SIGPROF"),
    (libc::SIGIO, Level::Debug, "SIGIO"),
    (libc::SIGPWR, Level::Debug, "SIGPWR"),
    (libc::SIGSTKFLT, Level::Debug, "SIGSTKFLT"),
];

/// Why a signal is ignored.
const NOTHING: &str = "flags hold until a restart, and there is nothing to reload";

/// SIGHUP, which waits until somebody can do something about it.
pub struct Hangups(Signal);

/// From now on only SIGTERM and SIGINT stop the exporter: by the future that is returned. Must be called
/// within the event loop.
///
/// # Errors
///
/// The kernel does not let a signal be handled.
pub fn handle() -> anyhow::Result<(impl Future<Output = ()>, Hangups)> {
    let mut term = watch(libc::SIGTERM, "SIGTERM")?;
    let mut int = watch(libc::SIGINT, "SIGINT")?;
    let hangups = Hangups(watch(libc::SIGHUP, "SIGHUP")?);
    for (number, level, name) in IGNORED {
        tokio::spawn(ignore(watch(number, name)?, level, name));
    }
    for number in libc::SIGRTMIN()..=libc::SIGRTMAX() {
        let name = "a real-time signal";
        tokio::spawn(ignore(watch(number, name)?, Level::Debug, name));
    }
    let stopped = async move {
        tokio::select! {
            _ = term.recv() => log::info!("stopping on SIGTERM"),
            _ = int.recv() => log::info!("stopping on SIGINT"),
        }
        service::stopping();
    };
    Ok((stopped, hangups))
}

impl Hangups {
    /// From now on each has the web configuration read again. Must be called within the event loop.
    pub fn reload(mut self, config: Arc<WebConfig>) {
        tokio::spawn(async move {
            while self.0.recv().await.is_some() {
                if !config.reload() {
                    log::info!("ignoring SIGHUP: {NOTHING}");
                }
            }
        });
    }
}

fn watch(number: libc::c_int, name: &str) -> anyhow::Result<Signal> {
    signal(SignalKind::from_raw(number)).with_context(|| format!("watch for {name}"))
}

async fn ignore(mut signal: Signal, level: Level, name: &str) {
    while signal.recv().await.is_some() {
        log::log!(level, "ignoring {name}: {NOTHING}");
    }
}
