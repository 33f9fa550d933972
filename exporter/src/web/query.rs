//! What a request for metrics asks for: `collect[]` and `exclude[]`, as node_exporter has them, and
//! Prometheus' scrape timeout.

use std::time::Duration;

use hyper::HeaderMap;

/// Of `X-Prometheus-Scrape-Timeout-Seconds`. Longer than anybody waits.
const MAX_TIMEOUT_SECONDS: f64 = 3600.0;

/// The values of all parameters with this name (URL Standard, `application/x-www-form-urlencoded`).
pub(super) fn values(query: Option<&str>, name: &str) -> Vec<String> {
    let pairs = query.unwrap_or_default().split('&');
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(|(key, _)| decode(key) == name)
        .map(|(_, value)| decode(value))
        .collect()
}

/// Undoes percent-encoding. What is no encoding stays, and what is not UTF-8 is no name anyway.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                bytes.push(hex(*high) << 4 | hex(*low));
                rest = after;
            }
            (other, _) => bytes.push(*other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// How long Prometheus waits for the page, if it says so.
pub(super) fn scrape_timeout(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("x-prometheus-scrape-timeout-seconds")?;
    let seconds: f64 = value.to_str().ok()?.trim().parse().ok()?;
    let is_one = seconds > 0.0 && seconds <= MAX_TIMEOUT_SECONDS;
    is_one.then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn parameters_may_be_encoded_and_repeat() {
        for (query, expected) in [
            ("", &[][..]),
            ("collect[]=drops", &["drops"]),
            (
                "collect%5B%5D=drops&collect%5b]=li%6Ek&x=y",
                &["drops", "link"],
            ),
            ("exclude[]=drops", &[]),
            ("collect[]", &[""]),
            (
                "collect[]=a+b%&collect=c&collect[]=%zz%e",
                &["a b%", "%zz%e"],
            ),
            ("collect[]=%ff", &["\u{fffd}"]),
        ] {
            assert_eq!(values(Some(query), "collect[]"), expected, "{query}");
        }
        assert!(values(None, "collect[]").is_empty());
    }

    #[test]
    fn a_timeout_is_a_positive_number_of_seconds() {
        for (text, seconds) in [
            ("10", Some(10.0)),
            ("0.25", Some(0.25)),
            ("0", None),
            ("-1", None),
            ("nan", None),
            ("inf", None),
            ("1e9", None),
            ("soon", None),
        ] {
            let value = HeaderValue::from_static(text);
            let headers = HeaderMap::from_iter([(
                "X-Prometheus-Scrape-Timeout-Seconds"
                    .parse()
                    .expect("a name"),
                value,
            )]);
            let expected = seconds.map(Duration::from_secs_f64);
            assert_eq!(scrape_timeout(&headers), expected, "{text}");
        }
    }
}
