//! `--web.listen-address` as text.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use anyhow::{Context, bail};

/// An address to listen on: `:PORT` (all addresses of the host), `HOST:PORT` or `[IPV6]:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// Without brackets; `None` means all addresses.
    pub(super) host: Option<String>,
    pub(super) port: u16,
}

impl FromStr for ListenAddress {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (host, port) = text.rsplit_once(':').context("the port is missing")?;
        // `parse` alone would take `+80`.
        if !port.bytes().all(|b| b.is_ascii_digit()) {
            bail!("the port is not a number");
        }
        let port = port.parse().context("the port is not within 0..=65535")?;
        let host = match host.strip_prefix('[').map(|h| h.strip_suffix(']')) {
            Some(Some(address)) => Some(ipv6(address)?),
            Some(None) => bail!("the closing bracket is missing"),
            None if host.contains([':', ']']) => bail!("an IPv6 address needs brackets around it"),
            None if host.is_empty() => None,
            None => Some(host.to_owned()),
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            host => write!(f, "{}:{}", host.as_deref().unwrap_or_default(), self.port),
        }
    }
}

/// Checks the address between brackets. It may have a zone (`fe80::1%eth0`, RFC 4007).
fn ipv6(text: &str) -> anyhow::Result<String> {
    let address = text
        .split_once('%')
        .map_or(text, |(address, _zone)| address);
    address
        .parse::<Ipv6Addr>()
        .with_context(|| format!("{address:?} is not an IPv6 address"))?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ListenAddress {
        text.parse().expect("an address")
    }

    #[test]
    fn addresses_are_shown_as_they_were_given() {
        for text in [
            ":10095",
            ":0",
            "127.0.0.1:80",
            "localhost:9000",
            "[::1]:65535",
            "[fe80::1%eth0]:1",
        ] {
            assert_eq!(parse(text).to_string(), text);
        }
    }

    #[test]
    fn malformed_addresses_are_refused() {
        for text in [
            "", "10095", ":", ":+80", ":65536", ":http", "::1:80", "[::1]", "[::1:80", "[x]:80",
            "[]:80", "::1]:80",
        ] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text:?}");
        }
    }
}
