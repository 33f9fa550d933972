//! The server of HTTP/1.1, also over TLS: metrics, health and a landing page.
//!
//! Every wait on a client has a bound, because the exporter must answer on a bad day: a client that
//! sends or reads slowly, or not at all, holds one of a limited number of connections for a limited
//! time, and loses it to others when there are too many ([`connections`]).

mod auth;
mod body;
mod config;
mod connections;
mod encoding;
mod gate;
mod landing;
mod listen;
mod path;
mod rate_limit;
mod router;
mod scrape;
mod stream;
mod tls;
mod unsent;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use log::{debug, info, warn};
use procfs::process::{LimitValue, Process};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{sleep, timeout};

use body::WholeBody;
pub use config::{WebConfig, directories};
use connections::{Bounds, Connections, Evicted, Peer, Place};
use gate::{Access, Client, Gate};
pub use listen::{ListenAddress, bind};
pub use path::TelemetryPath;

use crate::metrics::Exposition;
use router::Router;
use scrape::Scraper;
use stream::ClientStream;

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

/// The head of a request. Proxies add a few kilobytes at most; hyper wants 8 KiB or more.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// The pause after an accept that failed for want of something, such as file descriptors: short for
/// a scraper that waits, long for a CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves `exposition` at `telemetry_path`, to whom `config` lets in, until `shutdown` completes, then lets
/// responses under way finish for a moment.
///
/// # Errors
///
/// When a listener has no address, or its task panicked.
pub async fn serve(
    listeners: Vec<TcpListener>,
    telemetry_path: &TelemetryPath,
    config: Arc<WebConfig>,
    exposition: Arc<Exposition>,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let router = Router::new(telemetry_path, Scraper::start(exposition));
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
    listeners: Vec<TcpListener>,
    gate: Arc<Gate>,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let (stop, stopped) = watch::channel(());
    let connections = Connections::new(limits.bounds);
    let mut servers = JoinSet::new();
    for listener in listeners {
        let address = listener.local_addr().context("a listener has no address")?;
        let is_tls = gate.config.current().tls.is_some();
        let scheme = if is_tls { "https" } else { "http" };
        info!("listening on {scheme}://{address}");
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
    async fn run(self, listener: TcpListener, mut stopped: watch::Receiver<()>) {
        let graceful = GracefulShutdown::new();
        let mut acceptor = Acceptor {
            listener,
            failing: false,
        };
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                (stream, peer) = acceptor.accept() => {
                    let (place, evicted) = self.connections.admit(peer.ip());
                    let connection = Connection {
                        gate: Arc::clone(&self.gate),
                        limits: self.limits,
                        peer: Peer::from(peer.ip()),
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

/// One connection, until either side closes it.
struct Connection {
    gate: Arc<Gate>,
    limits: Limits,
    peer: Peer,
    place: Arc<Place>,
    graceful: Watcher,
}

impl Connection {
    async fn serve(self, stream: TcpStream, mut stopped: watch::Receiver<()>) {
        let active = self.gate.config.current();
        let mut client = Client {
            peer: self.peer,
            access: Access::All,
            generation: active.generation,
        };
        let Some(tls) = &active.tls else {
            let stream = self.client_stream(stream);
            return self.speak_http(stream, client).await;
        };
        let shake_hands = async {
            if !speaks_tls(&stream).await? {
                return Ok(Err(self.client_stream(stream)));
            }
            tls.accept(self.client_stream(stream)).await.map(Ok)
        };
        let handshake = tokio::select! {
            handshake = timeout(self.limits.handshake_timeout, shake_hands) => handshake,
            // Nothing is under way yet.
            _gone = stopped.changed() => return,
        };
        match handshake {
            Ok(Ok(Ok(stream))) => {
                if tls.is_probe(&stream) {
                    client.access = Access::Probes;
                }
                // Another version may come into force while the connection stays.
                drop(active);
                self.speak_http(stream, client).await;
            }
            Ok(Ok(Err(stream))) => {
                client.access = Access::None;
                self.speak_http(stream, client).await;
            }
            Ok(Err(error)) => debug!("a handshake with {} failed: {error}", self.peer),
            Err(_elapsed) => debug!("a handshake with {} took too long", self.peer),
        }
    }

    fn client_stream(&self, stream: TcpStream) -> ClientStream {
        ClientStream::new(stream, Arc::clone(&self.place), self.limits.linger)
    }

    /// Answers the requests that come by a stream.
    async fn speak_http<S>(self, stream: S, client: Client)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (gate, place) = (self.gate, self.place);
        let answer = service_fn(move |request| {
            let (gate, place) = (Arc::clone(&gate), Arc::clone(&place));
            async move {
                place.answer();
                // Who sends request after request waits for its turn after each.
                yield_now().await;
                let response = gate.answer(client, request).await;
                Ok::<_, Infallible>(response.map(|body| WholeBody::new(body, place)))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // RFC 9112, section 9.6: who sends no more may still want an answer.
            .half_close(true)
            .header_read_timeout(self.limits.header_timeout)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), answer);
        if let Err(error) = self.graceful.watch(connection).await {
            // The client's doing; nothing for an operator.
            debug!("a connection ended: {error}");
        }
    }
}

/// Whether the client begins as TLS does. Who begins with a letter asks by plain HTTP, and is told.
async fn speaks_tls(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    Ok(!first[0].is_ascii_uppercase())
}

/// Runs until the connection has ended or lost its place.
async fn unless_evicted(serve: impl Future<Output = ()>, evicted: Evicted) {
    tokio::select! {
        () = serve => {}
        () = evicted.wait() => {}
    }
}

/// Accepts, come what may.
struct Acceptor {
    listener: TcpListener,
    failing: bool,
}

impl Acceptor {
    /// The next connection. Cancelling this loses none.
    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => {
                    if std::mem::take(&mut self.failing) {
                        info!("connections are accepted again");
                    }
                    return accepted;
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
pub(crate) mod tests;
