//! A host whose only link is a tap device: the test is everybody else on that wire, byte by byte.
//!
//! What the test sends has gone through the host's stack when the call returns (`drivers/net/tun.c`,
//! `tun_get_user`), drops and replies included, in the context of the calling thread. So a test knows
//! when all is counted, without waiting.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use crate::netns::Namespace;
use crate::packet::{ACK, FAR_MAC, FIN, Family, HOST_MAC, SYN, Segment};
use crate::tap::Tap;
use crate::wait::{SOON, poll_for, wait_until};

/// The device's name in the host.
pub const DEVICE: &str = "wire0";

/// The far end's first sequence number: far from both ends of the range.
const FIRST: u32 = 1_000_000;

/// The host's namespace and the far side of its link.
#[derive(Debug)]
pub struct Wire {
    /// The host.
    pub host: Namespace,
    tap: Tap,
}

impl Wire {
    /// A host with an address of each family, that knows the far end without asking.
    pub fn new() -> Self {
        let host = Namespace::new();
        let wire = Self {
            tap: Tap::new(&host, DEVICE),
            host,
        };
        // IPv6 without messages of its own: no detection of duplicates, no link-local address, no routers.
        for (setting, value) in [
            ("addr_gen_mode", "1"),
            ("accept_dad", "0"),
            ("accept_ra", "0"),
            ("router_solicitations", "0"),
            ("disable_ipv6", "0"),
        ] {
            wire.sysctl(&format!("ipv6/conf/{DEVICE}/{setting}"), value);
        }
        let (host_mac, far_mac) = (mac(HOST_MAC), mac(FAR_MAC));
        wire.run(&format!("ip link set dev {DEVICE} address {host_mac} up"));
        // A tap device has no operational state to wait for.
        wait_until("the wire has carrier", SOON, || {
            wire.run(&format!("ip -o link show dev {DEVICE}"))
                .contains("LOWER_UP")
        });
        for (family, prefix) in [(Family::V4, 24), (Family::V6, 64)] {
            let (host, far) = (family.host(0).ip(), family.far(0).ip());
            wire.run(&format!("ip addr add {host}/{prefix} dev {DEVICE}"));
            wire.run(&format!("ip neigh add {far} lladdr {far_mac} dev {DEVICE}"));
        }
        wire
    }

    /// Runs a command in the host, its words divided by spaces, and returns its standard output.
    pub fn run(&self, command: &str) -> String {
        self.host.exec(&command.split(' ').collect::<Vec<_>>())
    }

    /// Sets a sysctl of the host's network, named by its path below `/proc/sys/net`.
    pub fn sysctl(&self, name: &str, value: &str) {
        let path = format!("/proc/sys/net/{name}");
        self.host.enter(|| {
            fs::write(&path, value).unwrap_or_else(|error| panic!("cannot set {name}: {error}"));
        });
    }

    /// Lets the host receive a frame so many times, and returns the number.
    pub fn send(&self, frame: &[u8], times: u64) -> u64 {
        for _ in 0..times {
            self.tap.receive(frame).unwrap();
        }
        times
    }

    /// The same where the device is down, drops the frames itself, and says so.
    pub fn send_in_vain(&self, frame: &[u8], times: u64) -> u64 {
        for _ in 0..times {
            self.tap.receive(frame).unwrap_err();
        }
        times
    }

    /// The next segment with exactly these control bits that the host sends between two addresses;
    /// everything before it is thrown away.
    pub fn expect(&self, flags: u8, from: SocketAddr, to: SocketAddr) -> Segment {
        let what = format!("the host sends flags {flags:#x} from {from} to {to}");
        poll_for(&what, SOON, || {
            while let Some(frame) = self.tap.sent() {
                let segment = Segment::parse(&frame);
                let wanted = |segment: &Segment| {
                    (segment.flags, segment.from, segment.to) == (flags, from, to)
                };
                if let Some(segment) = segment.filter(wanted) {
                    return Some(segment);
                }
            }
            None
        })
    }

    /// Throws away what the host has sent, or its device would be full one day.
    pub fn discard(&self) {
        while self.tap.sent().is_some() {}
    }

