//! `--web.listen-address` as text.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, bail, ensure};

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// `:PORT` (all addresses of the host), `HOST:PORT` or `[IPV6]:PORT`.
    Tcp(TcpAddress),
    /// `unix:PATH`, or with a mode `unix:PATH,mode=660`.
    Unix(UnixAddress),
}

/// A port of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpAddress {
    /// Without brackets; `None` means all addresses.
    pub(in crate::web) host: Option<String>,
    pub(in crate::web) port: u16,
}

/// A UNIX socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixAddress {
    pub(in crate::web) path: PathBuf,
    /// Who may connect: who may write the file (unix(7)).
    pub(in crate::web) mode: u32,
}

/// The owner and its group.
const DEFAULT_MODE: u32 = 0o660;

impl FromStr for ListenAddress {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        match text.strip_prefix("unix:") {
            Some(rest) => UnixAddress::parse(rest).map(Self::Unix),
            None => TcpAddress::parse(text).map(Self::Tcp),
        }
    }
}

impl UnixAddress {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let (path, mode) = match text.split_once(",mode=") {
            Some((path, digits)) => {
                let mode = u32::from_str_radix(digits, 8).ok();
                let mode = mode.filter(|&mode| mode <= 0o777 && !digits.starts_with('+'));
                (path, mode.context("the mode is not octal, such as 660")?)
            }
            None => (text, DEFAULT_MODE),
        };
        ensure!(
            path.starts_with('/'),
            "the path of a socket must begin with /"
        );
        let path = PathBuf::from(path);
        Ok(Self { path, mode })
    }
}

impl TcpAddress {
    fn parse(text: &str) -> anyhow::Result<Self> {
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
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(UnixAddress { path, mode }) if *mode == DEFAULT_MODE => {
                write!(f, "unix:{}", path.display())
            }
            Self::Unix(UnixAddress { path, mode }) => {
                write!(f, "unix:{},mode={mode:o}", path.display())
            }
        }
    }
}

impl fmt::Display for TcpAddress {
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
            "unix:/run/netdrop.sock",
            "unix:/run/a:9,mode=666",
        ] {
            assert_eq!(parse(text).to_string(), text);
        }
    }

    #[test]
    fn malformed_addresses_are_refused() {
        for text in [
            "",
            "10095",
            ":",
            ":+80",
            ":65536",
            ":http",
            "::1:80",
            "[::1]",
            "[::1:80",
            "[x]:80",
            "[]:80",
            "::1]:80",
            "unix:",
            "unix:run/x",
            "unix:/x,mode=",
            "unix:/x,mode=9",
            "unix:/x,mode=1777",
            "unix:/x,mode=+66",
        ] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text:?}");
        }
    }
}
