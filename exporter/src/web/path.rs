//! The path of the metrics, and paths that mean the same (RFC 3986, section 6.2.2).

use std::str::FromStr;

use anyhow::{Context, bail, ensure};

use super::router::{HEALTHY_PATH, READY_PATH};

/// Where the metrics are served: a path that nothing else has, normalized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetryPath(String);

impl TelemetryPath {
    /// The path, beginning with `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TelemetryPath {
    type Err = anyhow::Error;

    fn from_str(path: &str) -> anyhow::Result<Self> {
        ensure!(path.starts_with('/'), "it must begin with /");
        // A link to it would name another host.
        ensure!(!path.starts_with("//"), "it must begin with a single /");
        // What cannot be in the path of a URI (RFC 3986, section 3.3) could never be asked for.
        let is_path = |c: char| c.is_ascii_alphanumeric() || "/-._~!$&'()*+,;=:@%".contains(c);
        if let Some(c) = path.chars().find(|&c| !is_path(c)) {
            bail!("{c:?} cannot be in a path");
        }
        ensure!(
            is_well_encoded(path),
            "% must be followed by two hexadecimal digits"
        );
        path.parse::<hyper::Uri>().context("it is not a path")?;
        let path = normalize(path);
        ensure!(
            path != HEALTHY_PATH && path != READY_PATH,
            "the path is taken"
        );
        Ok(Self(path))
    }
}

/// The one spelling of a path whose percent-encodings differ: letters, digits and `-._~` stand for
/// themselves, and the hexadecimal digits of what stays encoded are in upper case. A `%` that
/// begins no encoding stays as it is.
pub(super) fn normalize(path: &str) -> String {
    let mut normal = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        normal.push_str(before);
        rest = after;
        match encoded(after) {
            Some(byte) => {
                if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                    normal.push(char::from(byte));
                } else {
                    normal.push_str(&format!("%{byte:02X}"));
                }
                rest = &after[2..];
            }
            None => normal.push('%'),
        }
    }
    normal.push_str(rest);
    normal
}

/// Whether every `%` begins an encoding.
fn is_well_encoded(path: &str) -> bool {
    path.split('%')
        .skip(1)
        .all(|after| encoded(after).is_some())
}

/// The byte that two hexadecimal digits stand for.
fn encoded(digits: &str) -> Option<u8> {
    // `from_str_radix` alone would take `+f`.
    let digits = digits.get(..2)?;
    let are_digits = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u8::from_str_radix(digits, 16).ok().filter(|_| are_digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_telemetry_path_is_a_free_path() {
        for (given, path) in [("/", "/"), ("/%6detrics/%2f", "/metrics/%2F"), ("/a", "/a")] {
            let parsed: TelemetryPath = given.parse().expect("a path");
            assert_eq!(parsed.as_str(), path);
        }
        for path in [
            "",
            "metrics",
            "//metrics",
            "/-/healthy",
            "/-/ready",
            "/%2D/ready",
            "/a?b",
            "/a#b",
            "/a b",
            "/ä",
            "/100%",
            "/%zz",
        ] {
            assert!(path.parse::<TelemetryPath>().is_err(), "{path:?}");
        }
    }

    #[test]
    fn spellings_of_one_path_become_one() {
        for (spelt, normal) in [
            ("/metrics", "/metrics"),
            ("/%6detrics", "/metrics"),
            ("/%6D%65%74rics", "/metrics"),
            ("/%2d/%68ealthy", "/-/healthy"),
            ("/a%2E%5f%7e%30z", "/a._~0z"),
            // Reserved characters mean something else when they are encoded.
            ("/a%2fb%3f", "/a%2Fb%3F"),
            ("/%c3%A4", "/%C3%A4"),
            // Decoded once only.
            ("/%256d", "/%256d"),
        ] {
            assert_eq!(normalize(spelt), normal, "{spelt}");
            assert_eq!(normalize(normal), normal, "{normal}");
            assert!(is_well_encoded(spelt), "{spelt}");
        }
    }

    #[test]
    fn what_is_no_encoding_stays() {
        for path in ["/%", "/%6", "/%zz", "/%+f", "/100%/%6", "/%6ä", "/%ä"] {
            assert_eq!(normalize(path), path);
            assert!(!is_well_encoded(path), "{path}");
        }
        assert_eq!(normalize("/%%6d"), "/%m");
    }
}
