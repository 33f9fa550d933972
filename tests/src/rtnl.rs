//! The little of rtnetlink(7) that `ip` does not print: one RTM_GETLINK for one device.
//!
//! Written for the tests alone: the exporter's own parser is what they check.

use std::time::Duration;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketType, connect, recv, send, socket, sockopt,
};

// include/uapi/linux/rtnetlink.h, netlink.h, if.h and if_link.h, v6.18.
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const NLM_F_REQUEST: u16 = 1;
const IFF_LOWER_UP: u32 = 1 << 16;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_CARRIER: u16 = 33;
const IFLA_CARRIER_UP_COUNT: u16 = 47;
const IFLA_CARRIER_DOWN_COUNT: u16 = 48;
const IF_OPER_UP: u32 = 6;
const HEADER: usize = 16;
const IFINFOMSG: usize = 16;

/// More than the answer for any device without virtual functions takes.
const BUFFER: usize = 64 * 1024;
const TIMEOUT: Duration = Duration::from_secs(20);

/// What the kernel says of a link's carrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carrier {
    /// Whether there is one, also while the link is down (`netif_carrier_ok`).
    pub is_there: bool,
    /// Whether the link is up and works: from then on nothing is refused.
    pub works: bool,
    /// How often it came.
    pub ups: u64,
    /// How often it went.
    pub downs: u64,
}

/// Of a device of this thread's namespace. The kernel answers under the RTNL lock.
pub fn carrier(ifindex: u32) -> Carrier {
    let answer = get_link(ifindex);
    let kind = u16::from_ne_bytes(answer[4..6].try_into().unwrap());
    assert_eq!(kind, RTM_NEWLINK, "no answer for ifindex {ifindex}");
    // After family, type and index.
    let flags = u32::from_ne_bytes(answer[HEADER + 8..][..4].try_into().unwrap());
    let number = |wanted| match attribute(&answer[HEADER + IFINFOMSG..], wanted) {
        Some(&[byte]) => u32::from(byte),
        Some(&[a, b, c, d]) => u32::from_ne_bytes([a, b, c, d]),
        other => panic!("attribute {wanted} of ifindex {ifindex} is {other:?}"),
    };
    Carrier {
        is_there: number(IFLA_CARRIER) == 1,
        works: flags & IFF_LOWER_UP != 0 && number(IFLA_OPERSTATE) == IF_OPER_UP,
        ups: number(IFLA_CARRIER_UP_COUNT).into(),
        downs: number(IFLA_CARRIER_DOWN_COUNT).into(),
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
