//! Why a host drops what it receives: each reason provoked by the real thing, and counted under the name
//! that the kernel's own trace has for it. Each number of packets is another, so that none can stand for another.

use std::net::{Ipv4Addr, SocketAddr};

use netdrop_tests::bpf::{DropAll, Hook};
use netdrop_tests::packet::{Body, FAR, Family, HOST, IPV4, IPV4_BODY, Packet};
use netdrop_tests::scene::{ANYWHERE, CLOSED, Cause, DEVICE, spoilt};
use netdrop_tests::{Room, Scene};

/// A destination that is not the host.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The two bytes of the length in a UDP header over IPv4.
const UDP_LENGTH: usize = IPV4_BODY + 4;
/// The two bytes of the checksum in a UDP header over IPv4.
const UDP_CHECKSUM: usize = IPV4_BODY + 6;
/// The two bytes of the checksum in an ICMP header over IPv4.
const ICMP_CHECKSUM: usize = IPV4_BODY + 2;
/// IANA's port of VXLAN.
const VXLAN_PORT: u16 = 4789;
/// The network that the host's VXLAN device has.
const VNI: u8 = 1;
/// The flag of RFC 7348 without which a VXLAN header names no network.
const VNI_FLAG: u8 = 0x08;

const NETWORK_LAYER: [Cause; 5] = [
    Cause::at_device("an IP header too short", |scene| {
        let mut frame = Packet::udp(CLOSED).frame();
        frame[IPV4] = 0x44;
        scene.send(&frame, 14)
    }),
    Cause::at_device("less than the IP header says", |scene| {
        let frame = Packet::udp(CLOSED).frame();
        scene.send(&frame[..frame.len() - 1], 15)
    }),
    Cause::at_device("an IP protocol that nobody has", |scene| {
        scene.send(&Packet::new(unknown_protocol(32)).frame(), 16)
    }),
    Cause::at_device("the same fragment again", |scene| {
        let packet = Packet {
            more_fragments: true,
            ..Packet::new(unknown_protocol(32))
        };
        // The first waits for the rest, far longer than the test lasts.
        scene.sysctl("ipv4/ipfrag_time", "600");
        scene.send(&packet.frame(), 19) - 1
    }),
    // The last one: the addresses go with it.
    Cause::at_device("IPv6 where it is off", |scene| {
        scene.sysctl(&format!("ipv6/conf/{DEVICE}/disable_ipv6"), "1");
        scene.send(&over_ipv6(), 17)
    }),
];

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn what_the_network_layer_refuses_is_counted_by_its_reason() {
    let _room = Room::enter();
    let causes = [&ANYWHERE[..3], &NETWORK_LAYER].concat();
    assert_eq!(Scene::new().check_all(&causes), 8);
}

const ROUTES: [Cause; 7] = [
    Cause::at_device("for another host, and this one is no router", |scene| {
        scene.send(&elsewhere().frame(), 21)
    }),
    Cause::at_device("a router without a route", |scene| {
        with_sysctl(scene, "ipv4/ip_forward", || {
            scene.send(&elsewhere().frame(), 22)
        })
    }),
    Cause::at_device("a router, at the last hop", |scene| {
        let packet = Packet {
            ttl: 1,
            ..elsewhere()
        };
        with_route(scene, "", || scene.send(&packet.frame(), 23))
    }),
    Cause::at_device("a router, and too big for the route", |scene| {
        let packet = Packet {
            dont_fragment: true,
            body: unknown_protocol(1000),
            ..elsewhere()
        };
        with_route(scene, " mtu lock 600", || scene.send(&packet.frame(), 24))
    }),
    Cause::at_device("from where nothing comes back", |scene| {
        // There is no route back to it.
        let frame = from(ELSEWHERE).frame();
        with_sysctl(scene, "ipv4/conf/all/rp_filter", || scene.send(&frame, 25))
    }),
    Cause::at_device("from everybody", |scene| {
        scene.send(&from(Ipv4Addr::BROADCAST).frame(), 26)
    }),
    Cause::at_device("to one host, by broadcast", |scene| {
        let packet = Packet {
            to_mac: [0xff; 6],
            ..Packet::udp(CLOSED)
        };
        let setting = format!("ipv4/conf/{DEVICE}/drop_unicast_in_l2_multicast");
        with_sysctl(scene, &setting, || scene.send(&packet.frame(), 27))
    }),
];

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn what_the_routes_refuse_is_counted_by_its_reason() {
    let _room = Room::enter();
    assert_eq!(Scene::new().check_all(&ROUTES), 7);
}

