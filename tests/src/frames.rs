//! Frames that a host without addresses drops, each for another reason or in another function.

use crate::send::{ETHERTYPE, Flood};

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const IPV4_HEADER: usize = 20;

/// One frame of each kind. A veth end in a namespace of the tests drops them all (Linux 6.18).
pub fn of_every_kind() -> Vec<Vec<u8>> {
    let with = |change: &dyn Fn(&mut [u8])| {
        let mut packet = ipv4(253, &[0; 32]);
        change(&mut packet);
        frame(IPV4, &packet)
    };
    vec![
        frame(ETHERTYPE, &[0; 46]),
        frame(IPV6, &[0; 46]),
        // No such protocol, no such version, a wrong checksum, and longer than it is.
        with(&|_| {}),
        with(&|packet| packet[0] = 0x55),
        with(&|packet| packet[10] ^= 1),
        with(&|packet| {
            packet[2] = 0xff;
            checksum(packet);
        }),
        // An ICMP checksum that is wrong, an UDP length below the header's, and TCP to everybody.
        frame(IPV4, &ipv4(1, &[8; 32])),
        frame(IPV4, &ipv4(17, &[0; 32])),
        frame(IPV4, &ipv4(6, &[0; 32])),
        // To somebody else.
        {
            let mut frame = with(&|_| {});
            frame[..6].copy_from_slice(&[0x02, 0, 0, 0, 0, 9]);
            frame
        },
    ]
}

fn frame(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let header = Flood {
        ethertype,
        length: crate::send::ETHERNET_HEADER,
        ..Flood::over("", 1)
    };
    [&header.frame(), payload].concat()
}

/// A packet from nobody to everybody (RFC 791, section 3.1).
fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(IPV4_HEADER + payload.len()).unwrap();
    let mut packet = vec![0; IPV4_HEADER];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet[8] = 64;
    packet[9] = protocol;
    packet[16..20].fill(0xff);
    checksum(&mut packet);
    packet.extend(payload);
    packet
}

fn checksum(packet: &mut [u8]) {
    packet[10..12].fill(0);
    let words = packet[..IPV4_HEADER].chunks(2);
    let mut sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    packet[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}
