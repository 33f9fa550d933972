//! Frames of a neighbour for the host under test, and segments that the host sends (built and read by etherparse).
//!
//! [`Packet::frame`] is right in every checksum and length. What is to be wrong, a test makes wrong in the bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use etherparse::{
    Ethernet2Header, IpHeaders, IpNumber, Ipv4Header, Ipv6Header, PacketBuilder, PacketBuilderStep,
    SlicedPacket, TcpHeader, TransportSlice,
};

use crate::send::ETHERTYPE;

/// The hardware address of the host under test: locally administered.
pub const HOST_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
/// The hardware address of everybody else.
pub const FAR_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x02];
/// The IPv4 address of the host under test.
pub const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// A neighbour's IPv4 address.
pub const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// Where an IPv4 header begins in a frame: its version and length.
pub const IPV4: usize = 14;
/// The two bytes of the IPv4 header's checksum.
pub const IPV4_CHECKSUM: usize = IPV4 + 10;
/// What follows an IPv4 header without options.
pub const IPV4_BODY: usize = IPV4 + 20;

/// TCP control bit (RFC 9293, 3.1).
pub const FIN: u8 = 0x01;
/// TCP control bit.
pub const SYN: u8 = 0x02;
/// TCP control bit.
pub const RST: u8 = 0x04;
/// TCP control bit.
pub const PSH: u8 = 0x08;
/// TCP control bit.
pub const ACK: u8 = 0x10;

/// IP version 4 or 6, with addresses that are reserved for examples (RFC 5737, RFC 3849).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
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

    /// The host under test, at a port.
    pub fn host(self, port: u16) -> SocketAddr {
        self.address(1, port)
    }

    /// Everybody else, whom the test plays, at a port.
    pub fn far(self, port: u16) -> SocketAddr {
        self.address(2, port)
    }

    fn address(self, last: u8, port: u16) -> SocketAddr {
        let address: IpAddr = match self {
            Self::V4 => Ipv4Addr::new(192, 0, 2, last).into(),
            Self::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()).into(),
        };
        SocketAddr::new(address, port)
    }
}

/// A packet from the neighbour to the host, until a test says otherwise.
#[derive(Debug, Clone)]
pub struct Packet {
    /// The hardware address it is sent to.
    pub to_mac: [u8; 6],
    /// The source; only UDP has the port.
    pub from: SocketAddr,
    /// The destination, of the same family.
    pub to: SocketAddr,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// "Don't fragment"; IPv4 only.
    pub dont_fragment: bool,
    /// "More fragments"; IPv4 only.
    pub more_fragments: bool,
    /// What IP carries.
    pub body: Body,
}

/// What IP carries, beside TCP.
#[derive(Debug, Clone)]
pub enum Body {
    /// A datagram with this payload.
    Udp(Vec<u8>),
    /// An ICMP echo request without data.
    Ping,
    /// Any protocol, and its bytes.
    Other(u8, Vec<u8>),
}

impl Packet {
    /// A packet over IPv4.
    pub fn new(body: Body) -> Self {
        Self {
            to_mac: HOST_MAC,
            from: Family::V4.far(4000),
            to: Family::V4.host(0),
            ttl: 64,
            dont_fragment: false,
            more_fragments: false,
            body,
        }
    }

    /// A UDP datagram of some bytes to a port.
    pub fn udp(port: u16) -> Self {
        Self {
            to: Family::V4.host(port),
            ..Self::new(Body::Udp(b"some bytes".to_vec()))
        }
    }

    /// The whole frame.
    pub fn frame(&self) -> Vec<u8> {
        let mut headers = ip_headers(self.from, self.to, self.ttl);
        if let IpHeaders::Ipv4(header, _) = &mut headers {
            header.dont_fragment = self.dont_fragment;
            header.more_fragments = self.more_fragments;
        }
        let packet = ethernet(self.to_mac).ip(headers);
        let mut frame = Vec::new();
        let written = match &self.body {
            Body::Udp(payload) => packet
                .udp(self.from.port(), self.to.port())
                .write(&mut frame, payload),
            Body::Ping => packet.icmpv4_echo_request(1, 1).write(&mut frame, &[]),
            Body::Other(protocol, bytes) => packet.write(&mut frame, IpNumber(*protocol), bytes),
        };
        written.unwrap();
        frame
    }
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

impl Segment {
    /// The frame that brings the segment to the host.
    pub fn frame(&self) -> Vec<u8> {
        let has = |flag| self.flags & flag != 0;
        let header = TcpHeader {
            acknowledgment_number: self.ack,
            fin: has(FIN),
            syn: has(SYN),
            rst: has(RST),
            psh: has(PSH),
            ack: has(ACK),
            ..TcpHeader::new(self.from.port(), self.to.port(), self.seq, u16::MAX)
        };
        let packet = ethernet(HOST_MAC).ip(ip_headers(self.from, self.to, 64));
        let mut frame = Vec::new();
        let written = packet.tcp_header(header).write(&mut frame, &self.payload);
        written.unwrap();
        frame
    }

