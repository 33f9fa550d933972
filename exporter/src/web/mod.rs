//! The HTTP/1.1 server: metrics, health and a landing page.
//!
//! Every wait on a client has a bound, because the exporter must answer on a bad day: a client that
//! sends or reads slowly, or not at all, holds one of a limited number of connections for a limited
//! time.

mod encoding;
mod landing;
mod linger;
mod listen;
mod path;
mod routes;
mod scrape;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use log::{debug, info, warn};
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use linger::Lingering;
pub use listen::{ListenAddress, bind};
pub use path::TelemetryPath;

use crate::metrics::Exposition;
use routes::Site;
use scrape::Scraper;

/// How long clients may take, and how many there may be.
#[derive(Clone, Copy)]
struct Limits {
    /// From the connect, or from the previous response, to the end of the request's headers. Thus
    /// it also ends idle connections.
    header_timeout: Duration,
    /// How long sent bytes may stay unacknowledged, or the client's receive window closed.
    stall_timeout: Duration,
    /// How long a connection that the server closes waits for the client to close it too.
    linger: Duration,
    /// Open connections per listener; more wait in the kernel's backlog.
    connections: usize,
    /// How long a stop waits for responses under way.
    grace: Duration,
}

/// A scraper sends its headers at once. 20 s is above the usual 15 s between scrapes, which can then
/// keep their connection. A stall of 30 s is past every scrape timeout (Prometheus: 10 s). A client
/// closes within a round trip of seeing the server do so. A pair of Prometheus servers and a few people need
/// some ten connections; the rest is for clients that hang. Scrapes take milliseconds, and systemd and
/// Kubernetes kill 90 s and 30 s after they asked to stop.
const LIMITS: Limits = Limits {
    header_timeout: Duration::from_secs(20),
    stall_timeout: Duration::from_secs(30),
    linger: Duration::from_secs(1),
    connections: 256,
    grace: Duration::from_secs(5),
};

/// The head of a request. Proxies add a few kilobytes at most; hyper wants 8 KiB or more.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// The pause after an accept that failed for want of something, such as file descriptors: short for
/// a scraper that waits, long for a CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves `exposition` at `telemetry_path` until `shutdown` completes, then lets responses under way
/// finish for a moment.
///
/// # Errors
///
/// When a listener has no address, or its task panicked.
pub async fn serve(
    listeners: Vec<TcpListener>,
    telemetry_path: &TelemetryPath,
    exposition: Arc<Exposition>,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let site = Site::new(telemetry_path, Scraper::start(exposition));
    serve_site(listeners, Arc::new(site), LIMITS, shutdown).await
}

async fn serve_site(
    listeners: Vec<TcpListener>,
    site: Arc<Site>,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let (stop, stopped) = watch::channel(());
    let mut servers = JoinSet::new();
    for listener in listeners {
        let address = listener.local_addr().context("a listener has no address")?;
        info!("listening on http://{address}");
        let server = Server {
            site: Arc::clone(&site),
            limits,
        };
        servers.spawn(server.run(listener, stopped.clone()));
    }
    tokio::select! {
        () = shutdown => {}
        // None ends before it is told to, unless it panics.
        Some(ended) = servers.join_next() => ended.context("the web server failed")?,
    }
    drop(stop);
    while let Some(ended) = servers.join_next().await {
        ended.context("the web server failed")?;
    }
    Ok(())
}

/// Serves the connections of one listener.
struct Server {
    site: Arc<Site>,
    limits: Limits,
}

impl Server {
    async fn run(self, listener: TcpListener, mut stopped: watch::Receiver<()>) {
        let graceful = GracefulShutdown::new();
        let mut acceptor = Acceptor {
            listener,
            failing: false,
        };
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                stream = acceptor.accept(), if connections.len() < self.limits.connections => {
                    connections.spawn(self.talk(stream, graceful.watcher()));
                }
                Some(_ended) = connections.join_next() => {}
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
            let left = connections.len();
            warn!("closing {left} connections whose clients take too long");
        }
        // Dropping `connections` ends those that are left.
    }

    /// Answers the requests of one connection until either side closes it.
    fn talk(&self, stream: TcpStream, graceful: Watcher) -> impl Future<Output = ()> + use<> {
        if let Err(error) = bound_stalls(&stream, self.limits.stall_timeout) {
            debug!("cannot bound a connection's stalls: {error}");
        }
        let stream = Lingering::new(stream, self.limits.linger);
        let site = Arc::clone(&self.site);
        let answer = service_fn(move |request| {
            let site = Arc::clone(&site);
            async move { Ok::<_, Infallible>(site.answer(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // RFC 9112, section 9.6: who sends no more may still want an answer.
            .half_close(true)
            .header_read_timeout(self.limits.header_timeout)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), answer);
        let connection = graceful.watch(connection);
        async move {
            if let Err(error) = connection.await {
                // The client's doing; nothing for an operator.
                debug!("a connection ended: {error}");
            }
        }
    }
}

/// Has the kernel end a connection whose client takes no more data. hyper has no such time-out, and
/// a closed receive window would otherwise hold the connection for ever. tcp(7), `TCP_USER_TIMEOUT`;
/// that it covers closed windows is in `tcp_probe_timer` of `net/ipv4/tcp_timer.c`.
fn bound_stalls(stream: &TcpStream, after: Duration) -> rustix::io::Result<()> {
    let after_ms = u32::try_from(after.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(stream, after_ms)
}

/// Accepts, come what may.
struct Acceptor {
    listener: TcpListener,
    failing: bool,
}

impl Acceptor {
    /// The next connection. Cancelling this loses none.
    async fn accept(&mut self) -> TcpStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _peer)) => {
                    if std::mem::take(&mut self.failing) {
                        info!("connections are accepted again");
                    }
                    return stream;
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.failing, true) {
                        warn!("cannot accept connections: {error}");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
