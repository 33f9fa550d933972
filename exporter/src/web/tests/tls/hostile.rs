//! Clients that shake no hands, or take nothing.

use super::*;

#[tokio::test]
async fn what_is_no_tls_is_told_so_or_ends() {
    let scene = Scene::new(&[], "").await;
    for path in ["/metrics", "/-/healthy"] {
        let reply = scene.server.request(&format!("GET {path}"), &[]).await;
        assert_eq!(reply.status, 400);
        assert_eq!(reply.text(), "this port speaks TLS: use https\n");
    }
    for garbage in [
        &b"\x16\x03\x01\xff\xff"[..],
        b"\0\0\0\0\0\0",
        &[0xff; 70_000],
    ] {
        let mut stream = scene.server.connect().await;
        // It may end before it has taken everything.
        stream.write_all(garbage).await.ok();
        stream.shutdown().await.ok();
        let mut answer = Vec::new();
        let read = timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
        read.expect("an end in time").ok();
        assert!(answer.len() < 10, "no more than an alert: {answer:?}");
    }
    assert_eq!(scene.status(&Wants::default(), "/metrics").await, Ok(200));
}

#[tokio::test]
async fn a_handshake_has_a_deadline_and_holds_up_no_stop() {
    let limits = Limits {
        handshake_timeout: Duration::from_millis(300),
        ..LIMITS
    };
    let scene = Scene::within(limits, Fake::default(), &[], "").await;
    // Nothing, half a record, and a drop now and then.
    for sent in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut stream = scene.server.connect().await;
        stream.write_all(sent).await.expect("a start");
        assert!(read_all(&mut stream).await.is_empty());
    }
    let mut drips = scene.server.connect().await;
    let drip = async {
        while drips.write_all(b"\x16").await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, drip).await.expect("an end in time");

    let scene = Scene::new(&[], "").await;
    let _half = scene.server.connect().await;
    let begin = tokio::time::Instant::now();
    scene.server.stop().await;
    assert!(begin.elapsed() < LIMITS.grace);
}

#[tokio::test]
async fn handshakes_take_places_and_lose_them_to_newcomers() {
    let limits = Limits {
        bounds: Bounds {
            connections: 4,
            ..LIMITS.bounds
        },
        ..LIMITS
    };
    let scene = Scene::within(limits, Fake::default(), &[], "").await;
    let mut halves = Vec::new();
    for _ in 0..8 {
        halves.push(scene.server.connect().await);
        // Each is admitted before the next one.
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(scene.status(&Wants::default(), "/metrics").await, Ok(200));
    for half in &mut halves[..4] {
        let mut byte = [0];
        let end = timeout(DEADLINE, half.read(&mut byte)).await;
        assert!(!matches!(end.expect("an end in time"), Ok(1..)));
    }
}

/// Pages larger than the socket buffers of both ends together.
const LARGE: Fake = Fake {
    series: 40_000,
    kind: MetricType::COUNTER,
};

#[tokio::test]
async fn a_slow_reader_gets_all_or_is_cut_off() {
    let limits = Limits {
        bounds: Bounds {
            response: Duration::from_millis(800),
            ..LIMITS.bounds
        },
        ..LIMITS
    };
    let scene = Scene::within(limits, LARGE, &[], "").await;
    let whole = scene
        .get(&Wants::default(), "/metrics", "")
        .await
        .expect("a page");
    assert!(whole.has(&format!("content-length: {}", whole.body.len())));
    let mut stuck = scene.connect(&Wants::default()).await.expect("a handshake");
    let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    stuck.write_all(request).await.expect("a request");
    // It takes nothing for longer than it may.
    let is_reset = async {
        while stuck.get_ref().0.take_error().expect("a socket").is_none() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, is_reset).await.expect("a reset in time");
}
