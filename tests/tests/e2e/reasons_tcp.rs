//! Why TCP drops what it receives, before it knows a socket and in an established connection.
//!
//! The far end of each connection is the test itself, so every segment that arrives is one it has made.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size};

use netdrop_tests::packet::{
    ACK, Body, HOST, PSH, Packet, SYN, TCP_CHECKSUM, TCP_DATA_OFFSET, Tcp,
};
use netdrop_tests::scene::Cause;
use netdrop_tests::wait::SOON;
use netdrop_tests::{Room, Scene, poll_for};

const PORT: u16 = 4002;
const CLOSED: u16 = 9;
const FAR_PORT: u16 = 4003;
/// The sequence number of the far end's SYN.
const BEGIN: u32 = 1_000_000;

// Each number of packets is another, so that none can stand for another.

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn what_tcp_refuses_without_a_connection_is_counted_by_its_reason() {
    let _room = Room::enter();
    let reasons = Scene::new().check_all(&[
        Cause::at_device("SYN to a closed port", syn_to_closed_port),
        Cause::at_device("a wrong TCP checksum", wrong_tcp_checksum),
        Cause::at_device("a TCP header too short for TCP", short_tcp_header),
    ]);
    assert_eq!(reasons.len(), 3, "{reasons:?}");
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn what_a_connection_refuses_is_counted_by_its_reason_and_state() {
    let _room = Room::enter();
    let established = |what, provoke| Cause::at_device(what, provoke).in_state("ESTABLISHED");
    let reasons = Scene::new().check_all(&[
        established("a sequence number far too old", old_sequence),
        established("a sequence number far too new", new_sequence),
        established("data that is there already", old_data),
        established(
            "an acknowledgment of what was never sent",
            acknowledged_too_much,
        ),
        established("no control bit", no_flags),
        established("a SYN in mid-connection", syn_again),
        established("data out of order, again", out_of_order_again),
        Cause::at_device("closed with data out of order", closed_out_of_order).in_state("CLOSE"),
        established("too much data out of order", too_much_out_of_order),
    ]);
    assert_eq!(reasons.len(), 9, "{reasons:?}");
}

fn syn_to_closed_port(scene: &Scene) -> u64 {
    let segment = Tcp {
        to_port: CLOSED,
        ..request()
    };
    scene.receive(&frame(segment), 31)
}

fn wrong_tcp_checksum(scene: &Scene) -> u64 {
    let mut frame = frame(request());
    frame[TCP_CHECKSUM] ^= 0x55;
    scene.receive(&frame, 32)
}

fn short_tcp_header(scene: &Scene) -> u64 {
    let mut frame = frame(request());
    frame[TCP_DATA_OFFSET] = 0x40;
    scene.receive(&frame, 33)
}

fn old_sequence(scene: &Scene) -> u64 {
    let connection = Connection::establish(scene, None);
    connection.receive(connection.ahead(-50_000), ACK, b"old", 11)
}

fn new_sequence(scene: &Scene) -> u64 {
    let connection = Connection::establish(scene, None);
    connection.receive(connection.ahead(50_000_000), ACK, b"new", 12)
}

fn old_data(scene: &Scene) -> u64 {
    let connection = Connection::establish(scene, None);
    // Everything after the first is a repetition.
    connection.receive(connection.next, ACK | PSH, b"data", 14) - 1
}

fn acknowledged_too_much(scene: &Scene) -> u64 {
    let connection = Connection {
        acknowledged: 1_000,
        ..Connection::establish(scene, None)
    };
    connection.receive(connection.next, ACK, b"", 14)
}

fn no_flags(scene: &Scene) -> u64 {
    let connection = Connection::establish(scene, None);
    connection.receive(connection.next, 0, b"none", 15)
}

fn syn_again(scene: &Scene) -> u64 {
    let connection = Connection::establish(scene, None);
    connection.receive(connection.next, SYN, b"", 16)
}

fn out_of_order_again(scene: &Scene) -> u64 {
    let connection = Connection::establish(scene, None);
    let packets = connection.receive(connection.ahead(1), ACK, b"later", 18) - 1;
    // What was missing, or the socket would drop the rest when it is closed.
    connection.receive(connection.next, ACK, b"-", 1);
    packets
}

fn closed_out_of_order(scene: &Scene) -> u64 {
    let connection = Connection::establish(scene, None);
    (1..20)
        .map(|at| connection.receive(connection.ahead(at * 20), ACK, b"x", 1))
        .sum()
}

/// Segments with gaps between them, the last ones first, until the socket has no room: then it gives up the
/// last ones, whose `skb->dev` is by now a part of the tree that they were sorted into.
fn too_much_out_of_order(scene: &Scene) -> u64 {
    let connection = Connection::establish(scene, Some(4_000));
    for at in (1..60).rev() {
        connection.receive(connection.ahead(at * 20), ACK, b"x", 1);
    }
    let packets = connection.drops();
    scene.keep(connection.stream);
    packets
}

/// A connection of the host, from its listener's port, whose far end the test plays.
struct Connection<'a> {
    scene: &'a Scene,
    /// The next sequence number of the far end.
    next: u32,
    /// The next one of the host.
    expected: u32,
    /// How much more than that the far end acknowledges.
    acknowledged: u32,
    stream: TcpStream,
}

