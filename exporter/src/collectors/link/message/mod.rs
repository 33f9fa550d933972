//! What the kernel says about links: bytes of rtnetlink(7) to [`LinkMessage`]s. Pure.
//!
//! The layout is that of `net/core/rtnetlink.c` (`rtnl_fill_ifinfo`); the carrier counts exist since
//! Linux 4.16. neli's parser trusts lengths, so all of them are checked before it gets to see a
//! message.

use std::{io::Cursor, sync::Arc};

use neli::{
    ToBytes,
    consts::{
        nl::NlmF,
        rtnl::{Ifla, RtAddrFamily, Rtm},
    },
    nl::{NlPayload, NlmsghdrBuilder},
    rtnl::{IfinfomsgBuilder, RtattrBuilder},
    types::RtBuffer,
};

use crate::{devices::IfIndex, kernel::name::Name};

mod link;

use link::{gone, present};

/// `RTEXT_FILTER_SKIP_STATS` (`include/uapi/linux/rtnetlink.h`). Without `RTEXT_FILTER_VF` beside
/// it, the virtual functions of a card are not listed either: with many they would not fit into a
/// message.
const WITHOUT_STATISTICS: u32 = 1 << 3;

/// `struct nlmsghdr`.
const MESSAGE_HEADER: usize = 16;

/// `NLMSG_ERROR` and `NLMSG_DONE` (`include/uapi/linux/netlink.h`).
const ERROR: u16 = 2;
const DONE: u16 = 3;

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

/// A message whose lengths do not fit, or that lacks what every kernel sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed netlink message: {0}")]
pub struct Malformed(&'static str);

/// The messages of a datagram. After one that is [`Malformed`] in its own length there are no more,
/// because nobody knows where the next one begins.
pub fn messages(datagram: &[u8]) -> impl Iterator<Item = Result<Envelope, Malformed>> + '_ {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let message = match u32_at(rest, 0).map(|len| len as usize) {
            Some(len) if (MESSAGE_HEADER..=rest.len()).contains(&len) => &rest[..len],
            _ => {
                rest = &[];
                return Some(Err(Malformed("its length")));
            }
        };
        rest = rest.get(aligned(message.len())..).unwrap_or_default();
        Some(envelope(message))
    })
}

/// A request for all links of the namespace.
///
/// # Errors
///
/// neli cannot build it.
pub fn dump_request(seq: u32) -> anyhow::Result<Vec<u8>> {
    let mask = RtattrBuilder::default()
        .rta_type(Ifla::ExtMask)
        .rta_payload(WITHOUT_STATISTICS)
        .build()?;
    let all_links = IfinfomsgBuilder::default()
        .ifi_family(RtAddrFamily::Unspecified)
        .rtattrs(RtBuffer::from_iter([mask]))
        .build()?;
    let request = NlmsghdrBuilder::default()
        .nl_type(Rtm::Getlink)
        .nl_flags(NlmF::REQUEST | NlmF::DUMP)
        .nl_seq(seq)
        .nl_payload(NlPayload::Payload(all_links))
        .build()?;
    let mut bytes = Cursor::new(Vec::new());
    request.to_bytes(&mut bytes)?;
    Ok(bytes.into_inner())
}

/// `message` has a whole header and ends where that says.
fn envelope(message: &[u8]) -> Result<Envelope, Malformed> {
    const SHORT: Malformed = Malformed("its header");
    let kind = u16_at(message, 4).ok_or(SHORT)?;
    let flags = u16_at(message, 6).ok_or(SHORT)?;
    let payload = message.get(MESSAGE_HEADER..).ok_or(SHORT)?;
    Ok(Envelope {
        seq: u32_at(message, 8).ok_or(SHORT)?,
        port: u32_at(message, 12).ok_or(SHORT)?,
        is_part: flags & NlmF::MULTI.bits() != 0,
        is_interrupted: flags & NlmF::DUMP_INTR.bits() != 0,
        content: match kind {
            ERROR => Content::End(i32_at(payload).ok_or(Malformed("an error without number"))?),
            // Without a number in old kernels.
            DONE => Content::End(i32_at(payload).unwrap_or(0)),
            _ => match Rtm::from(kind) {
                Rtm::Newlink => present(payload)?,
                Rtm::Dellink => gone(payload)?,
                _ => Content::Other,
            },
        },
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

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let bytes = bytes.get(offset..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

fn i32_at(bytes: &[u8]) -> Option<i32> {
    bytes.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes))
}
