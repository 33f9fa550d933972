//! The server of HTTP/1.1, also over TLS: metrics, health and a page for people.
//!
//! Every wait on a client has a bound, because the exporter must answer on a bad day: a client that
//! sends or reads slowly, or not at all, holds one of a limited number of connections for a limited
//! time, and loses it to others when there are too many ([`connections`]).

mod acceptor;
mod auth;
mod body;
mod config;
mod connection;
mod connections;
mod encoding;
mod gate;
mod healthcheck;
mod listen;
mod page;
mod path;
mod query;
mod rate_limit;
mod router;
mod scrape;
mod socket;
mod stream;
mod tls;
mod unsent;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use hyper_util::server::graceful::GracefulShutdown;
use log::{info, warn};
use procfs::process::{LimitValue, Process};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use acceptor::Acceptor;
pub use config::{WebConfig, directories};
use connection::Connection;
use connections::{Bounds, Connections, Evicted};
use gate::Gate;
pub use healthcheck::healthcheck;
pub use listen::{ListenAddress, Listener, bind, from_systemd};
pub use path::TelemetryPath;

use crate::metrics::Exposition;
use router::Router;
use socket::Listener as Bound;

/// How long clients may take, and how many there may be.
#[derive(Clone, Copy)]
struct Limits {
    /// From the connect, or from the previous response, to the end of the request's headers. Thus
    /// it also ends idle connections.
    header_timeout: Duration,
    /// From the connect to the end of the TLS handshake.
    handshake_timeout: Duration,
    /// How long a connection that the server closes waits for the client to close it too.
    linger: Duration,
    /// What all connections together may take.
    bounds: Bounds,
    /// How long a stop waits for responses under way.
    grace: Duration,
}

/// A scraper sends its headers at once. 20 s is above the usual 15 s between scrapes, which can then
/// keep their connection. A handshake takes some round trips. A client closes within a round trip of seeing the server do so. A pair of
/// Prometheus servers and a few people need some ten connections; the rest is for clients that hang.
/// The page of 1,000 links has 640 KB, or 40 compressed. A response of 30 s is past every scrape
/// timeout (Prometheus: 10 s). Scrapes take milliseconds, and systemd and Kubernetes kill 90 s and
/// 30 s after they asked to stop.
const LIMITS: Limits = Limits {
    header_timeout: Duration::from_secs(20),
    handshake_timeout: Duration::from_secs(10),
    linger: Duration::from_secs(1),
    bounds: Bounds {
        connections: 256,
        body_bytes: 4 * 1024 * 1024,
        response: Duration::from_secs(30),
    },
    grace: Duration::from_secs(5),
};

/// File descriptors that the rest of the exporter takes, with room to spare; 23 on two CPUs.
const OTHER_DESCRIPTORS: u64 = 64;

/// What is served.
pub struct Pages<'a> {
    /// Where the metrics are.
    pub telemetry_path: &'a TelemetryPath,
    /// What the metrics are.
    pub exposition: Arc<Exposition>,
    /// How many may ask for metrics at a time; 0 is no limit.
    pub max_requests: u32,
}

/// Serves pages to whom `config` lets in, until `shutdown` completes, then lets responses under way finish
/// for a moment.
///
/// # Errors
///
/// When a listener has no address, or its task panicked.
pub async fn serve(
    listeners: Vec<Listener>,
    pages: Pages<'_>,
    config: Arc<WebConfig>,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let Pages {
        telemetry_path,
        exposition,
        max_requests,
    } = pages;
    let router = Router::new(telemetry_path, exposition, max_requests);
    let limits = LIMITS.within_descriptors(descriptor_limit());
    serve_listeners(
        listeners,
        Arc::new(Gate::new(config, router)),
        limits,
        shutdown,
    )
    .await
}

/// How many files the process may have open, where it is told. From procfs, as a system-call filter may
/// refuse prlimit(2).
fn descriptor_limit() -> Option<u64> {
    let limits = Process::myself()
        .and_then(|process| process.limits())
        .ok()?;
    match limits.max_open_files.soft_limit {
        LimitValue::Value(files) => Some(files),
        LimitValue::Unlimited => None,
    }
}

impl Limits {
    /// With as many connections as so many file descriptors allow. Where these ran out first, nobody
    /// could be evicted for a newcomer.
    fn within_descriptors(mut self, descriptors: Option<u64>) -> Self {
        if let Some(left) = descriptors.map(|all| all.saturating_sub(OTHER_DESCRIPTORS).max(1))
            && left < self.bounds.connections as u64
        {
            warn!(
                "serving {left} connections at a time: raise the limit of open files (ulimit -n)"
            );
            self.bounds.connections = left as usize;
        }
        self
    }
}

async fn serve_listeners(
    listeners: Vec<Listener>,
    gate: Arc<Gate>,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let (stop, stopped) = watch::channel(());
    let connections = Connections::new(limits.bounds);
    let mut servers = JoinSet::new();
    for listener in listeners {
        let listener = Bound::try_from(listener).context("a listener cannot be watched")?;
        let is_tls = gate.config.current().tls.is_some();
        let url = listener.url(is_tls).context("a listener has no address")?;
        info!("listening on {url}");
        let server = Server {
            gate: Arc::clone(&gate),
            connections: connections.clone(),
            limits,
        };
        servers.spawn(server.run(listener, stopped.clone()));
    }
    tokio::select! {
        () = shutdown => {}
        // None ends before it is told to, unless it panics.
        Some(ended) = servers.join_next() => ended.context("the web server failed")?,
        never = connections.enforce_deadlines() => match never {},
    }
    drop(stop);
    while let Some(ended) = servers.join_next().await {
        ended.context("the web server failed")?;
    }
    Ok(())
}

/// Serves the connections of one listener.
struct Server {
    gate: Arc<Gate>,
    connections: Connections,
    limits: Limits,
}

impl Server {
    async fn run(self, listener: Bound, mut stopped: watch::Receiver<()>) {
        let graceful = GracefulShutdown::new();
        let mut acceptor = Acceptor::new(listener);
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                (stream, peer) = acceptor.accept() => {
                    let (place, evicted) = self.connections.admit(peer);
                    let connection = Connection {
                        gate: Arc::clone(&self.gate),
                        limits: self.limits,
                        peer,
                        place,
                        graceful: graceful.watcher(),
                    };
                    let serve = connection.serve(stream, stopped.clone());
                    tasks.spawn(unless_evicted(serve, evicted));
                }
                Some(_ended) = tasks.join_next() => {}
                // An error: the sender is gone, which is the signal.
                _gone = stopped.changed() => break,
            }
        }
        // Refuse at once what cannot be served any more.
        drop(acceptor);
        if timeout(self.limits.grace, graceful.shutdown())
            .await
            .is_err()
        {
            let left = tasks.len();
            warn!("closing {left} connections whose clients take too long");
        }
        // Dropping `tasks` ends those that are left.
    }
}

/// Runs until the connection has ended or lost its place.
async fn unless_evicted(serve: impl Future<Output = ()>, evicted: Evicted) {
    tokio::select! {
        () = serve => {}
        () = evicted.wait() => {}
    }
}

#[cfg(test)]
pub(crate) mod tests;
