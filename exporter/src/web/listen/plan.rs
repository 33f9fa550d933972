//! Which sockets a list of addresses takes.
//!
//! A socket on all addresses has those of its family, and the other one's where it is for both
//! (ipv6(7), `IPV6_V6ONLY`). The kernel refuses a second one on what the first has, so addresses
//! that others include get none of their own.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// What one flag asks for, with names resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All addresses of the host with this port.
    All(u16),
    /// One address, or all of its family if it is `0.0.0.0` or `::`. An IPv4-mapped address is the
    /// IPv4 address.
    One(SocketAddr),
}

/// A socket to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Socket {
    /// Both families, or IPv4 alone where there is no IPv6.
    All(u16),
    /// `::` without IPv4.
    AllIpv6(u16),
    /// As the address is; `::` is for both families.
    On(SocketAddr),
}

impl Wanted {
    pub(super) fn one(address: SocketAddr) -> Self {
        match address.ip().to_canonical() {
            IpAddr::V6(_) => Self::One(address),
            ipv4 => Self::One(SocketAddr::new(ipv4, address.port())),
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::All(port) => port,
            Self::One(address) => address.port(),
        }
    }

    /// Whether a socket for this has all that one for the other would have. Port 0 is another one
    /// each time.
    fn includes(self, other: Self) -> bool {
        if self.port() != other.port() || self.port() == 0 {
            return false;
        }
        match (self, other) {
            (Self::All(_), _) => true,
            (Self::One(_), Self::All(_)) => false,
            (Self::One(this), Self::One(other)) => {
                let has_family = this.ip().is_unspecified() && this.is_ipv4() == other.is_ipv4();
                has_family || this == other
            }
        }
    }
}

/// The socket for each of `wanted`; none for what another one includes.
///
/// `::` has IPv4 too, unless an IPv4 address with its port is wanted by itself.
pub(super) fn sockets(wanted: &[Wanted]) -> Vec<Option<Socket>> {
    let is_included = |index: usize, this: Wanted| {
        wanted.iter().enumerate().any(|(other_index, &other)| {
            let is_first = other_index < index || !this.includes(other);
            other_index != index && other.includes(this) && is_first
        })
    };
    let has_ipv4_beside = |port| {
        let is_ipv4 = |wanted: &Wanted| match wanted {
            Wanted::One(address) => address.is_ipv4() && address.port() == port,
            Wanted::All(_) => false,
        };
        wanted.iter().any(is_ipv4)
    };
    let socket = |this| match this {
        Wanted::All(port) => Socket::All(port),
        Wanted::One(address)
            if address.ip() == Ipv6Addr::UNSPECIFIED && has_ipv4_beside(address.port()) =>
        {
            Socket::AllIpv6(address.port())
        }
        Wanted::One(address) => Socket::On(address),
    };
    let sockets = wanted.iter().enumerate();
    sockets
        .map(|(index, &this)| (!is_included(index, this)).then(|| socket(this)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `:PORT` or an address.
    fn wanted(text: &str) -> Wanted {
        match text.strip_prefix(':') {
            Some(port) => Wanted::All(port.parse().expect("a port")),
            None => Wanted::one(text.parse().expect("an address")),
        }
    }

    fn name(socket: Socket) -> String {
        match socket {
            Socket::All(port) => format!(":{port}"),
            Socket::AllIpv6(port) => format!("v6only:{port}"),
            Socket::On(address) => address.to_string(),
        }
    }

    #[test]
    fn each_address_has_exactly_one_socket_that_serves_it() {
        for (given, expected) in [
            (":9", ":9"),
            ("0.0.0.0:9", "0.0.0.0:9"),
            ("[::]:9", "[::]:9"),
            // Both families.
            ("0.0.0.0:9 [::]:9", "0.0.0.0:9 v6only:9"),
            ("[::]:9 0.0.0.0:9", "v6only:9 0.0.0.0:9"),
            ("[::]:9 127.0.0.1:9", "v6only:9 127.0.0.1:9"),
            ("0.0.0.0:9 [::1]:9", "0.0.0.0:9 [::1]:9"),
            ("[::]:9 0.0.0.0:8", "[::]:9 0.0.0.0:8"),
            ("127.0.0.1:9 [::1]:9", "127.0.0.1:9 [::1]:9"),
            // What others include.
            (":9 0.0.0.0:9", ":9 -"),
            ("0.0.0.0:9 :9", "- :9"),
            (":9 [::]:9", ":9 -"),
            ("0.0.0.0:9 [::]:9 :9", "- - :9"),
            (":9 127.0.0.1:9 [::1]:9", ":9 - -"),
            ("127.0.0.1:9 0.0.0.0:9", "- 0.0.0.0:9"),
            ("[::1]:9 [fe80::1%2]:9 [::]:9", "- - [::]:9"),
            ("127.0.0.1:9 0.0.0.0:8", "127.0.0.1:9 0.0.0.0:8"),
            // Twice.
            (":9 :9", ":9 -"),
            ("127.0.0.1:9 [::1]:9 127.0.0.1:9", "127.0.0.1:9 [::1]:9 -"),
            ("[fe80::1%2]:9 [fe80::1%3]:9", "[fe80::1%2]:9 [fe80::1%3]:9"),
            ("127.0.0.1:9 127.0.0.1:8", "127.0.0.1:9 127.0.0.1:8"),
            // IPv4 by another name.
            ("[::ffff:127.0.0.1]:9 127.0.0.1:9", "127.0.0.1:9 -"),
            ("[::ffff:0.0.0.0]:9 [::]:9", "0.0.0.0:9 v6only:9"),
            // Every port 0 is one of its own.
            (":0 :0", ":0 :0"),
            (":0 127.0.0.1:0", ":0 127.0.0.1:0"),
            ("0.0.0.0:0 [::]:0", "0.0.0.0:0 v6only:0"),
        ] {
            let given_wanted: Vec<_> = given.split(' ').map(wanted).collect();
            let sockets = sockets(&given_wanted).into_iter();
            let names: Vec<_> = sockets
                .map(|socket| socket.map_or("-".to_owned(), name))
                .collect();
            assert_eq!(names.join(" "), expected, "{given}");
        }
    }
}
