//! Packets that reach a UDP socket and no further. By then the kernel uses the memory of `skb->dev` for
//! something else (`net/ipv4/udp.c`, `udp_set_dev_scratch`), so their device is known by other means, or not.

use std::fs;
use std::io::ErrorKind;
use std::net::UdpSocket;

use rustix::net::sockopt::set_socket_recv_buffer_size;

use netdrop_tests::bpf::refuse_all;
use netdrop_tests::packet::{Body, HOST, Packet, UDP_CHECKSUM};
use netdrop_tests::scene::Cause;
use netdrop_tests::{Room, Scene};

const PORT: u16 = 4001;

// Each number of packets is another, so that none can stand for another.

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn what_a_udp_socket_does_not_take_is_counted_by_its_reason() {
    let _room = Room::enter();
    let reasons = Scene::new().check_all(&[
        Cause::at_device("a socket's filter", socket_filter),
        Cause::at_device("a full receive buffer", full_receive_buffer),
        Cause::at_device(
            "a wrong checksum, seen by the reader",
            checksum_at_the_reader,
        )
        .without_device()
        .without_namespace(),
    ]);
    assert_eq!(reasons.len(), 3, "{reasons:?}");
}

fn socket_filter(scene: &Scene) -> u64 {
    let socket = socket(scene);
    refuse_all(&socket);
    scene.receive(&Packet::udp(PORT).frame(), 11)
}

fn full_receive_buffer(scene: &Scene) -> u64 {
    let socket = socket(scene);
    set_socket_recv_buffer_size(&socket, 1).unwrap();
    scene.receive(&Packet::udp(PORT).frame(), 40);
    let packets = drops(scene);
    // What is left must have been taken: dropped and taken are all.
    socket.set_nonblocking(true).unwrap();
    let taken = (0..40)
        .take_while(|_| socket.recv(&mut [0; 100]).is_ok())
        .count();
    assert_eq!(packets + taken as u64, 40);
    packets
}

fn checksum_at_the_reader(scene: &Scene) -> u64 {
    let socket = socket(scene);
    // Longer than what the kernel checks on arrival (`include/linux/skbuff.h`, CHECKSUM_BREAK).
    let body = Body::Udp {
        to_port: PORT,
        payload: vec![0; 200],
    };
    let mut frame = Packet::new(body).frame();
    frame[UDP_CHECKSUM] ^= 0x55;
    scene.receive(&frame, 13);
    socket.set_nonblocking(true).unwrap();
    let error = socket.recv(&mut [0; 100]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    drops(scene)
}

fn socket(scene: &Scene) -> UdpSocket {
    scene.host.enter(|| UdpSocket::bind((HOST, PORT)).unwrap())
}

/// The socket's own count of its drops: the last column of `/proc/net/udp`.
fn drops(scene: &Scene) -> u64 {
    let table = scene
        .host
        .enter(|| fs::read_to_string("/proc/thread-self/net/udp").unwrap());
    let port = format!(":{PORT:04X} ");
    let line = table.lines().find(|line| line.contains(&port)).unwrap();
    line.split_whitespace().last().unwrap().parse().unwrap()
}
