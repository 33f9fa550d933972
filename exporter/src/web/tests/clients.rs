//! How clients are treated that are slow, many, or leave in the middle.

use prometheus::proto::MetricType;

use super::*;

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

/// Sends `text`, closes the sending side as `nc -N` does, and reads all that comes back.
async fn half_close(server: &Running, text: &str) -> String {
    let mut stream = server.connect().await;
    stream.write_all(text.as_bytes()).await.expect("a request");
    stream.shutdown().await.expect("a half-close");
    String::from_utf8(read_all(&mut stream).await).expect("text")
}

#[tokio::test]
async fn a_client_that_sends_no_more_is_answered_and_then_closed() {
    let server = Running::plain().await;
    for request in [
        "GET /metrics HTTP/1.0\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n",
        "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        let reply = half_close(&server, request).await;
        assert!(reply.contains(" 200 OK\r\n"), "{request:?}: {reply:?}");
        // Both are answered when the client sent two.
        let replies = half_close(&server, &format!("{request}{request}")).await;
        let answered = replies.matches(" 200 OK\r\n").count();
        let closes = request.contains("HTTP/1.0") || request.contains("close");
        assert_eq!(answered, if closes { 1 } else { 2 }, "{request:?}");
    }
}

#[tokio::test]
async fn a_client_that_closes_before_its_request_is_whole_frees_its_place() {
    let limits = Limits {
        connections: 1,
        ..LIMITS
    };
    let server = Running::within(limits).await;
    for start in ["", "GET /metrics HTTP/1.1\r\nHost: x\r\n"] {
        let reply = half_close(&server, start).await;
        assert!(!reply.contains("200 OK"), "{start:?}: {reply}");
        assert_eq!(server.request("GET /-/healthy", &[]).await.status, 200);
    }
}
