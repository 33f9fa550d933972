//! Where the server listens.
//!
//! All addresses means one socket for both families, as ipv6(7) describes for `IPV6_V6ONLY` off;
//! the sysctl `net.ipv6.bindv6only` has no say in it. Hosts without IPv6 get IPv4 alone.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::str::FromStr;

use anyhow::{Context, anyhow, bail};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

/// Connections that wait to be accepted: far more than scrapers come at a time.
const BACKLOG: i32 = 128;

/// An address to listen on: `:PORT` (all addresses of the host), `HOST:PORT` or `[IPV6]:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// Without brackets; `None` means all addresses.
    host: Option<String>,
    port: u16,
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

/// Listens on every address.
///
/// The sockets do not block, as `tokio::net::TcpListener::from_std` wants them. A host name listens
/// on every address that it stands for and that this host has.
///
/// # Errors
///
/// One line that names the address and what can be done.
pub fn bind(addresses: &[ListenAddress]) -> anyhow::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for address in addresses {
        let listening = match &address.host {
            None => listen_on_all(address.port).map(|listener| vec![listener]),
            Some(host) => listen_on_host(host, address.port),
        };
        listeners.extend(listening.map_err(|error| explain(address, error))?);
    }
    Ok(listeners)
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

fn listen_on_all(port: u16) -> io::Result<TcpListener> {
    match listen(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)) {
        Err(error) if is_absent(&error) => {
            listen(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))
        }
        listener => listener,
    }
}

fn listen_on_host(host: &str, port: u16) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    let mut absent = None;
    for address in (host, port).to_socket_addrs()? {
        match listen(address) {
            Ok(listener) => listeners.push(listener),
            // `localhost` is also ::1, even where there is no IPv6.
            Err(error) if is_absent(&error) => absent = Some(error),
            Err(error) => return Err(error),
        }
    }
    match absent {
        Some(error) if listeners.is_empty() => Err(error),
        _ => Ok(listeners),
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let family = match address.ip() {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    // A restart must not wait for the old connections in TIME_WAIT.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if family == AddressFamily::INET6 {
        // Only `::` is affected: there it lets IPv4 in.
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

/// Whether this host lacks the address or its whole family (`ipv6.disable=1`).
fn is_absent(error: &io::Error) -> bool {
    let family = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
    error.kind() == ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(family)
}

fn explain(address: &ListenAddress, error: io::Error) -> anyhow::Error {
    let (what, remedy) = match error.kind() {
        ErrorKind::AddrInUse => (
            "address already in use",
            "another process has the port: choose one",
        ),
        ErrorKind::AddrNotAvailable => (
            "address not available",
            "this host does not have it: choose one",
        ),
        ErrorKind::PermissionDenied => (
            "permission denied",
            "ports below 1024 need CAP_NET_BIND_SERVICE: choose another one",
        ),
        _ => return anyhow::Error::new(error).context(format!("cannot listen on {address}")),
    };
    anyhow!("cannot listen on {address}: {what} ({remedy} with --web.listen-address)")
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

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

    #[test]
    fn all_addresses_means_both_families() {
        let listeners = bind(&[parse(":0")]).expect("a free port");
        let address = listeners[0].local_addr().expect("an address");
        TcpStream::connect((Ipv4Addr::LOCALHOST, address.port())).expect("IPv4");
        if address.is_ipv6() && TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, address.port())).expect("IPv6");
        }
    }

    #[test]
    fn a_port_in_use_is_an_error_with_a_remedy() {
        let listeners = bind(&[parse(":0")]).expect("a free port");
        let port = listeners[0].local_addr().expect("an address").port();
        let error = bind(&[parse(&format!(":{port}"))]).expect_err("it is in use");
        assert_eq!(
            format!("{error:#}"),
            format!(
                "cannot listen on :{port}: address already in use (another process has the port: \
                 choose one with --web.listen-address)"
            )
        );
    }

    #[test]
    fn an_address_of_another_host_is_an_error_with_a_remedy() {
        // TEST-NET-1 of RFC 5737: nobody has it.
        let error = bind(&[parse("192.0.2.1:0")]).expect_err("not ours");
        let error = format!("{error:#}");
        assert!(
            error.starts_with("cannot listen on 192.0.2.1:0: "),
            "{error}"
        );
        assert!(error.contains("--web.listen-address"), "{error}");
    }

    #[test]
    fn a_missing_family_is_recognised() {
        let missing = io::Error::from(rustix::io::Errno::AFNOSUPPORT);
        assert!(is_absent(&missing));
        assert!(!is_absent(&io::Error::from(ErrorKind::AddrInUse)));
    }
}
