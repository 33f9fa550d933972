//! UNIX sockets, and the health check, which may use them.

use std::path::Path;

use tokio::net::UnixStream;
use tokio::task::spawn_blocking;

use super::*;

/// Asks `address` with this configuration file, as a process of its own would.
pub(super) async fn healthcheck(address: &str, config: Option<&Path>) -> Result<(), String> {
    let (address, config) = (
        address.parse().expect("an address"),
        config.map(Path::to_owned),
    );
    let ask = spawn_blocking(move || super::healthcheck(&address, config.as_deref()));
    let asked = ask.await.expect("no panic");
    asked.map_err(|e| format!("{e:#}"))
}

#[tokio::test]
async fn a_unix_socket_serves_what_a_port_does() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("socket");
    let address = format!("unix:{}", path.display());
    let listeners = bind(&[address.parse().expect("an address")]).expect("a socket");
    let limits = Limits {
        bounds: Bounds {
            response: Duration::from_millis(500),
            ..LIMITS.bounds
        },
        ..LIMITS
    };
    let large = Fake {
        series: 40_000,
        ..Fake::default()
    };
    let config = WebConfig::load(None).expect("no file");
    let server = Running::on(listeners, "/metrics", large, limits, config).await;
    let ask = async |path_asked: &str| {
        let mut stream = UnixStream::connect(&path).await.expect("a connection");
        let request = format!("GET {path_asked} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream
            .write_all(request.as_bytes())
            .await
            .expect("a request");
        stream
    };
    for path in ["/-/ready", "/metrics"] {
        let mut bytes = Vec::new();
        let mut stream = ask(path).await;
        let read = timeout(DEADLINE, stream.read_to_end(&mut bytes)).await;
        read.expect("an end in time").expect("a reply");
        let reply = Reply::parse(&bytes);
        assert_eq!(reply.status, 200);
        assert!(reply.has(&format!("content-length: {}", reply.body.len())));
    }
    assert_eq!(healthcheck(&address, None).await, Ok(()));
    // Who takes nothing is cut off here, too: the page is longer than what the kernel holds.
    let mut stuck = ask("/metrics").await;
    sleep(2 * limits.bounds.response).await;
    let mut bytes = Vec::new();
    let read = timeout(DEADLINE, stuck.read_to_end(&mut bytes)).await;
    read.expect("an end in time").ok();
    assert!(bytes.len() < 1_000_000, "{}", bytes.len());
    server.stop().await;
    let error = healthcheck(&address, None)
        .await
        .expect_err("nobody listens");
    assert!(
        error.starts_with(&format!("cannot connect to {address}: ")),
        "{error}"
    );
}

#[tokio::test]
async fn the_health_check_finds_a_port_by_any_of_its_addresses() {
    let server = Running::plain().await;
    let port = server.address.port();
    for host in ["", "127.0.0.1", "0.0.0.0", "localhost"] {
        let address = format!("{host}:{port}");
        assert_eq!(healthcheck(&address, None).await, Ok(()), "{address}");
    }
    let error = healthcheck(":0", None).await.expect_err("no port");
    assert!(error.contains("name the port"), "{error}");
}