    /// Reads a frame; `None` if there is no TCP segment in it.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let packet = SlicedPacket::from_ethernet(frame).ok()?;
        let Some(TransportSlice::Tcp(tcp)) = packet.transport else {
            return None;
        };
        let net = packet.net?;
        let (from, to): (IpAddr, IpAddr) = match (net.ipv4_ref(), net.ipv6_ref()) {
            (Some(v4), _) => {
                let header = v4.header();
                (
                    header.source_addr().into(),
                    header.destination_addr().into(),
                )
            }
            (_, Some(v6)) => {
                let header = v6.header();
                (
                    header.source_addr().into(),
                    header.destination_addr().into(),
                )
            }
            _ => return None,
        };
        Some(Self {
            from: SocketAddr::new(from, tcp.source_port()),
            to: SocketAddr::new(to, tcp.destination_port()),
            seq: tcp.sequence_number(),
            ack: tcp.acknowledgment_number(),
            flags: tcp.slice()[13],
            payload: tcp.payload().to_vec(),
        })
    }
}

/// The frame with a bit of its last byte flipped, so that its transport checksum is wrong.
pub fn corrupted(mut frame: Vec<u8>) -> Vec<u8> {
    if let Some(byte) = frame.last_mut() {
        *byte ^= 1;
    }
    frame
}

/// Frames that a host without addresses drops, each for another reason or in another function (Linux 6.18).
pub fn of_every_kind() -> Vec<Vec<u8>> {
    let packet = |protocol, bytes: [u8; 32]| Packet {
        to_mac: [0xff; 6],
        from: "0.0.0.0:0".parse().unwrap(),
        to: "255.255.255.255:0".parse().unwrap(),
        ..Packet::new(Body::Other(protocol, bytes.to_vec()))
    };
    // RFC 3692: for experiments.
    let whole = packet(253, [0; 32]).frame();
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = whole.clone();
        change(&mut frame);
        frame
    };
    let ethertype = |number: u16| {
        let to_all = [&[0xff; 6][..], &FAR_MAC, &number.to_be_bytes()];
        [&to_all.concat()[..], &[0; 46]].concat()
    };
    vec![
        ethertype(ETHERTYPE),
        ethertype(Family::V6.ethertype()),
        // No such protocol, no such version, a wrong checksum, and shorter than it says.
        whole.clone(),
        with(&|frame| frame[IPV4] = 0x55),
        with(&|frame| frame[IPV4_CHECKSUM] ^= 1),
        with(&|frame| frame.truncate(frame.len() - 1)),
        // A wrong ICMP checksum, a UDP length below the header's, and TCP to everybody.
        packet(1, [8; 32]).frame(),
        packet(17, [0; 32]).frame(),
        packet(6, [0; 32]).frame(),
        // To somebody else.
        with(&|frame| frame[..6].copy_from_slice(&[0x02, 0, 0, 0, 0, 9])),
    ]
}

fn ethernet(to: [u8; 6]) -> PacketBuilderStep<Ethernet2Header> {
    PacketBuilder::ethernet2(FAR_MAC, to)
}

fn ip_headers(from: SocketAddr, to: SocketAddr, ttl: u8) -> IpHeaders {
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let header = Ipv4Header::new(0, ttl, IpNumber(0), from.octets(), to.octets());
            IpHeaders::Ipv4(header.unwrap(), Default::default())
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let header = Ipv6Header {
                hop_limit: ttl,
                source: from.octets(),
                destination: to.octets(),
                ..Default::default()
            };
            IpHeaders::Ipv6(header, Default::default())
        }
        mixed => panic!("addresses of two families: {mixed:?}"),
    }
}
