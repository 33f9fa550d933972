//! TCP segments and UDP datagrams as whole Ethernet frames over IPv4 and IPv6 (RFC 791, 8200, 9293, 768).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::send::ETHERNET_HEADER;

/// The MAC address of the host that the frames are for: locally administered.
pub const HOST_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 1];
/// The MAC address that the frames are from.
pub const FAR_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 2];

/// TCP control bit (RFC 9293, 3.1).
pub const FIN: u8 = 0x01;
/// TCP control bit.
pub const SYN: u8 = 0x02;
/// TCP control bit.
pub const RST: u8 = 0x04;
/// TCP control bit.
pub const ACK: u8 = 0x10;

/// Protocol numbers, and where the checksum is in their headers.
const TCP: (u8, usize) = (6, 16);
const UDP: (u8, usize) = (17, 6);

/// Bytes of the headers without options.
const IPV6_HEADER: usize = 40;
const TCP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;

/// IP version 4 or 6, with addresses that are reserved for examples (RFC 5737, RFC 3849).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A TCP segment without options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Address and port of the sender.
    pub from: SocketAddr,
    /// Address and port of the receiver.
    pub to: SocketAddr,
    /// Sequence number of the first byte.
    pub seq: u32,
    /// Acknowledgment number.
    pub ack: u32,
    /// Control bits.
    pub flags: u8,
    /// Data.
    pub payload: Vec<u8>,
}

impl Family {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The EtherType, by which a trace of drops tells them apart.
    pub fn ethertype(self) -> u16 {
        match self {
            Self::V4 => 0x0800,
            Self::V6 => 0x86dd,
        }
    }

    /// The address of the host under test.
    pub fn host(self) -> IpAddr {
        self.address(1)
    }

    /// The address of everybody else, whom the test plays.
    pub fn far(self) -> IpAddr {
        self.address(2)
    }

    fn address(self, last: u8) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(192, 0, 2, last).into(),
            Self::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()).into(),
        }
    }
}

impl Segment {
    /// The frame that brings the segment to the host.
    pub fn frame(&self) -> Vec<u8> {
        let mut tcp = Vec::with_capacity(TCP_HEADER + self.payload.len());
        tcp.extend(self.from.port().to_be_bytes());
        tcp.extend(self.to.port().to_be_bytes());
        tcp.extend(self.seq.to_be_bytes());
        tcp.extend(self.ack.to_be_bytes());
        tcp.push((TCP_HEADER as u8 / 4) << 4);
        tcp.push(self.flags);
        let window = u16::MAX;
        tcp.extend(window.to_be_bytes());
        // The checksum is still to come, and there is no urgent pointer.
        tcp.extend([0; 4]);
        tcp.extend(&self.payload);
        frame(self.from.ip(), self.to.ip(), TCP, tcp)
    }

    /// Reads a frame; `None` if there is no TCP segment in it.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let packet = frame.get(ETHERNET_HEADER..)?;
        let (from, to, tcp): (IpAddr, IpAddr, _) = match short(frame, 12)? {
            0x0800 if *packet.get(9)? == TCP.0 => (
                array::<4>(packet, 12)?.into(),
                array::<4>(packet, 16)?.into(),
                packet.get(usize::from(packet[0] & 15) * 4..short(packet, 2)?.into())?,
            ),
            0x86dd if *packet.get(6)? == TCP.0 => (
                array::<16>(packet, 8)?.into(),
                array::<16>(packet, 24)?.into(),
                packet.get(IPV6_HEADER..IPV6_HEADER + usize::from(short(packet, 4)?))?,
            ),
            _ => return None,
        };
        Some(Self {
            from: SocketAddr::new(from, short(tcp, 0)?),
            to: SocketAddr::new(to, short(tcp, 2)?),
            seq: u32::from_be_bytes(array(tcp, 4)?),
            ack: u32::from_be_bytes(array(tcp, 8)?),
            flags: *tcp.get(13)?,
            payload: tcp.get(usize::from(tcp[12] >> 4) * 4..)?.to_vec(),
        })
    }
}

