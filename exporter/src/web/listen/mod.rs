//! Where the server listens.
//!
//! All addresses means one socket for both families, as ipv6(7) describes for `IPV6_V6ONLY` off;
//! the sysctl `net.ipv6.bindv6only` has no say in it. Hosts without IPv6 get IPv4 alone.

mod address;
mod plan;
mod systemd;
mod unix;

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;

use anyhow::{Context, anyhow};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

pub use address::ListenAddress;
pub(super) use address::{TcpAddress, UnixAddress};
use plan::{Socket, Wanted};
pub use systemd::from_systemd;

/// Connections that wait to be accepted: far more than scrapers come at a time.
const BACKLOG: i32 = 128;

/// What the kernel may hold for each connection, so that clients that do not read, or send and send,
/// take a bounded part of the host's memory; it counts twice as much, for its own records (socket(7)).
/// By itself it takes up to `net.ipv4.tcp_wmem` and `tcp_rmem`: 4 and 6 MiB. A request fits, and a page
/// over a line with a round trip of 100 ms still gets 620 kB/s (measured; 1,830 without).
const SEND_BUFFER_BYTES: usize = 64 * 1024;
const RECEIVE_BUFFER_BYTES: usize = 16 * 1024;

/// A socket that listens and does not block, as tokio wants it.
#[derive(Debug)]
pub enum Listener {
    /// Of TCP.
    Tcp(TcpListener),
    /// In the file system.
    Unix(UnixListener),
}

/// Listens on every address.
///
/// A host name listens
/// on every address that it stands for and that this host has. What two addresses have in common
/// is listened on once.
///
/// # Errors
///
/// One line that names the address and what can be done.
pub fn bind(addresses: &[ListenAddress]) -> anyhow::Result<Vec<Listener>> {
    let tcp: Vec<&TcpAddress> = addresses
        .iter()
        .filter_map(|address| match address {
            ListenAddress::Tcp(address) => Some(address),
            ListenAddress::Unix(_) => None,
        })
        .collect();
    let mut listeners: Vec<_> = bind_tcp(&tcp)?.into_iter().map(Listener::Tcp).collect();
    for address in addresses {
        if let ListenAddress::Unix(unix) = address {
            let listener =
                unix::listen(unix).with_context(|| format!("cannot listen on {address}"))?;
            listeners.push(Listener::Unix(listener));
        }
    }
    Ok(listeners)
}

fn bind_tcp(addresses: &[&TcpAddress]) -> anyhow::Result<Vec<TcpListener>> {
    let resolved = addresses
        .iter()
        .map(|address| resolve(address).map_err(|error| explain(address, error)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut sockets = plan::sockets(&resolved.concat()).into_iter();
    let mut listeners = Vec::new();
    for (address, wanted) in addresses.iter().zip(&resolved) {
        let own = sockets.by_ref().take(wanted.len());
        listeners.extend(listen_on_each(own).map_err(|error| explain(address, error))?);
    }
    Ok(listeners)
}

fn resolve(address: &TcpAddress) -> io::Result<Vec<Wanted>> {
    let Some(host) = &address.host else {
        return Ok(vec![Wanted::All(address.port)]);
    };
    let addresses = (host.as_str(), address.port).to_socket_addrs()?;
    Ok(addresses.map(Wanted::one).collect())
}

/// `None` is listened on elsewhere. One of them is enough: `localhost` is also ::1, even where there is
/// no IPv6.
fn listen_on_each(sockets: impl Iterator<Item = Option<Socket>>) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    let mut is_elsewhere = false;
    let mut absent = None;
    for socket in sockets {
        match socket.map(listen_on) {
            Some(Ok(listener)) => listeners.push(listener),
            Some(Err(error)) if is_absent(&error) => absent = Some(error),
            Some(Err(error)) => return Err(error),
            None => is_elsewhere = true,
        }
    }
    match absent {
        Some(error) if listeners.is_empty() && !is_elsewhere => Err(error),
        _ => Ok(listeners),
    }
}

fn listen_on(socket: Socket) -> io::Result<TcpListener> {
    let all_ipv6 = |port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    match socket {
        Socket::On(address) => listen(address, Families::Both),
        Socket::AllIpv6(port) => listen(all_ipv6(port), Families::Own),
        Socket::All(port) => match listen(all_ipv6(port), Families::Both) {
            Err(error) if is_absent(&error) => {
                listen((Ipv4Addr::UNSPECIFIED, port).into(), Families::Own)
            }
            listener => listener,
        },
    }
}

/// What `::` lets in; no other address has a choice.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Families {
    Both,
    Own,
}

fn listen(address: SocketAddr, families: Families) -> io::Result<TcpListener> {
    let family = match address.ip() {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    // A restart must not wait for the old connections in TIME_WAIT.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    // Before listen(2), since a connection has what its listener had when it began (tcp(7)).
    bound_buffers(&socket)?;
    if family == AddressFamily::INET6 {
        sockopt::set_ipv6_v6only(&socket, families == Families::Own)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

fn bound_buffers(socket: impl AsFd) -> io::Result<()> {
    sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER_BYTES)?;
    sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER_BYTES)?;
    Ok(())
}

/// Whether this host lacks the address or its whole family (`ipv6.disable=1`).
fn is_absent(error: &io::Error) -> bool {
    let family = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
    error.kind() == ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(family)
}

fn explain(address: &TcpAddress, error: io::Error) -> anyhow::Error {
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

    fn bind(addresses: &[ListenAddress]) -> anyhow::Result<Vec<TcpListener>> {
        let tcp = super::bind(addresses)?
            .into_iter()
            .map(|listener| match listener {
                Listener::Tcp(listener) => listener,
                Listener::Unix(_) => panic!("not asked for"),
            });
        Ok(tcp.collect())
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
    fn addresses_that_overlap_are_all_reached() {
        let has_ipv6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
        for (hosts, sockets) in [
            (&["0.0.0.0", "[::]"][..], 2),
            (&["[::]", "0.0.0.0"], 2),
            (&["[::]", "127.0.0.1"], 2),
            (&["127.0.0.1", "[::1]", "127.0.0.1", "[::1]"], 2),
            (
                &["", "0.0.0.0", "[::]", "127.0.0.1", "[::1]", "localhost"],
                1,
            ),
            (&["", ""], 1),
        ] {
            if hosts.iter().any(|host| host.contains(':')) && !has_ipv6 {
                continue;
            }
            // A port that nobody has in either family.
            let free = bind(&[parse(":0")]).expect("a free port");
            let port = free[0].local_addr().expect("an address").port();
            drop(free);
            let addresses: Vec<_> = hosts
                .iter()
                .map(|h| parse(&format!("{h}:{port}")))
                .collect();
            let listeners = bind(&addresses).unwrap_or_else(|e| panic!("{hosts:?}: {e:#}"));
            assert_eq!(listeners.len(), sockets, "{hosts:?}");
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("IPv4");
            if has_ipv6 {
                TcpStream::connect((Ipv6Addr::LOCALHOST, port)).expect("IPv6");
            }
        }
    }

    #[test]
    fn a_name_given_twice_is_listened_on_once() {
        let free = bind(&[parse(":0")]).expect("a free port");
        let port = free[0].local_addr().expect("an address").port();
        drop(free);
        let localhost = parse(&format!("localhost:{port}"));
        let once = bind(std::slice::from_ref(&localhost))
            .expect("localhost")
            .len();
        assert_eq!(
            bind(&[localhost.clone(), localhost])
                .expect("localhost")
                .len(),
            once
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
