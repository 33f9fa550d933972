//! Signals: signal(7) has what they do to a process that does not handle them.
//!
//! SIGTERM and SIGINT stop the exporter. All else that would end it without a core dump does not: log
//! rotation and reload scripts send SIGHUP or SIGUSR1 to whatever matches a pattern, and systemd takes an
//! end by SIGHUP for a clean one, after which `Restart=on-failure` does nothing. Users of node_exporter know
//! it so, for all but SIGHUP, from Go's runtime.

use anyhow::Context;
use log::Level;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::service;

/// Signals that end a process by default. Who sends the first three means the exporter, and is answered in
/// the log; the others come from timers and the like. SIGPIPE is not here: Rust ignores it.
const IGNORED: [(libc::c_int, Level, &str); 9] = [
    (libc::SIGHUP, Level::Info, "SIGHUP"),
    (libc::SIGUSR1, Level::Info, "SIGUSR1"),
    (libc::SIGUSR2, Level::Info, "SIGUSR2"),
    (libc::SIGALRM, Level::Debug, "SIGALRM"),
    (libc::SIGVTALRM, Level::Debug, "SIGVTALRM"),
    (libc::SIGPROF, Level::Debug, "SIGPROF"),
    (libc::SIGIO, Level::Debug, "SIGIO"),
    (libc::SIGPWR, Level::Debug, "SIGPWR"),
    (libc::SIGSTKFLT, Level::Debug, "SIGSTKFLT"),
];

/// From now on only SIGTERM and SIGINT stop the exporter: by the future that is returned. Must be called
/// within the event loop.
///
/// # Errors
///
/// The kernel does not let a signal be handled.
pub fn handle() -> anyhow::Result<impl Future<Output = ()>> {
    let mut term = watch(libc::SIGTERM, "SIGTERM")?;
    let mut int = watch(libc::SIGINT, "SIGINT")?;
    for (number, level, name) in IGNORED {
        tokio::spawn(ignore(watch(number, name)?, level, name));
    }
    for number in libc::SIGRTMIN()..=libc::SIGRTMAX() {
        let name = "a real-time signal";
        tokio::spawn(ignore(watch(number, name)?, Level::Debug, name));
    }
    Ok(async move {
        tokio::select! {
            _ = term.recv() => log::info!("stopping on SIGTERM"),
            _ = int.recv() => log::info!("stopping on SIGINT"),
        }
        service::stopping();
    })
}

fn watch(number: libc::c_int, name: &str) -> anyhow::Result<Signal> {
    signal(SignalKind::from_raw(number)).with_context(|| format!("watch for {name}"))
}

async fn ignore(mut signal: Signal, level: Level, name: &str) {
    while signal.recv().await.is_some() {
        log::log!(
            level,
            "ignoring {name}: flags hold until a restart, and there is nothing to reload"
        );
    }
}
