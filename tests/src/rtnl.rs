//! The little of rtnetlink(7) that `ip` does not print: one RTM_GETLINK for one device.
//!
//! Written for the tests alone: the exporter's own parser is what they check.

use std::time::Duration;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketType, connect, recv, send, socket, sockopt,
};

// include/uapi/linux/rtnetlink.h, netlink.h and if_link.h, v6.18.
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const NLM_F_REQUEST: u16 = 1;
const IFLA_CARRIER: u16 = 33;
const HEADER: usize = 16;
const IFINFOMSG: usize = 16;

/// More than the answer for any device without virtual functions takes.
const BUFFER: usize = 64 * 1024;
const TIMEOUT: Duration = Duration::from_secs(20);

/// Whether a device of this thread's namespace has carrier, also while it is down (`netif_carrier_ok`).
/// The kernel answers under the RTNL lock.
pub fn carrier(ifindex: u32) -> bool {
    let answer = get_link(ifindex);
    let kind = u16::from_ne_bytes(answer[4..6].try_into().unwrap());
    assert_eq!(kind, RTM_NEWLINK, "no answer for ifindex {ifindex}");
    let value = attribute(&answer[HEADER + IFINFOMSG..], IFLA_CARRIER);
    match value {
        Some([0]) => false,
        Some([1]) => true,
        other => panic!("IFLA_CARRIER of ifindex {ifindex} is {other:?}"),
    }
}

fn get_link(ifindex: u32) -> Vec<u8> {
    // Protocol 0 is NETLINK_ROUTE.
    let socket = socket(AddressFamily::NETLINK, SocketType::RAW, None).unwrap();
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(TIMEOUT)).unwrap();
    connect(&socket, &SocketAddrNetlink::new(0, 0)).unwrap();
    let mut request = Vec::with_capacity(HEADER + IFINFOMSG);
    request.extend(((HEADER + IFINFOMSG) as u32).to_ne_bytes());
    request.extend(RTM_GETLINK.to_ne_bytes());
    request.extend(NLM_F_REQUEST.to_ne_bytes());
    // Sequence number and port.
    request.extend([0; 8]);
    // Family, padding and type.
    request.extend([0; 4]);
    request.extend(ifindex.to_ne_bytes());
    // Flags and their mask.
    request.extend([0; 8]);
    send(&socket, &request, SendFlags::empty()).unwrap();
    let mut answer = vec![0; BUFFER];
    let (length, _) = recv(&socket, &mut answer[..], RecvFlags::empty()).unwrap();
    answer.truncate(length);
    answer
}

fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    while bytes.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
        if u16::from_ne_bytes([bytes[2], bytes[3]]) == wanted {
            return Some(&bytes[4..length]);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
    None
}
