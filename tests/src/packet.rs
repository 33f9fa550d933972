//! Frames byte by byte: Ethernet, IPv4 or IPv6, and what IP carries (RFC 791, 8200, 768, 9293, 792).
//!
//! [`Packet::frame`] is right in every checksum and length. What is to be wrong, a test makes wrong in
//! the bytes, by one of the offsets named here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The hardware address of the host under test.
pub const HOST_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
/// The hardware address of everybody else.
pub const FAR_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x02];
/// The IPv4 address of the host under test.
pub const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// A neighbour's IPv4 address.
pub const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The IPv6 address of the host under test.
pub const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// A neighbour's IPv6 address.
pub const FAR6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

/// Where an IPv4 header begins in a frame: its version and length.
pub const IPV4: usize = 14;
/// The two bytes of the packet's length in the IPv4 header.
pub const IPV4_LENGTH: usize = IPV4 + 2;
/// The two bytes of the IPv4 header's checksum.
pub const IPV4_CHECKSUM: usize = IPV4 + 10;
/// What follows an IPv4 header without options.
pub const IPV4_BODY: usize = IPV4 + 20;
/// The two bytes of the length in a UDP header over IPv4.
pub const UDP_LENGTH: usize = IPV4_BODY + 4;
/// The two bytes of the checksum in a UDP header over IPv4.
pub const UDP_CHECKSUM: usize = IPV4_BODY + 6;
/// The byte of the header length in a TCP header over IPv4.
pub const TCP_DATA_OFFSET: usize = IPV4_BODY + 12;
/// The two bytes of the checksum in a TCP header over IPv4.
pub const TCP_CHECKSUM: usize = IPV4_BODY + 16;
/// The two bytes of the checksum in an ICMP header over IPv4.
pub const ICMP_CHECKSUM: usize = IPV4_BODY + 2;

/// "Don't fragment" and "more fragments" in [`Packet::fragment`].
pub const DONT_FRAGMENT: u16 = 0x4000;
/// "More fragments" in [`Packet::fragment`].
pub const MORE_FRAGMENTS: u16 = 0x2000;

/// Control bits of TCP.
pub const SYN: u8 = 0x02;
/// Data that the receiver should not keep waiting.
pub const PSH: u8 = 0x08;
/// The acknowledgment number counts.
pub const ACK: u8 = 0x10;

const ICMP_ECHO_REQUEST: u8 = 8;

/// A packet from the neighbour to the host, until a test says otherwise.
#[derive(Debug, Clone)]
pub struct Packet {
    /// The hardware address it is sent to.
    pub to_mac: [u8; 6],
    /// The source address; of the same family as the destination.
    pub from: IpAddr,
    /// The destination address.
    pub to: IpAddr,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// Flags and offset of a fragment; IPv4 only.
    pub fragment: u16,
    /// What IP carries.
    pub body: Body,
}

/// What IP carries.
#[derive(Debug, Clone)]
pub enum Body {
    /// From port 4000.
    Udp {
        /// The destination port.
        to_port: u16,
        /// The data.
        payload: Vec<u8>,
    },
    /// With a window of 65,535 bytes and no options.
    Tcp(Tcp),
    /// An ICMP echo request without data.
    Ping,
    /// Any protocol, and its bytes.
    Other(u8, Vec<u8>),
}

/// A TCP segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tcp {
    /// The source port.
    pub from_port: u16,
    /// The destination port.
    pub to_port: u16,
    /// The sequence number.
    pub seq: u32,
    /// The acknowledgment number.
    pub ack: u32,
    /// The control bits.
    pub flags: u8,
    /// The data.
    pub payload: Vec<u8>,
}

impl Packet {
    /// A packet over IPv4.
    pub fn new(body: Body) -> Self {
        Self {
            to_mac: HOST_MAC,
            from: FAR.into(),
            to: HOST.into(),
            ttl: 64,
            fragment: 0,
            body,
        }
    }

    /// The same over IPv6.
    #[must_use]
    pub fn over_ipv6(self) -> Self {
        Self {
            from: FAR6.into(),
            to: HOST6.into(),
            ..self
        }
    }

    /// A UDP datagram of some bytes to a port.
    pub fn udp(to_port: u16) -> Self {
        Self::new(Body::Udp {
            to_port,
            payload: b"some bytes".to_vec(),
        })
    }

