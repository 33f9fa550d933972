//! A drop whose socket is not a TCP socket has no state, even where such a socket is connected and so has the
//! number of a TCP state inside (`TCP_ESTABLISHED`, `net/ipv4/datagram.c`).

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use netdrop_tests::packet::{Body, Family, Packet, corrupted};
use netdrop_tests::refuse::Place;
use netdrop_tests::watch::assert_one;
use netdrop_tests::wire::DEVICE;
use netdrop_tests::{Room, Scene};
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketType, bind, connect, ipproto, recv, send,
    socket,
};

/// Every case adds a number of its own, so that no two cases can be mixed up.
const PACKETS: u64 = 10;
/// More than a receive buffer of the smallest size holds (`SOCK_MIN_RCVBUF`).
const TOO_MANY: u64 = 40;

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn what_a_connected_udp_or_raw_socket_sends_has_no_state() {
    let _room = Room::enter();
    let scene = Scene::new();
    for family in Family::BOTH {
        let sockets = [
            open(&scene, family, SocketType::DGRAM, ipproto::UDP),
            open(&scene, family, SocketType::RAW, ipproto::ICMP),
            open(&scene, family, SocketType::RAW, ipproto::TCP),
        ];
        assert_shown_as_established(&scene, family, 3);
        for (socket, packets) in sockets.iter().zip(PACKETS..) {
            for place in Place::ALL {
                let _refusal = place.refuse_all(&scene.host, family);
                let dropped = scene.drops(|| {
                    for _ in 0..packets {
                        // Some places tell the sender, and the packet is gone all the same.
                        let sent = send(socket, &[0; 40], SendFlags::empty());
                        let gone = matches!(sent, Ok(40) | Err(Errno::PERM | Errno::NOBUFS));
                        assert!(gone, "{sent:?}");
                    }
                });
                assert_one(&dropped, "", place.device(), packets, false);
            }
        }
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn what_a_connected_udp_socket_has_no_room_for_has_no_state() {
    let _room = Room::enter();
    let scene = Scene::new();
    for family in Family::BOTH {
        let socket = open(&scene, family, SocketType::DGRAM, ipproto::UDP);
        set_socket_recv_buffer_size(&socket, 1).unwrap();
        assert_shown_as_established(&scene, family, 1);
        let dropped = scene.drops(|| scene.send(&datagram(family), TOO_MANY));
        let received = received(&socket);
        assert!(0 < received && received < TOO_MANY, "{received} received");
        assert_one(&dropped, "", DEVICE, TOO_MANY - received, true);
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_datagram_that_is_corrupt_or_for_nobody_has_no_state() {
    let _room = Room::enter();
    let scene = Scene::new();
    for (family, packets) in Family::BOTH.into_iter().zip(PACKETS..) {
        let whole = datagram(family);
        let to_nobody = scene.drops(|| scene.send(&whole, packets));
        assert_one(&to_nobody, "", DEVICE, packets, false);

        let _socket = open(&scene, family, SocketType::DGRAM, ipproto::UDP);
        assert_shown_as_established(&scene, family, 1);
        let frame = corrupted(whole);
        let corrupt = scene.drops(|| scene.send(&frame, packets));
        let receiver = corrupt.iter().any(|drop| drop.has_receiver);
        assert_one(&corrupt, "", DEVICE, packets, receiver);
        scene.discard();
    }
}

fn host(family: Family) -> SocketAddr {
    family.host(5000)
}

fn far(family: Family) -> SocketAddr {
    family.far(6000)
}

fn datagram(family: Family) -> Vec<u8> {
    let packet = Packet {
        from: far(family),
        to: host(family),
        ..Packet::new(Body::Udp(b"data".to_vec()))
    };
    packet.frame()
}

/// A socket of the host that is connected to the far end.
fn open(scene: &Scene, family: Family, kind: SocketType, protocol: Protocol) -> OwnedFd {
    let (domain, protocol) = match family {
        Family::V4 => (AddressFamily::INET, protocol),
        Family::V6 if protocol == ipproto::ICMP => (AddressFamily::INET6, ipproto::ICMPV6),
        Family::V6 => (AddressFamily::INET6, protocol),
    };
    let socket = scene
        .host
        .enter(|| socket(domain, kind, Some(protocol)).unwrap());
    // A raw socket takes no port.
    let port = |address: SocketAddr| match kind {
        SocketType::RAW => SocketAddr::new(address.ip(), 0),
        _ => address,
    };
    bind(&socket, &port(host(family))).unwrap();
    connect(&socket, &port(far(family))).unwrap();
    socket
}

/// Asserts that ss(8) shows this many connected UDP and raw sockets, which says that their state is a number
/// that would be one of TCP.
fn assert_shown_as_established(scene: &Scene, family: Family, sockets: usize) {
    let listing = scene.host.exec(&["ss", "-uwanH"]);
    let far = far(family).ip().to_string();
    let shown = listing
        .lines()
        .filter(|line| line.contains("ESTAB") && line.contains(&far))
        .count();
    assert_eq!(shown, sockets, "{listing}");
}

/// Reads all that a socket has received.
fn received(socket: &OwnedFd) -> u64 {
    let mut packets = 0;
    loop {
        match recv(socket, &mut [0_u8; 2048][..], RecvFlags::DONTWAIT) {
            Ok(_) => packets += 1,
            Err(Errno::AGAIN) => return packets,
            Err(error) => panic!("cannot receive: {error}"),
        }
    }
}
