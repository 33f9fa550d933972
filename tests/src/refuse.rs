//! Places on a packet's way out of a host at which nftables drops packets on purpose (nft(8)).

use std::thread;

use crate::netns::Namespace;
use crate::packet::Family;
use crate::wire::DEVICE;

/// Where on the way out of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Before the packet has been given a device (`__ip_local_out`, `net/ipv4/ip_output.c`).
    Output,
    /// With a device (`ip_output`).
    Postrouting,
    /// Where the device has it already (`__dev_queue_xmit`, `net/core/dev.c`, 5.16 and later).
    Egress,
}

/// Drops packets until it is dropped itself.
#[derive(Debug)]
pub struct Refusal<'a> {
    host: &'a Namespace,
    family: &'static str,
}

impl Place {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Output, Self::Postrouting, Self::Egress];

    /// The device that a packet has there.
    pub fn device(self) -> &'static str {
        match self {
            Self::Output => "",
            Self::Postrouting | Self::Egress => DEVICE,
        }
    }

    /// Begins to drop what leaves by the wire and has exactly these of the TCP flags FIN, SYN, RST and ACK.
    pub fn refuse_tcp(self, host: &Namespace, flags: u8) -> Refusal<'_> {
        self.refuse(host, &format!("tcp flags & 0x17 == {flags:#x}"))
    }

    /// Begins to drop what leaves by the wire for the far end, and not what IPv6 says by itself to groups.
    pub fn refuse_all(self, host: &Namespace, family: Family) -> Refusal<'_> {
        let protocol = match family {
            Family::V4 => "ip",
            Family::V6 => "ip6",
        };
        self.refuse(host, &format!("{protocol} daddr {}", family.far(0).ip()))
    }

    fn refuse<'a>(self, host: &'a Namespace, which: &str) -> Refusal<'a> {
        let (family, hook) = match self {
            Self::Output => ("inet", "output"),
            Self::Postrouting => ("inet", "postrouting"),
            Self::Egress => ("netdev", "egress device wire0"),
        };
        host.exec(&[
            "nft",
            &format!(
                "table {family} refuse {{ chain refuse {{ type filter hook {hook} priority 0; \
                 oifname {DEVICE} {which} drop; }}; }}"
            ),
        ]);
        Refusal { host, family }
    }
}

impl Drop for Refusal<'_> {
    fn drop(&mut self) {
        // A second panic would end the whole test process; the namespace takes the table along.
        if thread::panicking() {
            return;
        }
        let table = format!("delete table {} refuse", self.family);
        self.host.exec(&["nft", &table]);
    }
}
