//! The server as clients see it: raw requests over loopback.

use std::io;
use std::net::SocketAddr;

use prometheus::proto::{MetricFamily, MetricType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::*;
use crate::metrics::{Collector, family, sample};

pub(super) mod certificates;
mod clients;
mod content;
mod hostile;
mod local;
mod tls;

const DEADLINE: Duration = Duration::from_secs(10);

/// Serves one family of `series` series; panics in the encoder if it has none to give.
struct Fake {
    series: usize,
    kind: MetricType,
}

impl Default for Fake {
    fn default() -> Self {
        Self {
            series: 3,
            kind: MetricType::COUNTER,
        }
    }
}

impl Collector for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn collect(&self, families: &mut Vec<MetricFamily>) -> anyhow::Result<()> {
        let samples = (0..self.series).map(|n| sample(&[("n", &format!("{n:06}"))], n as f64));
        families.push(family("fake_total", "Help.", self.kind, samples));
        Ok(())
    }
}

/// A running server; dropping it leaves it to the test's runtime, which ends it.
struct Running {
    address: SocketAddr,
    /// Of a second listener.
    other_address: SocketAddr,
    config: Arc<WebConfig>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    async fn start(telemetry_path: &str, fake: Fake, limits: Limits) -> Self {
        let config = WebConfig::load(None).expect("no file");
        Self::configured(telemetry_path, fake, limits, config).await
    }

    async fn configured(
        telemetry_path: &str,
        fake: Fake,
        limits: Limits,
        config: WebConfig,
    ) -> Self {
        let any = "127.0.0.1:0".parse::<ListenAddress>().expect("an address");
        let listeners = bind(&[any.clone(), any]).expect("two ports");
        Self::on(listeners, telemetry_path, fake, limits, config).await
    }

    async fn on(
        listeners: Vec<Listener>,
        telemetry_path: &str,
        fake: Fake,
        limits: Limits,
        config: WebConfig,
    ) -> Self {
        let addresses = listeners.iter().filter_map(|listener| match listener {
            Listener::Tcp(listener) => Some(listener.local_addr().expect("an address")),
            Listener::Unix(_) => None,
        });
        let addresses: Vec<_> = addresses.collect();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let [address, other_address] =
            [0, 1].map(|n: usize| addresses.get(n).copied().unwrap_or(nowhere));
        let mut exposition = Exposition::new();
        exposition.add(Box::new(fake));
        let telemetry_path = telemetry_path.parse().expect("a path");
        let router = Router::new(&telemetry_path, Arc::new(exposition), 0);
        let config = Arc::new(config);
        let gate = Arc::new(Gate::new(Arc::clone(&config), router));
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(serve_listeners(listeners, gate, limits, async {
            stopped.await.ok();
        }));
        Self {
            address,
            other_address,
            config,
            stop,
            server,
        }
    }

    async fn plain() -> Self {
        Self::within(LIMITS).await
    }

    async fn within(limits: Limits) -> Self {
        Self::start("/metrics", Fake::default(), limits).await
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address)
            .await
            .expect("a connection")
    }

    /// A connection from 127.0.0.`host`, which has asked for `path`. Its kernel takes little before
    /// it reads.
    async fn asking(&self, host: u8, path: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        let source = SocketAddr::from(([127, 0, 0, host], 0));
        socket.bind(source).expect("a loopback address");
        let mut stream = socket.connect(self.address).await.expect("a connection");
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream
            .write_all(request.as_bytes())
            .await
            .expect("a request");
        stream
    }

    /// Sends one request and reads all that comes back.
    async fn request(&self, line: &str, headers: &[&str]) -> Reply {
        let mut stream = self.connect().await;
        let mut text = format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
        for header in headers {
            text.push_str(header);
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        stream.write_all(text.as_bytes()).await.expect("a request");
        Reply::parse(&read_all(&mut stream).await)
    }

    async fn stop(self) {
        self.stop.send(()).expect("the server runs");
        let ended = timeout(DEADLINE, self.server).await;
        ended
            .expect("the server stops in time")
            .expect("no panic")
            .expect("no error");
    }
}

async fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = timeout(DEADLINE, stream.read_to_end(&mut bytes)).await;
    read.expect("the connection ends in time").expect("a reply");
    bytes
}

struct Reply {
    status: u16,
    /// In lower case, without those that differ from reply to reply.
    headers: Vec<String>,
    body: Vec<u8>,
}

impl Reply {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n");
        let end = end.expect("the end of the headers");
        let head = String::from_utf8(bytes[..end].to_vec()).expect("text");
        let mut lines = head.lines();
        let status = lines.next().and_then(|l| l.split(' ').nth(1));
        Self {
            status: status.expect("a status").parse().expect("a number"),
            headers: lines
                .map(str::to_lowercase)
                .filter(|l| !l.starts_with("date: "))
                .collect(),
            body: bytes[end + 4..].to_vec(),
        }
    }

    fn has(&self, header: &str) -> bool {
        self.headers.iter().any(|h| h == header)
    }

    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("text")
    }
}
