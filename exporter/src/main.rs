//! The start-up story: flags, logging, collectors, server, stop.
//!
//! Exit status: 0 after SIGTERM or SIGINT, 1 if it cannot serve, 2 for a flag it does not
//! understand. A collector that cannot start is no reason to end: the others go on.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use log::LevelFilter;
use netdrop_exporter::{
    cli::Args,
    drops::{self, DropCollector, netns},
    metrics::Exposition,
    process::ProcessCollector,
    web,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

/// How often the kernel's maps are drained between scrapes. They must not fill up, and a host
/// makes some hundreds of keys a minute, not thousands.
const DRAIN_INTERVAL: Duration = Duration::from_secs(5);

/// One: drains and scrapes wait for each other anyway, and each thread more would have a heap of
/// its own.
const BLOCKING_THREADS: usize = 1;

/// How long a stop waits for a drain or a scrape that is under way.
const STOP_GRACE: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let args = Args::parse_or_exit();
    log_to_stderr(args.log_level);
    match serve_until_stopped(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            log::error!("{e:#}");
            ExitCode::FAILURE
        }
    }
}

fn log_to_stderr(level: LevelFilter) {
    env_logger::Builder::new()
        .filter_level(level)
        // Its relocations fill pages at debug level.
        .filter_module("aya", level.min(LevelFilter::Info))
        .filter_module("aya_obj", level.min(LevelFilter::Info))
        .init();
}

/// One thread serves all connections, another drains and scrapes, which block.
fn serve_until_stopped(args: Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .context("start the event loop")?;
    let served = runtime.block_on(serve(args));
    runtime.shutdown_timeout(STOP_GRACE);
    served
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let stopped = stop_signal()?;
    let listeners = web::bind(&args.listen_addresses)?
        .into_iter()
        .map(TcpListener::from_std)
        .collect::<Result<_, _>>()?;
    let mut exposition = Exposition::new();
    exposition.add(Box::new(ProcessCollector::new(&args.procfs)));
    if args.drops {
        start_drops(&args, &mut exposition);
    }
    web::serve(
        listeners,
        args.telemetry_path,
        Arc::new(exposition),
        stopped,
    )
    .await
}

fn start_drops(args: &Args, exposition: &mut Exposition) {
    let config = drops::Config {
        procfs: args.procfs.clone(),
        sysfs: args.sysfs.clone(),
        max_entries: args.max_entries,
        max_series: args.max_series as usize,
        bytes: args.bytes,
        scope: if args.all_netns {
            netns::Scope::All(netns::RUN_NETNS.into())
        } else {
            netns::Scope::Own
        },
        filter: args.device_filter(),
    };
    match DropCollector::start(config) {
        Ok(collector) => {
            let collector = Arc::new(collector);
            tokio::spawn(drain_regularly(Arc::clone(&collector)));
            exposition.add(Box::new(collector));
        }
        Err(e) => {
            log::error!("cannot count drops: {e:#}");
            exposition.add_failed("drops");
        }
    }
}

async fn drain_regularly(collector: Arc<DropCollector>) {
    let mut interval = tokio::time::interval(DRAIN_INTERVAL);
    loop {
        interval.tick().await;
        let collector = Arc::clone(&collector);
        match tokio::task::spawn_blocking(move || collector.drain()).await {
            Ok(Ok(())) => {}
            // The next scrape meets the same error, and reports it.
            Ok(Err(e)) => log::debug!("a drain failed: {e:#}"),
            Err(e) => log::error!("a drain panicked: {e}"),
        }
    }
}

/// Completes on SIGTERM or SIGINT.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut term = signal(SignalKind::terminate()).context("watch for SIGTERM")?;
    let mut int = signal(SignalKind::interrupt()).context("watch for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => log::info!("stopping on SIGTERM"),
            _ = int.recv() => log::info!("stopping on SIGINT"),
        }
    })
}