const TRANSPORT_LAYER: [Cause; 4] = [
    Cause::at_device("a wrong UDP checksum", |scene| {
        scene.send(&spoilt(&Packet::udp(CLOSED), UDP_CHECKSUM), 32)
    }),
    Cause::at_device("less than the UDP header says", |scene| {
        scene.send(&spoilt(&Packet::udp(CLOSED), UDP_LENGTH), 33)
    }),
    Cause::at_device("a wrong ICMP checksum", |scene| {
        scene.send(&spoilt(&Packet::new(Body::Ping), ICMP_CHECKSUM), 34)
    }),
    Cause::at_device("UDP over IPv6 to a closed port", |scene| {
        scene.send(&over_ipv6(), 35)
    }),
];

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn what_the_transport_layer_refuses_is_counted_by_its_reason() {
    let _room = Room::enter();
    let causes = [&ANYWHERE[3..4], &TRANSPORT_LAYER].concat();
    // One more cause than reasons: IPv6 has no reason of its own.
    assert_eq!(Scene::new().check_all(&causes), 4);
}

const FILTERS: [Cause; 2] = [
    Cause::at_device("tc, ingress", |scene| {
        let _program = DropAll::at(Hook::TcIngress, &scene.host, DEVICE);
        scene.send(&Packet::udp(CLOSED).frame(), 12)
    }),
    Cause::at_device("generic XDP", |scene| {
        let _program = DropAll::at(Hook::GenericXdp, &scene.host, DEVICE);
        scene.send(&Packet::udp(CLOSED).frame(), 14)
    }),
];

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn what_a_filter_drops_on_its_way_in_is_counted_by_its_reason() {
    let _room = Room::enter();
    let causes = [&ANYWHERE[4..], &FILTERS].concat();
    assert_eq!(Scene::new().check_all(&causes), 3);
}

const VIRTUAL_NETWORKS: [Cause; 4] = [
    Cause::at_device("a port new to a bridge with STP", |scene| {
        // The port listens for half a minute before it takes part (IEEE Std 802.1D).
        // With snooping the bridge would send reports of its own, and lose them: it has no carrier yet.
        scene.run("ip link add br0 type bridge stp_state 1 mcast_snooping 0");
        scene.run("ip link set dev br0 up");
        scene.run(&format!("ip link set dev {DEVICE} master br0"));
        let packets = scene.send(&Packet::udp(CLOSED).frame(), 15);
        scene.run("ip link del br0");
        packets
    }),
    Cause::at_device("a VXLAN header without a network", |scene| {
        with_vxlan(scene, [0, VNI], 16)
    }),
    Cause::at_device("a VXLAN network that nobody has", |scene| {
        with_vxlan(scene, [VNI_FLAG, VNI + 1], 17)
    }),
    // The last one: the addresses' routes go with the link.
    Cause::at_device("a link that is down", |scene| {
        scene.run(&format!("ip link set dev {DEVICE} down"));
        scene.send_in_vain(&Packet::udp(CLOSED).frame(), 18)
    }),
];

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn what_a_virtual_network_refuses_is_counted_by_its_reason() {
    let _room = Room::enter();
    assert_eq!(Scene::new().check_all(&VIRTUAL_NETWORKS), 4);
}

/// RFC 3692: for experiments.
fn unknown_protocol(bytes: usize) -> Body {
    Body::Other(253, vec![0; bytes])
}

fn over_ipv6() -> Vec<u8> {
    let packet = Packet {
        from: Family::V6.far(4000),
        to: Family::V6.host(CLOSED),
        ..Packet::udp(CLOSED)
    };
    packet.frame()
}

fn elsewhere() -> Packet {
    Packet {
        to: (ELSEWHERE, CLOSED).into(),
        ..Packet::udp(CLOSED)
    }
}

fn from(address: Ipv4Addr) -> Packet {
    Packet {
        from: SocketAddr::new(address.into(), 4000),
        ..Packet::udp(CLOSED)
    }
}

/// While a sysctl is 1 instead of 0.
fn with_sysctl(scene: &Scene, sysctl: &str, work: impl FnOnce() -> u64) -> u64 {
    scene.sysctl(sysctl, "1");
    let packets = work();
    scene.sysctl(sysctl, "0");
    packets
}

/// As a router that sends all for elsewhere to the neighbour.
fn with_route(scene: &Scene, options: &str, work: impl FnOnce() -> u64) -> u64 {
    let route = format!("{ELSEWHERE} via {FAR} dev {DEVICE}");
    scene.run(&format!("ip route add {route}{options}"));
    let packets = with_sysctl(scene, "ipv4/ip_forward", work);
    scene.run(&format!("ip route del {route}"));
    packets
}

/// Receives, with a VXLAN device, an empty packet with these flags and this network.
fn with_vxlan(scene: &Scene, [flags, vni]: [u8; 2], packets: u64) -> u64 {
    let device = format!("vx0 type vxlan id {VNI} local {HOST} dev {DEVICE} dstport {VXLAN_PORT}");
    scene.run(&format!("ip link add {device}"));
    scene.run("ip link set dev vx0 up");
    let mut payload = vec![flags, 0, 0, 0, 0, 0, vni, 0];
    payload.resize(64, 0);
    let packet = Packet {
        body: Body::Udp(payload),
        ..Packet::udp(VXLAN_PORT)
    };
    scene.send(&packet.frame(), packets);
    scene.run("ip link del vx0");
    packets
}
