//! What every host refuses to receive, whatever its kernel. Each number of packets is another, so that none can stand
//! for another.

use crate::packet::{IPV4_CHECKSUM, Packet};
use crate::scene::{DEVICE, Scene};
use crate::send::Flood;

/// Where nobody listens: the discard service.
pub const CLOSED: u16 = 9;

/// A frame of an EtherType that has no handler.
pub fn unhandled_ethertype(scene: &Scene) -> u64 {
    scene.receive(&Flood::over(DEVICE, 1).frame(), 11)
}

/// A frame to another host's hardware address.
pub fn other_hardware_address(scene: &Scene) -> u64 {
    let mut packet = Packet::udp(CLOSED);
    packet.to_mac[5] ^= 0xf0;
    scene.receive(&packet.frame(), 12)
}

/// A packet with a wrong checksum in its IPv4 header.
pub fn wrong_ip_checksum(scene: &Scene) -> u64 {
    let mut frame = Packet::udp(CLOSED).frame();
    frame[IPV4_CHECKSUM] ^= 0x55;
    scene.receive(&frame, 13)
}

/// A datagram to a port that nobody listens on.
pub fn udp_to_closed_port(scene: &Scene) -> u64 {
    scene.receive(&Packet::udp(CLOSED).frame(), 31)
}