    /// The whole frame.
    pub fn frame(&self) -> Vec<u8> {
        let mut frame = [self.to_mac, FAR_MAC].concat();
        let body = self.body.bytes(self.from, self.to);
        match (self.from, self.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                frame.extend(0x0800_u16.to_be_bytes());
                let mut header = vec![0x45, 0];
                header.extend(length_of(&body, 20));
                header.extend(7_u16.to_be_bytes());
                header.extend(self.fragment.to_be_bytes());
                header.extend([self.ttl, self.body.protocol(), 0, 0]);
                header.extend(from.octets());
                header.extend(to.octets());
                let sum = checksum(&[&header]);
                header[IPV4_CHECKSUM - IPV4..][..2].copy_from_slice(&sum);
                frame.extend(header);
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                frame.extend(0x86dd_u16.to_be_bytes());
                frame.extend([0x60, 0, 0, 0]);
                frame.extend(length_of(&body, 0));
                frame.extend([self.body.protocol(), self.ttl]);
                frame.extend(from.octets());
                frame.extend(to.octets());
            }
            mixed => panic!("addresses of two families: {mixed:?}"),
        }
        frame.extend(body);
        frame
    }
}

impl Body {
    fn protocol(&self) -> u8 {
        match self {
            Self::Udp { .. } => 17,
            Self::Tcp(_) => 6,
            Self::Ping => 1,
            Self::Other(protocol, _) => *protocol,
        }
    }

    fn bytes(&self, from: IpAddr, to: IpAddr) -> Vec<u8> {
        let (mut bytes, at) = match self {
            Self::Udp { to_port, payload } => {
                let mut bytes = 4000_u16.to_be_bytes().to_vec();
                bytes.extend(to_port.to_be_bytes());
                bytes.extend(length_of(payload, 8));
                bytes.extend([0, 0]);
                bytes.extend(payload);
                (bytes, UDP_CHECKSUM - IPV4_BODY)
            }
            Self::Tcp(segment) => (segment.bytes(), TCP_CHECKSUM - IPV4_BODY),
            Self::Ping => {
                let mut bytes = vec![ICMP_ECHO_REQUEST, 0, 0, 0, 0, 1, 0, 1];
                let sum = checksum(&[&bytes]);
                bytes[ICMP_CHECKSUM - IPV4_BODY..][..2].copy_from_slice(&sum);
                return bytes;
            }
            Self::Other(_, bytes) => return bytes.clone(),
        };
        let protocol = [0, self.protocol()];
        let sum = checksum(&[
            &octets(from),
            &octets(to),
            &protocol,
            &length_of(&bytes, 0),
            &bytes,
        ]);
        bytes[at..][..2].copy_from_slice(&sum);
        bytes
    }
}

impl Tcp {
    /// Reads a segment out of a frame; `None` if there is none over IPv4 without options in it.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let tcp = frame.get(IPV4..IPV4_BODY)?.starts_with(&[0x45]) && frame[IPV4 + 9] == 6;
        let bytes = frame
            .get(IPV4_BODY..)
            .filter(|bytes| tcp && bytes.len() >= 20)?;
        let two = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let four = |at: usize| u32::from(two(at)) << 16 | u32::from(two(at + 2));
        Some(Self {
            from_port: two(0),
            to_port: two(2),
            seq: four(4),
            ack: four(8),
            flags: bytes[13],
            payload: bytes.get(usize::from(bytes[12] >> 4) * 4..)?.to_vec(),
        })
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.from_port.to_be_bytes().to_vec();
        bytes.extend(self.to_port.to_be_bytes());
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend(self.ack.to_be_bytes());
        // Twenty bytes of header, the control bits, the window, no checksum yet, no urgent data.
        bytes.extend([0x50, self.flags, 0xff, 0xff, 0, 0, 0, 0]);
        bytes.extend(&self.payload);
        bytes
    }
}

fn length_of(body: &[u8], header: u16) -> [u8; 2] {
    (header + u16::try_from(body.len()).unwrap()).to_be_bytes()
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The Internet checksum (RFC 1071) of parts of which only the last may be of odd length.
fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    let words = parts.iter().flat_map(|part| part.chunks(2)).map(word);
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // Only UDP minds whether a sum is sent as 0 or as 0xffff, and no packet of a test has that sum.
    (!(sum as u16)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_a_known_header_is_right() {
        // UDP over IPv4, 115 bytes, from 192.168.0.1 to 192.168.0.199; added up by hand.
        let header = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0x00,
            0x01, 0xc0, 0xa8, 0x00, 0xc7,
        ];
        assert_eq!(checksum(&[&header]), [0xb8, 0x61]);
    }

    #[test]
    fn a_segment_is_read_back_from_its_frame() {
        let segment = Tcp {
            from_port: 1,
            to_port: 2,
            seq: 0x0102_0304,
            ack: 0x0506_0708,
            flags: SYN | ACK,
            payload: b"odd".to_vec(),
        };
        let frame = Packet::new(Body::Tcp(segment.clone())).frame();
        assert_eq!(frame.len(), IPV4_BODY + 20 + 3);
        assert_eq!(Tcp::parse(&frame), Some(segment));
        assert_eq!(Tcp::parse(&Packet::udp(1).frame()), None);
    }
}