/// A UDP datagram as the frame that brings it to the host.
pub fn datagram(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut udp = Vec::with_capacity(UDP_HEADER + payload.len());
    udp.extend(from.port().to_be_bytes());
    udp.extend(to.port().to_be_bytes());
    udp.extend(((UDP_HEADER + payload.len()) as u16).to_be_bytes());
    udp.extend([0; 2]);
    udp.extend(payload);
    frame(from.ip(), to.ip(), UDP, udp)
}

/// The frame with a bit of its last byte flipped, so that its transport checksum is wrong.
pub fn corrupted(mut frame: Vec<u8>) -> Vec<u8> {
    if let Some(byte) = frame.last_mut() {
        *byte ^= 1;
    }
    frame
}

/// Puts the checksum into a transport packet, and Ethernet and IP headers before it.
fn frame(from: IpAddr, to: IpAddr, (protocol, at): (u8, usize), mut packet: Vec<u8>) -> Vec<u8> {
    let length = packet.len() as u16;
    let mut pseudo_header = Vec::new();
    extend_by_addresses(&mut pseudo_header, from, to);
    pseudo_header.extend([0, protocol]);
    pseudo_header.extend(length.to_be_bytes());
    // Over UDP, 0 would mean that there is no checksum, and both mean the same number.
    let sum = match checksum(&[&pseudo_header, &packet]) {
        0 => u16::MAX,
        sum => sum,
    };
    packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());

    let mut frame = [HOST_MAC, FAR_MAC].concat();
    if from.is_ipv4() {
        frame.extend(Family::V4.ethertype().to_be_bytes());
        frame.extend(ipv4_header(from, to, protocol, length));
    } else {
        frame.extend(Family::V6.ethertype().to_be_bytes());
        // Version 6, then length, next header and hop limit.
        frame.extend([0x60, 0, 0, 0]);
        frame.extend(length.to_be_bytes());
        frame.extend([protocol, 64]);
        extend_by_addresses(&mut frame, from, to);
    }
    frame.extend(packet);
    frame
}

fn ipv4_header(from: IpAddr, to: IpAddr, protocol: u8, length: u16) -> Vec<u8> {
    // Version 4 and five words of header.
    let mut header = vec![0x45, 0];
    header.extend((20 + length).to_be_bytes());
    // Not a fragment, time to live, protocol, and the checksum that is still to come.
    header.extend([0, 0, 0, 0, 64, protocol, 0, 0]);
    extend_by_addresses(&mut header, from, to);
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

fn extend_by_addresses(bytes: &mut Vec<u8>, from: IpAddr, to: IpAddr) {
    for address in [from, to] {
        match address {
            IpAddr::V4(address) => bytes.extend(address.octets()),
            IpAddr::V6(address) => bytes.extend(address.octets()),
        }
    }
}

/// The Internet checksum (RFC 1071) over parts of which all but the last have an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_read_back_from_its_frame() {
        for family in Family::BOTH {
            let segment = Segment {
                from: SocketAddr::new(family.far(), 40_000),
                to: SocketAddr::new(family.host(), 80),
                seq: 0x0102_0304,
                ack: 0x0506_0708,
                flags: SYN | ACK,
                payload: b"odd".to_vec(),
            };
            assert_eq!(Segment::parse(&segment.frame()), Some(segment));
        }
    }

    #[test]
    fn what_is_no_segment_is_not_read() {
        let [from, to] = [1, 2].map(|port| SocketAddr::new(Family::V4.far(), port));
        let whole = datagram(from, to, b"data");
        for frame in [&whole[..], &whole[..20], &[]] {
            assert_eq!(Segment::parse(frame), None);
        }
    }

    #[test]
    fn the_checksum_of_the_example_in_rfc_1071_is_right() {
        let sum = checksum(&[&[0x00, 0x01, 0xf2, 0x03], &[0xf4, 0xf5, 0xf6, 0xf7]]);
        assert_eq!(sum, !0xddf2);
    }
}
