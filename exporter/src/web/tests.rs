//! The server as clients see it: raw requests over loopback.

use std::io::Read;
use std::net::SocketAddr;

use flate2::read::GzDecoder;
use prometheus::proto::{MetricFamily, MetricType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::metrics::{Collector, family, sample};

const DEADLINE: Duration = Duration::from_secs(10);

/// Serves one family of `series` series; panics in the encoder if it has none to give.
struct Fake {
    series: usize,
    kind: MetricType,
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
    stop: oneshot::Sender<()>,
    server: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    async fn start(telemetry_path: &str, fake: Fake, limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut exposition = Exposition::new();
        exposition.add(Box::new(fake));
        let scraper = Scraper::start(Arc::new(exposition));
        let site = Arc::new(Site::new(telemetry_path.to_owned(), scraper));
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(serve_site(vec![listener], site, limits, async {
            stopped.await.ok();
        }));
        Self {
            address,
            stop,
            server,
        }
    }

    async fn plain() -> Self {
        Self::within(LIMITS).await
    }

    async fn within(limits: Limits) -> Self {
        let fake = Fake {
            series: 3,
            kind: MetricType::COUNTER,
        };
        Self::start("/metrics", fake, limits).await
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address)
            .await
            .expect("a connection")
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

#[tokio::test]
async fn metrics_are_served_as_text() {
    let server = Running::plain().await;
    let reply = server.request("GET /metrics?x=1", &[]).await;
    assert_eq!(reply.status, 200);
    assert!(
        reply.has("content-type: text/plain; version=0.0.4; charset=utf-8"),
        "{:?}",
        reply.headers
    );
    assert!(!reply.has("content-encoding: gzip"));
    let text = reply.text();
    assert!(text.contains("fake_total{n=\"000002\"} 2\n"), "{text}");
    assert!(text.contains("netdrop_exporter_build_info{"), "{text}");
}

#[tokio::test]
async fn metrics_are_compressed_for_those_who_accept_it() {
    let server = Running::plain().await;
    let headers = ["Accept-Encoding: br", "Accept-Encoding: gzip;q=0.5"];
    let reply = server.request("GET /metrics", &headers).await;
    assert!(reply.has("content-encoding: gzip"), "{:?}", reply.headers);
    assert!(reply.has("vary: accept-encoding"), "{:?}", reply.headers);
    let mut text = String::new();
    GzDecoder::new(&reply.body[..])
        .read_to_string(&mut text)
        .expect("gzip");
    assert!(text.contains("fake_total{n=\"000002\"} 2\n"), "{text}");
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let server = Running::plain().await;
    for path in ["/", "/-/healthy", "/-/ready", "/nowhere"] {
        let get = server.request(&format!("GET {path}"), &[]).await;
        let head = server.request(&format!("HEAD {path}"), &[]).await;
        assert_eq!(head.status, get.status, "{path}");
        assert_eq!(head.headers, get.headers, "{path}");
        assert!(head.body.is_empty(), "{path}");
        assert!(get.has(&format!("content-length: {}", get.body.len())));
    }
    // The length of the metrics differs from scrape to scrape.
    let head = server.request("HEAD /metrics", &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(
        head.headers
            .iter()
            .any(|h| h.starts_with("content-length: "))
    );
}

#[tokio::test]
async fn health_and_landing_page_are_served() {
    let server = Running::plain().await;
    for path in ["/-/healthy", "/-/ready"] {
        assert_eq!(
            server.request(&format!("GET {path}"), &[]).await.status,
            200
        );
    }
    let landing = server.request("GET /", &[]).await;
    assert!(landing.has("content-type: text/html; charset=utf-8"));
    assert!(landing.text().contains("href=\"/metrics\""));
}

#[tokio::test]
async fn the_metrics_can_replace_the_landing_page() {
    let fake = Fake {
        series: 1,
        kind: MetricType::COUNTER,
    };
    let server = Running::start("/", fake, LIMITS).await;
    let reply = server.request("GET /", &[]).await;
    assert!(reply.text().contains("fake_total"));
    assert_eq!(server.request("GET /metrics", &[]).await.status, 404);
}

#[tokio::test]
async fn other_methods_and_paths_are_refused() {
    let server = Running::plain().await;
    for path in ["/metrics", "/", "/-/ready"] {
        let reply = server
            .request(&format!("POST {path}"), &["Content-Length: 0"])
            .await;
        assert_eq!(reply.status, 405, "{path}");
        assert!(reply.has("allow: get, head"), "{:?}", reply.headers);
    }
    for line in ["GET /metrics/", "GET /favicon.ico", "POST /nowhere"] {
        assert_eq!(server.request(line, &[]).await.status, 404, "{line}");
    }
}

#[tokio::test]
async fn a_scrape_that_panics_is_a_server_error() {
    // The encoder of the prometheus crate panics on this type.
    let fake = Fake {
        series: 1,
        kind: MetricType::UNTYPED,
    };
    let server = Running::start("/metrics", fake, LIMITS).await;
    let reply = server.request("GET /metrics", &[]).await;
    assert_eq!(reply.status, 500);
    assert_eq!(reply.text().lines().count(), 1);
    assert_eq!(server.request("GET /-/healthy", &[]).await.status, 200);
}

#[tokio::test]
async fn a_client_that_does_not_send_its_headers_is_cut_off() {
    let limits = Limits {
        header_timeout: Duration::from_millis(100),
        ..LIMITS
    };
    let server = Running::within(limits).await;
    for sent in ["", "GET /metrics HTTP/1.1\r\nHost: "] {
        let mut stream = server.connect().await;
        stream.write_all(sent.as_bytes()).await.expect("a start");
        assert!(read_all(&mut stream).await.is_empty());
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    // More than the socket buffers of both ends can take.
    let fake = Fake {
        series: 300_000,
        kind: MetricType::COUNTER,
    };
    let limits = Limits {
        stall_timeout: Duration::from_millis(500),
        connections: 1,
        ..LIMITS
    };
    let server = Running::start("/metrics", fake, limits).await;
    let mut stuck = server.connect().await;
    stuck
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .expect("a request");
    // Its place is free again only when it was cut off.
    assert_eq!(server.request("GET /-/healthy", &[]).await.status, 200);
    drop(stuck);
}

#[tokio::test]
async fn a_client_that_does_not_close_keeps_its_place_for_a_moment_only() {
    let limits = Limits {
        linger: Duration::from_millis(100),
        connections: 1,
        ..LIMITS
    };
    let server = Running::within(limits).await;
    let mut stays = server.connect().await;
    stays
        .write_all(b"GET /-/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .expect("a request");
    assert!(!read_all(&mut stays).await.is_empty());
    assert_eq!(server.request("GET /-/healthy", &[]).await.status, 200);
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_for_a_place() {
    let limits = Limits {
        connections: 2,
        ..LIMITS
    };
    let server = Running::within(limits).await;
    let idle = [server.connect().await, server.connect().await];
    let third = server.request("GET /-/healthy", &[]);
    tokio::pin!(third);
    let waits = timeout(Duration::from_millis(200), &mut third).await;
    assert!(waits.is_err(), "both places are taken");
    drop(idle);
    assert_eq!(third.await.status, 200);
}

#[tokio::test]
async fn a_connection_serves_several_requests() {
    let server = Running::plain().await;
    let mut stream = server.connect().await;
    let once = "GET /-/ready HTTP/1.1\r\nHost: x\r\n";
    let requests = format!("{once}\r\n{once}Connection: close\r\n\r\n");
    stream
        .write_all(requests.as_bytes())
        .await
        .expect("two requests");
    let replies = String::from_utf8(read_all(&mut stream).await).expect("text");
    assert_eq!(replies.matches("HTTP/1.1 200 OK").count(), 2, "{replies}");
}

#[tokio::test]
async fn a_stop_closes_idle_connections_and_the_port() {
    let server = Running::plain().await;
    let address = server.address;
    let mut idle = server.connect().await;
    idle.write_all(b"GET /-/ready HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .expect("a request");
    let mut start = [0; 12];
    idle.read_exact(&mut start).await.expect("a reply");
    server.stop().await;
    read_all(&mut idle).await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_stop_waits_no_longer_than_its_grace() {
    let limits = Limits {
        grace: Duration::from_millis(100),
        ..LIMITS
    };
    let server = Running::within(limits).await;
    let mut slow = server.connect().await;
    slow.write_all(b"GET /metr").await.expect("a start");
    // The server has it when it has answered a later connection.
    assert_eq!(server.request("GET /-/ready", &[]).await.status, 200);
    server.stop().await;
}
