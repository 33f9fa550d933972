//! Requests that nobody sends by mistake: oversized, ambiguous, of another protocol.

use super::*;

/// All that comes back for these bytes, after which the client sends no more.
async fn raw(server: &Running, bytes: &[u8]) -> Vec<u8> {
    let mut stream = server.connect().await;
    // The server may have heard enough before it has everything.
    stream.write_all(bytes).await.ok();
    stream.shutdown().await.ok();
    let mut answer = Vec::new();
    let read = timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
    read.expect("an end in time").ok();
    answer
}

/// The status of each response.
fn statuses(answer: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(answer);
    let lines = text.split("HTTP/1.1 ").skip(1);
    lines.map(|rest| rest[..3].to_owned()).collect()
}

#[tokio::test]
async fn hostile_requests_get_one_refusal_at_most_and_no_second_request_hides_in_them() {
    let server = Running::plain().await;
    let long = "x".repeat(20_000);
    let hidden = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n";
    for (request, expected) in [
        // Oversized.
        (
            format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"),
            &["431"][..],
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: x\r\nA: {long}\r\n\r\n"),
            &["431"],
        ),
        (
            format!("GET / HTTP/1.1\r\n{}", "A: x\r\n".repeat(150_000)),
            &["431"],
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {}\r\n\r\n",
                "A".repeat(1 << 20)
            ),
            &["431"],
        ),
        // Ambiguous lengths. Chunked wins, and the connection ends (RFC 9112, 6.1).
        (
            format!(
                "GET /-/ready HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"
            ),
            &["200"],
        ),
        (
            format!(
                "GET /-/ready HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 33\r\n\r\n{hidden}"
            ),
            &["400"],
        ),
        (
            format!(
                "GET /-/ready HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n{hidden}"
            ),
            &["400"],
        ),
        (
            format!("GET /-/ready HTTP/1.1\r\nHost: x\r\nContent-Length: +33\r\n\r\n{hidden}"),
            &["400"],
        ),
        // Ambiguous lines.
        (
            format!("GET /-/ready HTTP/1.1\r\nHost: x\r\nA: b\rC: d\r\n\r\n{hidden}"),
            &["400"],
        ),
        (
            format!("GET /-/ready HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n{hidden}"),
            &["400"],
        ),
        (
            format!("GET /-/ready HTTP/1.1\r\nHost : x\r\n\r\n{hidden}"),
            &["400"],
        ),
        // Other protocols.
        (
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_owned(),
            &[],
        ),
        (
            "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03".to_owned(),
            &["400"],
        ),
        ("\0\0\0\0\r\n\r\n".to_owned(), &["400"]),
        ("GET /-/ready\r\n\r\n".to_owned(), &["400"]),
    ] {
        let answer = raw(&server, request.as_bytes()).await;
        let begin = &request[..request.len().min(60)];
        assert_eq!(statuses(&answer), expected, "{begin:?}");
    }
    assert_eq!(server.request("GET /metrics", &[]).await.status, 200);
}