impl<'a> Connection<'a> {
    /// Opens one, where asked with a small receive buffer.
    fn establish(scene: &'a Scene, buffer: Option<usize>) -> Self {
        let listener = scene
            .host
            .enter(|| TcpListener::bind((HOST, PORT)).unwrap());
        if let Some(bytes) = buffer {
            set_socket_recv_buffer_size(&listener, bytes).unwrap();
        }
        scene.receive(&frame(request()), 1);
        let reply = poll_for("the host accepts", SOON, || {
            let reply = scene.sent().and_then(|frame| Tcp::parse(&frame));
            reply.filter(|reply| reply.flags == SYN | ACK)
        });
        let segment = Tcp {
            seq: BEGIN + 1,
            ack: reply.seq.wrapping_add(1),
            flags: ACK,
            ..request()
        };
        scene.receive(&frame(segment), 1);
        let (stream, _) = listener.accept().unwrap();
        // It vanishes when it is closed, so that the next one can have its port.
        set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
        Self {
            scene,
            next: BEGIN + 1,
            expected: reply.seq.wrapping_add(1),
            acknowledged: 0,
            stream,
        }
    }

    /// A sequence number so much ahead of the next one.
    fn ahead(&self, bytes: i32) -> u32 {
        self.next.wrapping_add_signed(bytes)
    }

    /// Lets the host receive a segment so many times, and returns the number.
    fn receive(&self, seq: u32, flags: u8, payload: &[u8], times: u64) -> u64 {
        let segment = Tcp {
            seq,
            ack: self.expected.wrapping_add(self.acknowledged),
            flags,
            payload: payload.to_vec(),
            ..request()
        };
        self.scene.receive(&frame(segment), times)
    }

    /// The socket's own count of its drops: `d` in what ss(8) shows of its memory.
    fn drops(&self) -> u64 {
        let sockets = self
            .scene
            .run(&format!("ss -tmnOH state established sport = :{PORT}"));
        let (_, rest) = sockets.split_once(",d").unwrap();
        rest.split(')').next().unwrap().parse().unwrap()
    }
}

/// The segment that asks for a connection.
fn request() -> Tcp {
    Tcp {
        from_port: FAR_PORT,
        to_port: PORT,
        seq: BEGIN,
        flags: SYN,
        ..Tcp::default()
    }
}

fn frame(segment: Tcp) -> Vec<u8> {
    Packet::new(Body::Tcp(segment)).frame()
}
