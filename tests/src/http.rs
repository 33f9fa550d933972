//! A minimal HTTP/1.1 client: one request per connection (RFC 9112).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// No answer of the exporter takes this long; a request that does is a failure.
const TIMEOUT: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body, with its content coding (for instance gzip) still on.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

/// Requests `path` by GET.
pub fn get(address: SocketAddr, path: &str) -> Response {
    request(address, "GET", path, &[])
}

/// Requests `path` by any method, with header lines such as `Accept-Encoding: gzip`.
///
/// # Panics
/// When there is no whole and well-formed answer in time.
pub fn request(address: SocketAddr, method: &str, path: &str, headers: &[&str]) -> Response {
    try_request(address, method, path, headers)
        .unwrap_or_else(|error| panic!("{method} http://{address}{path}: {error}"))
}

/// As [`request`], for one that may fail because the server is not there yet.
pub fn try_request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[&str],
) -> std::io::Result<Response> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Ok(parse(&bytes, method == "HEAD"))
}

fn parse(bytes: &[u8], without_body: bool) -> Response {
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap_or_else(|| panic!("no end of headers in {:?}", String::from_utf8_lossy(bytes)));
    let head = str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status_line = lines.next().unwrap();
    let status = status_line
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .unwrap_or_else(|| panic!("not a status line: {status_line:?}"));
    let headers = lines
        .map(|line| {
            let parts = line.split_once(':');
            let (name, value) = parts.unwrap_or_else(|| panic!("not a header: {line:?}"));
            (name.to_ascii_lowercase(), value.trim().to_owned())
        })
        .collect();
    let mut response = Response {
        status,
        headers,
        body: Vec::new(),
    };
    let body = &bytes[end + 4..];
    if without_body {
        assert!(body.is_empty(), "an answer to HEAD has no body");
    } else if response.header("transfer-encoding") == Some("chunked") {
        response.body = unchunk(body);
    } else {
        if let Some(length) = response.header("content-length") {
            assert_eq!(length, body.len().to_string(), "the body is cut");
        }
        response.body = body.to_vec();
    }
    response
}

/// Takes the chunked transfer coding off (RFC 9112, section 7.1).
fn unchunk(mut coded: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = coded
            .windows(2)
            .position(|window| window == b"\r\n")
            .unwrap();
        let size = str::from_utf8(&coded[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        let data = line + 2;
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&coded[data..data + size]);
        coded = &coded[data + size + 2..];
    }
}
