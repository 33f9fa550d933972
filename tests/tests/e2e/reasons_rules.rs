//! Packets that a host drops because somebody told it to: filters, XDP, a bridge, a link taken down.

use netdrop_tests::bpf::{DropAll, Hook};
use netdrop_tests::packet::{Body, HOST, Packet};
use netdrop_tests::scene::{Cause, DEVICE};
use netdrop_tests::{Room, Scene};

const PORT: u16 = 9;
/// IANA's port of VXLAN.
const VXLAN_PORT: u16 = 4789;
/// The network that the host's VXLAN device has.
const VNI: u8 = 1;
/// The flag of RFC 7348 without which a VXLAN header names no network.
const VNI_FLAG: u8 = 0x08;

// Each number of packets is another, so that none can stand for another.

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn what_a_filter_drops_on_its_way_in_is_counted_by_its_reason() {
    let _room = Room::enter();
    let reasons = Scene::new().check_all(&[
        Cause::at_device("netfilter, input", netfilter_input),
        Cause::at_device("tc, ingress", tc_ingress),
        Cause::at_device("generic XDP", generic_xdp),
    ]);
    assert_eq!(reasons.len(), 3, "{reasons:?}");
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn what_a_virtual_network_refuses_is_counted_by_its_reason() {
    let _room = Room::enter();
    let reasons = Scene::new().check_all(&[
        Cause::at_device("a port new to a bridge with STP", listening_bridge_port),
        Cause::at_device("a VXLAN header without a network", vxlan_without_network),
        Cause::at_device("a VXLAN network that nobody has", unknown_vxlan_network),
        // The last one: the addresses' routes go with the link.
        Cause::at_device("a link that is down", link_down),
    ]);
    assert_eq!(reasons.len(), 4, "{reasons:?}");
}

fn netfilter_input(scene: &Scene) -> u64 {
    let rules =
        "table inet t { chain c { type filter hook input priority 0; udp dport 9 drop; }; }";
    scene.host.exec(&["nft", rules]);
    let packets = scene.receive(&Packet::udp(PORT).frame(), 11);
    scene.run("nft delete table inet t");
    packets
}

fn tc_ingress(scene: &Scene) -> u64 {
    let _program = DropAll::at(Hook::TcIngress, &scene.host, DEVICE);
    scene.receive(&Packet::udp(PORT).frame(), 12)
}

fn generic_xdp(scene: &Scene) -> u64 {
    let _program = DropAll::at(Hook::GenericXdp, &scene.host, DEVICE);
    scene.receive(&Packet::udp(PORT).frame(), 14)
}

fn listening_bridge_port(scene: &Scene) -> u64 {
    // The port listens for half a minute before it takes part (IEEE Std 802.1D).
    // With snooping the bridge would send reports of its own, and lose them: it has no carrier yet.
    scene.run("ip link add br0 type bridge stp_state 1 mcast_snooping 0");
    scene.run("ip link set dev br0 up");
    scene.run(&format!("ip link set dev {DEVICE} master br0"));
    let packets = scene.receive(&Packet::udp(PORT).frame(), 15);
    scene.run("ip link del br0");
    packets
}

fn vxlan_without_network(scene: &Scene) -> u64 {
    with_vxlan(scene, [0, VNI], 16)
}

fn unknown_vxlan_network(scene: &Scene) -> u64 {
    with_vxlan(scene, [VNI_FLAG, VNI + 1], 17)
}

fn link_down(scene: &Scene) -> u64 {
    scene.run(&format!("ip link set dev {DEVICE} down"));
    scene.receive_in_vain(&Packet::udp(PORT).frame(), 18)
}

/// Receives, with a VXLAN device, an empty packet with these flags and this network.
fn with_vxlan(scene: &Scene, [flags, vni]: [u8; 2], packets: u64) -> u64 {
    scene.run(&format!(
        "ip link add vx0 type vxlan id {VNI} local {HOST} dev {DEVICE} dstport {VXLAN_PORT}"
    ));
    scene.run("ip link set dev vx0 up");
    let mut payload = vec![flags, 0, 0, 0, 0, 0, vni, 0];
    payload.resize(64, 0);
    let body = Body::Udp {
        to_port: VXLAN_PORT,
        payload,
    };
    scene.receive(&Packet::new(body).frame(), packets);
    scene.run("ip link del vx0");
    packets
}
