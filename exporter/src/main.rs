//! The start-up story: flags, logging, listeners, privileges, collectors, server, stop.
//!
//! Exit status: 0 after SIGTERM or SIGINT, 1 if it cannot serve, 2 for a flag it does not
//! understand. A collector that cannot start is no reason to end: the others go on.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use log::LevelFilter;
use netdrop_exporter::{
    cli::{Command, ServeArgs},
    collectors::optics,
    error::one_line,
    heap, kernel, logging,
    metrics::{REVISION, VERSION},
    privileges::{self, Privileged},
    service, signals, snapshot,
    web::{self, WebConfig},
};

/// One: drains and scrapes wait for each other anyway, and each thread more would have a heap of
/// its own.
const BLOCKING_THREADS: usize = 1;

/// How long a stop waits for a drain or a scrape that is under way.
const STOP_GRACE: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    heap::share_arena();
    let command = Command::parse_or_exit();
    let _flush = match &command {
        Command::Serve(args) => logging::start(args.log_level, args.log_format),
        Command::Snapshot(_) | Command::Healthcheck(_) => {
            logging::start(LevelFilter::Warn, logging::Format::Text)
        }
        Command::OpticsHelper => optics::helper::run(),
    };
    run(command).unwrap_or_else(|e| {
        log::error!("{}", one_line(&e));
        ExitCode::FAILURE
    })
}

/// Reads what the flags name as the exporter would, without privileges.
fn check(args: &ServeArgs) -> anyhow::Result<()> {
    let confined = privileges::confine(&args.readable());
    privileges::give_up(Privileged::at_start(), || true)?;
    WebConfig::load(args.web_config.as_deref())?;
    if let Err(e) = confined {
        log::log!(e.level(), "file accesses are not confined: {e}");
    }
    log::info!("the configuration is good");
    Ok(())
}

/// One thread serves all connections, another drains and scrapes, which block.
fn run(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .context("start the event loop")?;
    let status = runtime.block_on(async {
        match command {
            Command::Serve(args) if args.config_check => check(&args),
            Command::Serve(args) => serve(args).await,
            Command::Snapshot(args) => return snapshot::run(args).await,
            Command::Healthcheck(args) => args.ask(),
            // It has long begun, before there was anything that it could share.
            Command::OpticsHelper => optics::helper::run(),
        }
        .map(|()| ExitCode::SUCCESS)
    });
    runtime.shutdown_timeout(STOP_GRACE);
    status
}

async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let (stopped, hangups) = signals::handle()?;
    let listeners = args.listeners()?;
    let privileged = Privileged::at_start();
    let common = args.common();
    args.collectors.start_helpers(&common, &privileged);
    let confined = privileges::confine(&args.readable());
    let opened = args.collectors.open(common, &privileged);
    // Before the first thread: each has its own.
    let unprivileged = privileges::give_up(privileged, || opened.work_now())?;
    logging::write_in_background(&unprivileged)?;
    log::info!(
        "netdrop-exporter {VERSION} (revision {REVISION}) on Linux {}: {}; {unprivileged}",
        kernel::release(),
        opened.sight()
    );
    if let Err(e) = confined {
        log::log!(e.level(), "file accesses are not confined: {e}");
    }
    // Only now, so that what can be read can be read again later.
    let config = Arc::new(WebConfig::load(args.web_config.as_deref())?);
    hangups.reload(Arc::clone(&config));
    let collectors = opened.start(&unprivileged);
    heap::trim_code();
    service::ready(&collectors.status());
    let pages = web::Pages {
        telemetry_path: &args.telemetry_path,
        exposition: Arc::clone(&collectors.exposition),
        max_requests: args.max_requests,
    };
    web::serve(listeners, pages, config, stopped).await
}
