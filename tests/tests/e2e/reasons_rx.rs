//! Why a host drops what it receives: each reason provoked by the real thing, and counted under the name
//! that the kernel's own trace has for it.

use std::net::Ipv4Addr;

use netdrop_tests::causes::{
    CLOSED, other_hardware_address, udp_to_closed_port, unhandled_ethertype, wrong_ip_checksum,
};
use netdrop_tests::packet::{
    Body, DONT_FRAGMENT, FAR, ICMP_CHECKSUM, IPV4, IPV4_LENGTH, MORE_FRAGMENTS, Packet,
    UDP_CHECKSUM, UDP_LENGTH,
};
use netdrop_tests::scene::{Cause, DEVICE};
use netdrop_tests::{Room, Scene};

/// A destination that is not the host.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

// Each number of packets is another, so that none can stand for another.

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn what_the_network_layer_refuses_is_counted_by_its_reason() {
    let _room = Room::enter();
    let reasons = Scene::new().check_all(&[
        Cause::at_device("no handler of the EtherType", unhandled_ethertype),
        Cause::at_device("another host's hardware address", other_hardware_address),
        Cause::at_device("a wrong IP checksum", wrong_ip_checksum),
        Cause::at_device("an IP header too short for IP", short_ip_header),
        Cause::at_device("less than the IP header says", cut_ip_packet),
        Cause::at_device("an IP protocol that nobody has", unknown_ip_protocol),
        Cause::at_device("IPv6 where it is off", ipv6_where_it_is_off),
        Cause::at_device("the same fragment again", fragment_again),
    ]);
    assert_eq!(reasons.len(), 8, "{reasons:?}");
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn what_the_routes_refuse_is_counted_by_its_reason() {
    let _room = Room::enter();
    let reasons = Scene::new().check_all(&[
        Cause::at_device("for another host, and this one is no router", not_a_router),
        Cause::at_device("a router without a route", no_route),
        Cause::at_device("a router, at the last hop", last_hop),
        Cause::at_device("a router, and too big for the route", too_big_for_the_route),
        Cause::at_device("from where nothing comes back", reverse_path),
        Cause::at_device("from everybody", martian_source),
        Cause::at_device("to one host, by broadcast", unicast_by_broadcast),
    ]);
    assert_eq!(reasons.len(), 7, "{reasons:?}");
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn what_the_transport_layer_refuses_is_counted_by_its_reason() {
    let _room = Room::enter();
    let reasons = Scene::new().check_all(&[
        Cause::at_device("UDP to a closed port", udp_to_closed_port),
        Cause::at_device("a wrong UDP checksum", wrong_udp_checksum),
        Cause::at_device("less than the UDP header says", cut_udp_datagram),
        Cause::at_device("a wrong ICMP checksum", wrong_icmp_checksum),
        Cause::at_device("UDP over IPv6 to a closed port", udp6_to_closed_port),
    ]);
    // One more cause than reasons: IPv6 has no reason of its own.
    assert_eq!(reasons.len(), 4, "{reasons:?}");
}

fn short_ip_header(scene: &Scene) -> u64 {
    let mut frame = Packet::udp(CLOSED).frame();
    frame[IPV4] = 0x44;
    scene.receive(&frame, 14)
}

fn cut_ip_packet(scene: &Scene) -> u64 {
    // The length is covered by a checksum, so the bytes go instead.
    let frame = Packet::udp(CLOSED).frame();
    assert_eq!(frame[IPV4_LENGTH..][..2], [0, (frame.len() - IPV4) as u8]);
    scene.receive(&frame[..frame.len() - 1], 15)
}

fn unknown_ip_protocol(scene: &Scene) -> u64 {
    // RFC 3692: for experiments.
    let packet = Packet::new(Body::Other(253, vec![0; 32]));
    scene.receive(&packet.frame(), 16)
}

fn ipv6_where_it_is_off(scene: &Scene) -> u64 {
    scene.receive(&Packet::udp(CLOSED).over_ipv6().frame(), 17)
}

fn fragment_again(scene: &Scene) -> u64 {
    let packet = Packet {
        fragment: MORE_FRAGMENTS,
        ..Packet::new(Body::Other(253, vec![0; 32]))
    };
    // The first waits for the rest, far longer than the test lasts.
    scene.sysctl("ipv4/ipfrag_time", "600");
    scene.receive(&packet.frame(), 19) - 1
}

fn not_a_router(scene: &Scene) -> u64 {
    scene.receive(&to(ELSEWHERE).frame(), 21)
}

fn no_route(scene: &Scene) -> u64 {
    as_router(scene, || scene.receive(&to(ELSEWHERE).frame(), 22))
}

fn last_hop(scene: &Scene) -> u64 {
    let packet = Packet {
        ttl: 1,
        ..to(ELSEWHERE)
    };
    with_route(scene, &[], || scene.receive(&packet.frame(), 23))
}

fn too_big_for_the_route(scene: &Scene) -> u64 {
    let packet = Packet {
        to: ELSEWHERE.into(),
        fragment: DONT_FRAGMENT,
        ..Packet::new(Body::Other(253, vec![0; 1000]))
    };
    with_route(scene, &["mtu", "lock", "600"], || {
        scene.receive(&packet.frame(), 24)
    })
}

fn reverse_path(scene: &Scene) -> u64 {
    // There is no route back to it.
    let packet = Packet {
        from: ELSEWHERE.into(),
        ..Packet::udp(CLOSED)
    };
    scene.sysctl("ipv4/conf/all/rp_filter", "1");
    let packets = scene.receive(&packet.frame(), 25);
    scene.sysctl("ipv4/conf/all/rp_filter", "0");
    packets
}

fn martian_source(scene: &Scene) -> u64 {
    let packet = Packet {
        from: Ipv4Addr::BROADCAST.into(),
        ..Packet::udp(CLOSED)
    };
    scene.receive(&packet.frame(), 26)
}

fn unicast_by_broadcast(scene: &Scene) -> u64 {
    let packet = Packet {
        to_mac: [0xff; 6],
        ..Packet::udp(CLOSED)
    };
    let setting = format!("ipv4/conf/{DEVICE}/drop_unicast_in_l2_multicast");
    scene.sysctl(&setting, "1");
    let packets = scene.receive(&packet.frame(), 27);
    scene.sysctl(&setting, "0");
    packets
}

fn wrong_udp_checksum(scene: &Scene) -> u64 {
    scene.receive(&spoilt(&Packet::udp(CLOSED), UDP_CHECKSUM), 32)
}

fn cut_udp_datagram(scene: &Scene) -> u64 {
    scene.receive(&spoilt(&Packet::udp(CLOSED), UDP_LENGTH), 33)
}

fn wrong_icmp_checksum(scene: &Scene) -> u64 {
    scene.receive(&spoilt(&Packet::new(Body::Ping), ICMP_CHECKSUM), 34)
}

fn udp6_to_closed_port(scene: &Scene) -> u64 {
    scene.enable_ipv6();
    scene.receive(&Packet::udp(CLOSED).over_ipv6().frame(), 35)
}

fn to(address: Ipv4Addr) -> Packet {
    Packet {
        to: address.into(),
        ..Packet::udp(CLOSED)
    }
}

/// A frame with one wrong byte.
fn spoilt(packet: &Packet, at: usize) -> Vec<u8> {
    let mut frame = packet.frame();
    frame[at] ^= 0x55;
    frame
}

fn as_router(scene: &Scene, work: impl FnOnce() -> u64) -> u64 {
    scene.sysctl("ipv4/ip_forward", "1");
    let packets = work();
    scene.sysctl("ipv4/ip_forward", "0");
    packets
}

/// As a router that sends all for elsewhere to the neighbour.
fn with_route(scene: &Scene, options: &[&str], work: impl FnOnce() -> u64) -> u64 {
    let far = FAR.to_string();
    let elsewhere = ELSEWHERE.to_string();
    let route = [elsewhere.as_str(), "via", &far, "dev", DEVICE];
    scene
        .host
        .ip(&[&["route", "add"], &route[..], options].concat());
    let packets = as_router(scene, work);
    scene.host.ip(&[&["route", "del"], &route[..]].concat());
    packets
}
