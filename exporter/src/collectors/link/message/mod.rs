//! What the kernel says about links: bytes of rtnetlink(7) to [`LinkMessage`]s. Pure.
//!
//! The layout is that of `net/core/rtnetlink.c` (`rtnl_fill_ifinfo`); the carrier counts exist since
//! Linux 4.16. neli's parser trusts lengths, so all of them are checked before it gets to see a
//! message.

use std::sync::Arc;

use neli::consts::{nl::NlmF, rtnl::Rtm};

use crate::{
    devices::IfIndex,
    kernel::{
        name::Name,
        netlink::{
            Malformed,
            message::{self, Message},
        },
    },
};

mod link;

use link::{gone, present};

/// News of one link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkMessage {
    /// It exists, and this is its whole state.
    Present(Link),
    /// The same, and the kernel itself has just set it down: because it is about to be deleted or
    /// moved, or because its driver, its bond or the device below asked for that.
    Closed(Link),
    /// It was deleted.
    Deleted(IfIndex),
    /// It was moved to another network namespace.
    Moved(IfIndex),
}

/// Everything that netlink says about a link and that we serve, or know it again by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Unique in this namespace as long as the device is in it.
    pub index: IfIndex,
    /// Unique in this namespace at any moment.
    pub name: Name,
    /// IFF_UP.
    pub admin: Admin,
    /// IFLA_CARRIER.
    pub carrier: Carrier,
    /// IFLA_OPERSTATE.
    pub operstate: OperState,
    /// IFLA_CARRIER_UP_COUNT.
    pub carrier_ups: u32,
    /// IFLA_CARRIER_DOWN_COUNT.
    pub carrier_downs: u32,
    /// IFLA_INFO_KIND; empty without one.
    pub kind: Name,
    /// The device that it sits on (IFLA_LINK), if that is in this namespace.
    pub lower: Option<IfIndex>,
    /// The device that it is a port of (IFLA_MASTER).
    pub master: Option<IfIndex>,
    /// IFLA_ADDRESS; empty without one.
    pub address: Arc<[u8]>,
    /// Its bus device.
    pub parent: Parent,
    /// Whether it stands for a function of its card (IFLA_PHYS_PORT_NAME is such as `pf0vf3`).
    pub is_representor: bool,
}

/// The bus device of a link (`dev->dev.parent`), which makes it a port of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parent {
    /// The kernel does not say. It tells parents from Linux 5.14 on, and from some versions later
    /// also that there is none.
    Unknown,
    /// There is none: the link is virtual.
    None,
    /// It has one.
    Device {
        /// IFLA_PARENT_DEV_BUS_NAME, such as `pci`; empty if it is on no bus.
        bus: Name,
        /// IFLA_PARENT_DEV_NAME, such as `0000:3b:00.0`. Unique on its bus, in all namespaces.
        name: Name,
    },
}

/// What somebody set the link to (IFF_UP).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admin {
    /// `ip link set up`
    Up,
    /// `ip link set down`
    Down,
}

/// Whether the driver sees a carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// It does.
    On,
    /// It does not.
    Off,
}

/// The operational state of RFC 2863 (`IF_OPER_*` in `include/uapi/linux/if.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperState(pub u8);

impl OperState {
    /// As sysfs calls it (`operstates` in `net/core/net-sysfs.c`); a state that a later kernel
    /// invents is `unknown`.
    pub fn name(self) -> &'static str {
        match self.0 {
            1 => "notpresent",
            2 => "down",
            3 => "lowerlayerdown",
            4 => "testing",
            5 => "dormant",
            6 => "up",
            _ => "unknown",
        }
    }
}

/// One message of a datagram, with what its header says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The request that this answers, or belongs to.
    pub seq: u32,
    /// The port that made the request; 0 for the kernel's own doing.
    pub port: u32,
    /// NLM_F_MULTI: a part of a dump.
    pub is_part: bool,
    /// NLM_F_DUMP_INTR: devices came or went while the dump was made, it may lack some.
    pub is_interrupted: bool,
    /// What it says.
    pub content: Content,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// News of a link.
    Link(LinkMessage),
    /// The end of a dump, or the answer to a request, with an error number or 0.
    End(i32),
    /// Nothing that we follow.
    Other,
}

/// The messages of a datagram. After one that is [`Malformed`] in its own length there are no more,
/// because nobody knows where the next one begins.
pub fn messages(datagram: &[u8]) -> impl Iterator<Item = Result<Envelope, Malformed>> + '_ {
    message::messages(datagram).map(|message| envelope(&message?))
}

fn envelope(message: &Message<'_>) -> Result<Envelope, Malformed> {
    let content = match message.end()? {
        Some(error) => Content::End(error),
        None => match Rtm::from(message.kind) {
            Rtm::Newlink => present(message.payload)?,
            Rtm::Dellink => gone(message.payload)?,
            _ => Content::Other,
        },
    };
    Ok(Envelope {
        seq: message.seq,
        port: message.port,
        is_part: message.flags & NlmF::MULTI.bits() != 0,
        is_interrupted: message.flags & NlmF::DUMP_INTR.bits() != 0,
        content,
    })
}

/// Messages and attributes begin at multiples of 4 (`NLMSG_ALIGNTO`, `RTA_ALIGNTO`).
fn aligned(len: usize) -> usize {
    len.next_multiple_of(4)
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    let bytes = bytes.get(offset..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*bytes))
}
