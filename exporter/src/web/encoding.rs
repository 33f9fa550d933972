//! Which content coding a client accepts (RFC 9110, sections 12.4.2 and 12.5.3).

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::HeaderMap;
use hyper::header::ACCEPT_ENCODING;

/// How a response body is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// As it is.
    Identity,
    /// RFC 1952.
    Gzip,
}

impl Coding {
    /// The better of the two for a client that sent these headers.
    ///
    /// A client that refuses both gets [`Coding::Identity`]: an answer that it may not want is more
    /// use than an error, and the RFC allows it.
    pub(super) fn accepted_by(headers: &HeaderMap) -> Self {
        let (mut gzip, mut identity, mut any) = (None, None, None);
        let lines = headers.get_all(ACCEPT_ENCODING).iter();
        // A line that is not ASCII names no coding that we have.
        for item in lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
        {
            let (name, weight) = parse(item);
            match name.to_ascii_lowercase().as_str() {
                "gzip" | "x-gzip" => gzip = Some(weight),
                "identity" => identity = Some(weight),
                "*" => any = Some(weight),
                _ => {}
            }
        }
        // What is not named is meant by `*`. Without either, identity is acceptable but less wished
        // for than a coding that the client took the trouble to name.
        let gzip = gzip.or(any).unwrap_or(0);
        let identity = identity.unwrap_or(0);
        if gzip > 0 && gzip >= identity {
            Self::Gzip
        } else {
            Self::Identity
        }
    }
}

/// One `coding;q=weight` as the coding and its weight in thousandths.
fn parse(item: &str) -> (&str, u16) {
    let mut parts = item.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let weight = parts
        .filter_map(|part| part.split_once('='))
        .find(|(key, _)| key.trim().eq_ignore_ascii_case("q"))
        .map_or(1000, |(_, value)| thousandths(value.trim()));
    (name, weight)
}

/// A weight from `0` to `1` with up to three decimals; one that is malformed refuses.
fn thousandths(value: &str) -> u16 {
    match value.parse::<f32>() {
        Ok(weight) if (0.0..=1.0).contains(&weight) => (weight * 1000.0).round() as u16,
        _ => 0,
    }
}

/// Compresses for speed: scrapes are frequent, the network near, and the labels repeat so much that
/// the fastest level already leaves little.
pub(super) fn gzip(text: &[u8]) -> Vec<u8> {
    // A tenth is more than metrics usually need; the vector grows if not.
    let buffer = Vec::with_capacity(text.len() / 10);
    let mut encoder = GzEncoder::new(buffer, Compression::fast());
    // The encoder itself fails only when its writer does, and writing to a vector cannot.
    encoder
        .write_all(text)
        .and_then(|()| encoder.finish())
        .expect("a write to memory")
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use hyper::header::HeaderValue;

    use super::*;

    fn accepted(lines: &[&'static str]) -> Coding {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_static(line));
        }
        Coding::accepted_by(&headers)
    }

    #[test]
    fn gzip_is_used_where_it_is_accepted() {
        for lines in [
            &["gzip"][..],
            &["GZIP"],
            &["x-gzip"],
            &["*"],
            &["deflate, gzip;q=0.5"],
            &["br", "gzip ; Q=0.001"],
            &["identity;q=0.5, gzip;q=0.5"],
            &["identity;q=0, *"],
        ] {
            assert_eq!(accepted(lines), Coding::Gzip, "{lines:?}");
        }
    }

    #[test]
    fn gzip_is_not_used_where_it_is_refused_or_liked_less() {
        for lines in [
            &[][..],
            &[""],
            &["identity"],
            &["gzip;q=0"],
            &["gzip;q=0.000"],
            &["gzip;q=0, *"],
            &["*;q=0"],
            &["gzip;q=x"],
            &["gzip;q=-1"],
            &["gzip;q=nan"],
            &["gzipped"],
            &["identity, gzip;q=0.5"],
        ] {
            assert_eq!(accepted(lines), Coding::Identity, "{lines:?}");
        }
    }

    #[test]
    fn what_is_compressed_can_be_read_again() {
        let text = "netdrop_dropped_packets_total 1\n".repeat(1000);
        let compressed = gzip(text.as_bytes());
        assert!(compressed.len() < text.len() / 10);
        let mut read = String::new();
        flate2::read::GzDecoder::new(&compressed[..])
            .read_to_string(&mut read)
            .expect("gzip");
        assert_eq!(read, text);
    }
}
