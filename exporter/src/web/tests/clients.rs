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

/// Pages larger than the socket buffers of both ends together.
const LARGE: Fake = Fake {
    series: 40_000,
    kind: MetricType::COUNTER,
};

/// Limits with other bounds.
fn bounded(bounds: Bounds) -> Limits {
    Limits { bounds, ..LIMITS }
}

/// Waits until the server has reset the connection.
async fn reset(stream: &TcpStream) {
    let is_reset = async {
        while stream.take_error().expect("a socket").is_none() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, is_reset).await.expect("a reset in time");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let limits = bounded(Bounds {
        response: Duration::from_millis(500),
        ..LIMITS.bounds
    });
    let server = Running::start("/metrics", LARGE, limits).await;
    let stuck = server.asking(1, "/metrics").await;
    reset(&stuck).await;
}

#[tokio::test]
async fn a_client_that_reads_a_little_now_and_then_is_cut_off() {
    let limits = bounded(Bounds {
        response: Duration::from_millis(500),
        ..LIMITS.bounds
    });
    let server = Running::start("/metrics", LARGE, limits).await;
    let mut slow = server.asking(1, "/metrics").await;
    let drip = async {
        let mut bytes = [0; 1000];
        while slow.read_exact(&mut bytes).await.is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, drip).await.expect("a reset in time");
}

#[tokio::test]
async fn a_client_that_has_everything_and_does_not_close_is_left_after_a_moment() {
    let limits = Limits {
        linger: Duration::from_millis(200),
        ..LIMITS
    };
    let server = Running::within(limits).await;
    let mut stays = server.asking(1, "/-/ready").await;
    assert!(!read_all(&mut stays).await.is_empty());
    // The server reads on for a moment, then there is no socket any more.
    stays.write_all(b"x").await.expect("nobody minds");
    let refused = async {
        while stays.write_all(b"x").await.is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, refused).await.expect("an end in time");
}

#[tokio::test]
async fn a_slow_client_gets_the_whole_page_whether_it_half_closes_or_not() {
    let limits = Limits {
        linger: Duration::from_millis(100),
        ..LIMITS
    };
    let server = Running::start("/metrics", LARGE, limits).await;
    let length = server.request("GET /metrics", &[]).await.body.len();
    for half_closes in [false, true] {
        let mut slow = server.asking(1, "/metrics").await;
        if half_closes {
            slow.shutdown().await.expect("a half-close");
        }
        // It stops before the end, when the rest is in the server's kernel.
        let mut bytes = vec![0; length - 60_000];
        slow.read_exact(&mut bytes).await.expect("most of it");
        sleep(Duration::from_millis(500)).await;
        bytes.extend(read_all(&mut slow).await);
        let reply = Reply::parse(&bytes);
        assert!(reply.has(&format!("content-length: {}", reply.body.len())));
    }
}

#[tokio::test]
async fn the_deadline_of_a_response_that_was_taken_is_over() {
    let limits = bounded(Bounds {
        response: Duration::from_millis(200),
        ..LIMITS.bounds
    });
    let server = Running::within(limits).await;
    let mut stream = server.connect().await;
    for _ in 0..2 {
        let request = b"HEAD /-/ready HTTP/1.1\r\nHost: x\r\n\r\n";
        stream.write_all(request).await.expect("a request");
        let mut reply = Vec::new();
        while !reply.ends_with(b"\r\n\r\n") {
            reply.push(stream.read_u8().await.expect("a reply"));
        }
        sleep(Duration::from_millis(400)).await;
    }
}

#[tokio::test]
async fn a_newcomer_takes_the_place_of_the_slowest() {
    let limits = bounded(Bounds {
        connections: 2,
        ..LIMITS.bounds
    });
    let server = Running::within(limits).await;
    let mut idle = [server.connect().await, server.connect().await];
    assert_eq!(server.request("GET /-/healthy", &[]).await.status, 200);
    assert!(read_all(&mut idle[0]).await.is_empty());
    let request = b"GET /-/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    idle[1].write_all(request).await.expect("a request");
    assert_eq!(Reply::parse(&read_all(&mut idle[1]).await).status, 200);
}

#[tokio::test]
async fn listeners_share_the_places() {
    let limits = bounded(Bounds {
        connections: 1,
        ..LIMITS.bounds
    });
    let server = Running::within(limits).await;
    let connect = TcpStream::connect(server.other_address).await;
    let mut idle = connect.expect("a connection");
    assert_eq!(server.request("GET /-/healthy", &[]).await.status, 200);
    assert!(read_all(&mut idle).await.is_empty());
}

#[tokio::test]
async fn slow_clients_of_one_address_cost_no_other_its_page() {
    let limits = bounded(Bounds {
        connections: 4,
        body_bytes: 1,
        ..LIMITS.bounds
    });
    let server = Running::start("/metrics", LARGE, limits).await;
    let first = server.asking(2, "/metrics").await;
    let mut behaves = server.asking(3, "/metrics").await;
    behaves.readable().await.expect("the begin of its page");
    let mut slow = Vec::new();
    for _ in 0..5 {
        let next = server.asking(2, "/metrics").await;
        next.readable().await.expect("the begin of its page");
        slow.push(next);
    }
    reset(&first).await;
    let reply = Reply::parse(&read_all(&mut behaves).await);
    assert!(reply.has(&format!("content-length: {}", reply.body.len())));
    for evicted in &slow[..slow.len() - 1] {
        reset(evicted).await;
    }
}

#[test]
fn there_are_no_more_places_than_file_descriptors() {
    for (descriptors, connections) in [
        (None, 256),
        (Some(1024), 256),
        (Some(320), 256),
        (Some(319), 255),
        (Some(70), 6),
        (Some(3), 1),
    ] {
        let limits = LIMITS.within_descriptors(descriptors);
        assert_eq!(limits.bounds.connections, connections, "{descriptors:?}");
    }
}

#[tokio::test]
async fn who_asks_without_end_waits_for_a_turn_after_each_answer() {
    let server = Running::plain().await;
    let request = "GET /-/ready HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut asks_on = server.connect().await;
    asks_on
        .write_all(request.repeat(200).as_bytes())
        .await
        .expect("requests");
    assert_eq!(server.request("GET /-/healthy", &[]).await.status, 200);
    let mut bytes = [0; 65536];
    let read = asks_on.try_read(&mut bytes).unwrap_or(0);
    let replies = String::from_utf8_lossy(&bytes[..read]);
    let answered = replies.matches("HTTP/1.1 200 OK").count();
    assert!(answered < 10, "{answered} answers before that of another");
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
    let limits = bounded(Bounds {
        connections: 1,
        ..LIMITS.bounds
    });
    let server = Running::within(limits).await;
    for start in ["", "GET /metrics HTTP/1.1\r\nHost: x\r\n"] {
        let reply = half_close(&server, start).await;
        assert!(!reply.contains("200 OK"), "{start:?}: {reply}");
        assert_eq!(server.request("GET /-/healthy", &[]).await.status, 200);
    }
}