    /// A listening socket of the host.
    pub fn listener(&self, address: SocketAddr) -> TcpListener {
        self.host.enter(|| TcpListener::bind(address).unwrap())
    }

    /// A connection that the far end has asked for and the host has not yet accepted: the far end has seen
    /// the host's SYN and ACK.
    pub fn request(&self, host: SocketAddr, far: SocketAddr) -> Connection<'_> {
        let mut connection = self.connection(host, far, FIRST, 0);
        connection.send(SYN, b"", 1);
        connection.seq += 1;
        let reply = self.expect(SYN | ACK, host, far);
        connection.ack = reply.seq.wrapping_add(1);
        connection
    }

    /// An established connection between two addresses, and the host's socket.
    pub fn establish(&self, host: SocketAddr, far: SocketAddr) -> (Connection<'_>, TcpStream) {
        self.establish_with(&self.listener(host), far)
    }

    /// The same with a listener of the host.
    pub fn establish_with(
        &self,
        listener: &TcpListener,
        far: SocketAddr,
    ) -> (Connection<'_>, TcpStream) {
        let connection = self.request(listener.local_addr().unwrap(), far);
        connection.send(ACK, b"", 1);
        let (stream, _) = listener.accept().unwrap();
        (connection, stream)
    }

    /// A connection that the host has asked for, and the host's socket.
    pub fn connecting(&self, host: SocketAddr, far: SocketAddr) -> (Connection<'_>, OwnedFd) {
        let socket = self.connect(host, far);
        let request = self.expect(SYN, host, far);
        let connection = self.connection(host, far, FIRST, request.seq.wrapping_add(1));
        (connection, socket)
    }

    /// A socket of the host that asks for a connection and does not wait for it.
    pub fn connect(&self, host: SocketAddr, far: SocketAddr) -> OwnedFd {
        let family = match host {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let socket = self.host.enter(|| {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            socket_with(family, SocketType::STREAM, flags, None).unwrap()
        });
        bind(&socket, &host).unwrap();
        assert_eq!(connect(&socket, &far), Err(Errno::INPROGRESS));
        socket
    }

    fn connection(&self, host: SocketAddr, far: SocketAddr, seq: u32, ack: u32) -> Connection<'_> {
        Connection {
            host,
            far,
            wire: self,
            seq,
            ack,
        }
    }
}

impl Default for Wire {
    fn default() -> Self {
        Self::new()
    }
}

/// A TCP connection of the host, whose far end the test plays.
#[derive(Debug)]
pub struct Connection<'a> {
    /// The host's address and port.
    pub host: SocketAddr,
    /// Those that the test plays.
    pub far: SocketAddr,
    wire: &'a Wire,
    /// The next sequence number of the far end.
    pub seq: u32,
    /// The next one that the far end expects of the host.
    pub ack: u32,
}

impl Connection<'_> {
    /// A segment of the far end, next in order.
    pub fn segment(&self, flags: u8, payload: &[u8]) -> Segment {
        Segment {
            from: self.far,
            to: self.host,
            seq: self.seq,
            ack: if flags & ACK == 0 { 0 } else { self.ack },
            flags,
            payload: payload.to_vec(),
        }
    }

    /// Sends [`Connection::segment`] so many times, and returns the number.
    pub fn send(&self, flags: u8, payload: &[u8], times: u64) -> u64 {
        let frame = self.segment(flags, payload).frame();
        self.wire.send(&frame, times)
    }

    /// The same from so many bytes ahead of the next in order.
    pub fn send_ahead(&self, bytes: i32, flags: u8, payload: &[u8], times: u64) -> u64 {
        let mut segment = self.segment(flags, payload);
        segment.seq = segment.seq.wrapping_add_signed(bytes);
        self.wire.send(&segment.frame(), times)
    }

    /// Takes note of the FIN that the host sends.
    pub fn expect_fin(&mut self) {
        let fin = self.wire.expect(FIN | ACK, self.host, self.far);
        self.ack = fin.seq.wrapping_add(1);
    }

    /// The far end has no more to say.
    pub fn send_fin(&mut self) {
        self.send(FIN | ACK, b"", 1);
        self.seq += 1;
    }
}

fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}
