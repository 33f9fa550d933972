//! Why sockets drop what reaches them, over UDP and TCP. The far end of each connection is the test itself, so every
//! segment that arrives is one it has made. Each number of packets is another, so that none can stand for another.
//!
//! By then the kernel uses the memory of `skb->dev` for something else (`net/ipv4/udp.c`, `udp_set_dev_scratch`; the
//! tree of segments out of order), so the device is known by other means, or not.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size};

use netdrop_tests::bpf::refuse_all;
use netdrop_tests::packet::{ACK, Body, Family, IPV4_BODY, PSH, Packet, SYN, Segment};
use netdrop_tests::scene::{CLOSED, Cause, spoilt};
use netdrop_tests::wire::Connection;
use netdrop_tests::{Room, Scene};

const PORT: u16 = 4001;
/// The two bytes of the checksum in a UDP header over IPv4.
const UDP_CHECKSUM: usize = IPV4_BODY + 6;
/// The byte of the header length in a TCP header over IPv4.
const TCP_DATA_OFFSET: usize = IPV4_BODY + 12;
/// The two bytes of the checksum in a TCP header over IPv4.
const TCP_CHECKSUM: usize = IPV4_BODY + 16;

const UDP: [Cause; 3] = [
    Cause::at_device("a socket's filter", |scene| {
        let socket = socket(scene);
        refuse_all(&socket);
        scene.send(&Packet::udp(PORT).frame(), 11)
    }),
    Cause::at_device("a full receive buffer", |scene| {
        let socket = socket(scene);
        set_socket_recv_buffer_size(&socket, 1).unwrap();
        scene.send(&Packet::udp(PORT).frame(), 40);
        let packets = udp_drops(scene);
        // What is left must have been taken: dropped and taken are all.
        let takes = (0..40).take_while(|_| socket.recv(&mut [0; 100]).is_ok());
        assert_eq!(packets + takes.count() as u64, 40);
        packets
    }),
    Cause::at_device("a wrong checksum, seen by the reader", |scene| {
        let socket = socket(scene);
        // Longer than what the kernel checks on arrival (`include/linux/skbuff.h`, CHECKSUM_BREAK).
        let packet = Packet {
            body: Body::Udp(vec![0; 200]),
            ..Packet::udp(PORT)
        };
        scene.send(&spoilt(&packet, UDP_CHECKSUM), 13);
        let error = socket.recv(&mut [0; 100]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        udp_drops(scene)
    })
    .without_device()
    .without_namespace(),
];

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn what_a_udp_socket_does_not_take_is_counted_by_its_reason() {
    let _room = Room::enter();
    assert_eq!(Scene::new().check_all(&UDP), 3);
}

const WITHOUT_CONNECTION: [Cause; 3] = [
    Cause::at_device("SYN to a closed port", |scene| {
        scene.send(&request(CLOSED), 31)
    }),
    Cause::at_device("a wrong TCP checksum", |scene| {
        let mut frame = request(PORT);
        frame[TCP_CHECKSUM] ^= 0x55;
        scene.send(&frame, 32)
    }),
    Cause::at_device("a TCP header too short for TCP", |scene| {
        let mut frame = request(PORT);
        frame[TCP_DATA_OFFSET] = 0x40;
        scene.send(&frame, 33)
    }),
];

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn what_tcp_refuses_without_a_connection_is_counted_by_its_reason() {
    let _room = Room::enter();
    assert_eq!(Scene::new().check_all(&WITHOUT_CONNECTION), 3);
}

const CONNECTION: [Cause; 9] = [
    established("a sequence number far too old", |scene| {
        let (connection, _stream) = establish(scene, None);
        connection.send_ahead(-50_000, ACK, b"old", 11)
    }),
    established("a sequence number far too new", |scene| {
        let (connection, _stream) = establish(scene, None);
        connection.send_ahead(50_000_000, ACK, b"new", 12)
    }),
    established("data that is there already", |scene| {
        let (connection, _stream) = establish(scene, None);
        // Everything after the first is a repetition.
        connection.send(ACK | PSH, b"data", 14) - 1
    }),
    established("an acknowledgment of what was never sent", |scene| {
        let (mut connection, _stream) = establish(scene, None);
        connection.ack = connection.ack.wrapping_add(1000);
        connection.send(ACK, b"", 14)
    }),
    established("no control bit", |scene| {
        let (connection, _stream) = establish(scene, None);
        connection.send(0, b"none", 15)
    }),
    established("a SYN in mid-connection", |scene| {
        let (connection, _stream) = establish(scene, None);
        connection.send(SYN, b"", 16)
    }),
    established("data out of order, again", |scene| {
        let (connection, _stream) = establish(scene, None);
        let packets = connection.send_ahead(1, ACK, b"later", 18) - 1;
        // What was missing, or the socket would drop the rest when it is closed.
        connection.send(ACK, b"-", 1);
        packets
    }),
    Cause::at_device("closed with data out of order", |scene| {
        let (connection, _stream) = establish(scene, None);
        let each = (1..20).map(|at| connection.send_ahead(at * 20, ACK, b"x", 1));
        each.sum()
    })
    .in_state("CLOSE"),
    // Segments with gaps between them, the last ones first, until the socket has no room: then it gives up the
    // last ones, whose `skb->dev` is by now a part of the tree that they were sorted into.
    established("too much data out of order", |scene| {
        let (connection, stream) = establish(scene, Some(4_000));
        for at in (1..60).rev() {
            connection.send_ahead(at * 20, ACK, b"x", 1);
        }
        let packets = tcp_drops(scene);
        scene.keep(stream);
        packets
    }),
];

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn what_a_connection_refuses_is_counted_by_its_reason_and_state() {
    let _room = Room::enter();
    assert_eq!(Scene::new().check_all(&CONNECTION), 9);
}

const fn established(what: &'static str, provoke: fn(&Scene) -> u64) -> Cause {
    Cause::at_device(what, provoke).in_state("ESTABLISHED")
}

/// The frame that asks for a connection.
fn request(port: u16) -> Vec<u8> {
    let segment = Segment {
        from: Family::V4.far(4003),
        to: Family::V4.host(port),
        seq: 1,
        ack: 0,
        flags: SYN,
        payload: Vec::new(),
    };
    segment.frame()
}

/// A connection of the host, where asked with a small receive buffer. It vanishes when it is closed, so that the next
/// one can have its port.
fn establish(scene: &Scene, buffer: Option<usize>) -> (Connection<'_>, TcpStream) {
    let listener = scene.listener(Family::V4.host(PORT));
    if let Some(bytes) = buffer {
        set_socket_recv_buffer_size(&listener, bytes).unwrap();
    }
    let (connection, stream) = scene.establish_with(&listener, Family::V4.far(4003));
    set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    (connection, stream)
}

/// The socket's own count of its drops: `d` in what ss(8) shows of its memory.
fn tcp_drops(scene: &Scene) -> u64 {
    let sockets = scene.run(&format!("ss -tmnOH state established sport = :{PORT}"));
    let (_, rest) = sockets.split_once(",d").unwrap();
    rest.split(')').next().unwrap().parse().unwrap()
}

fn socket(scene: &Scene) -> UdpSocket {
    let address: SocketAddr = Family::V4.host(PORT);
    let socket = scene.host.enter(|| UdpSocket::bind(address).unwrap());
    socket.set_nonblocking(true).unwrap();
    socket
}

/// The socket's own count of its drops: the last column of `/proc/net/udp`.
fn udp_drops(scene: &Scene) -> u64 {
    let read = || fs::read_to_string("/proc/thread-self/net/udp").unwrap();
    let table = scene.host.enter(read);
    let port = format!(":{PORT:04X} ");
    let line = table.lines().find(|line| line.contains(&port)).unwrap();
    line.split_whitespace().last().unwrap().parse().unwrap()
}
