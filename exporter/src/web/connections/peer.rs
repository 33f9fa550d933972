//! Whom a connection is counted for.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// A client's IPv4 address, or the /64 of its IPv6 address: all of that is usually one network's,
/// and a single host can have any address of it (RFC 4291, section 2.5.4; RFC 8981).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::web) enum Peer {
    Network(IpAddr),
    /// Of a UNIX socket: who made the connection, by number.
    User(u32),
}

const PREFIX_BITS: u32 = 64;

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        // On a socket for both families IPv4 clients have IPv4-mapped addresses.
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let prefix = address.to_bits() & (u128::MAX << (128 - PREFIX_BITS));
                Self::Network(Ipv6Addr::from_bits(prefix).into())
            }
            ipv4 => Self::Network(ipv4),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(number) => write!(f, "user {number}"),
            Self::Network(IpAddr::V4(address)) => address.fmt(f),
            Self::Network(IpAddr::V6(prefix)) => write!(f, "{prefix}/{PREFIX_BITS}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> String {
        Peer::from(address.parse::<IpAddr>().expect("an address")).to_string()
    }

    #[test]
    fn a_peer_is_an_ipv4_address_or_an_ipv6_network() {
        for (address, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::", "2001:db8:1:2::/64"),
            ("fe80::1", "fe80::/64"),
            ("::1", "::/64"),
        ] {
            assert_eq!(peer(address), expected, "{address}");
        }
    }
}
