//! What the kernel says about links: bytes of rtnetlink(7) to [`LinkMessage`]s. Pure.
//!
//! The layout is that of `net/core/rtnetlink.c` (`rtnl_fill_ifinfo`); the carrier counts exist since
//! Linux 4.16. neli's parser trusts lengths, so all of them are checked before it gets to see a
//! message.

use std::io::Cursor;

use neli::{
    FromBytesWithInput, ToBytes,
    attr::Attribute,
    consts::{
        nl::NlmF,
        rtnl::{Iff, Ifla, IflaInfo, RtAddrFamily, Rtm},
    },
    nl::{NlPayload, NlmsghdrBuilder},
    rtnl::{Ifinfomsg, IfinfomsgBuilder, Rtattr, RtattrBuilder},
    types::{Buffer, RtBuffer},
};

use crate::{devices::IfIndex, kernel::name::Name};

/// `RTEXT_FILTER_SKIP_STATS` (`include/uapi/linux/rtnetlink.h`). Without `RTEXT_FILTER_VF` beside
/// it, the virtual functions of a card are not listed either: with many they would not fit into a
/// message.
const WITHOUT_STATISTICS: u32 = 1 << 3;

/// `struct nlmsghdr`, `struct ifinfomsg` (16 bytes each) and `struct rtattr`.
const MESSAGE_HEADER: usize = 16;
const IFINFO: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;

/// `NLMSG_ERROR` and `NLMSG_DONE` (`include/uapi/linux/netlink.h`).
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// News of one link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkMessage {
    /// It exists, and this is its whole state.
    Present(Link),
    /// It was deleted, or moved to another namespace.
    Gone(IfIndex),
}

/// Everything that netlink says about a link and that we serve.
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

fn present(payload: &[u8]) -> Result<Content, Malformed> {
    let info = ifinfo(payload)?;
    if is_of_a_family(&info) {
        return Ok(Content::Other);
    }
    let mut link = Link {
        index: index(*info.ifi_index())?,
        name: Name::default(),
        admin: if info.ifi_flags().contains(Iff::UP) {
            Admin::Up
        } else {
            Admin::Down
        },
        carrier: Carrier::Off,
        operstate: OperState(0),
        carrier_ups: 0,
        carrier_downs: 0,
        kind: Name::default(),
        lower: None,
        master: None,
    };
    let (mut ups, mut downs, mut lower_is_elsewhere) = (None, None, false);
    for attribute in info.rtattrs().iter() {
        match attribute.rta_type() {
            Ifla::Ifname => link.name = Name::until_nul(attribute.payload().as_ref()),
            Ifla::Carrier if number::<u8>(attribute)? != 0 => link.carrier = Carrier::On,
            Ifla::Operstate => link.operstate = OperState(number(attribute)?),
            Ifla::CarrierUpCount => ups = Some(number(attribute)?),
            Ifla::CarrierDownCount => downs = Some(number(attribute)?),
            Ifla::Link => link.lower = other_index(number(attribute)?),
            Ifla::LinkNetnsid => lower_is_elsewhere = true,
            Ifla::Master => link.master = other_index(number(attribute)?),
            Ifla::Linkinfo => link.kind = kind(attribute)?,
            _ => {}
        }
    }
    // Wireless extensions send events as messages of links that lack everything else
    // (`net/wireless/wext-core.c`); a change of the state always has a message of its own.
    let (Some(ups), Some(downs)) = (ups, downs) else {
        return Ok(Content::Other);
    };
    (link.carrier_ups, link.carrier_downs) = (ups, downs);
    if link.name.is_empty() {
        return Err(Malformed("a link without name"));
    }
    if lower_is_elsewhere {
        link.lower = None;
    }
    Ok(Content::Link(LinkMessage::Present(link)))
}

fn gone(payload: &[u8]) -> Result<Content, Malformed> {
    let info = ifinfo(payload)?;
    if is_of_a_family(&info) {
        return Ok(Content::Other);
    }
    let index = index(*info.ifi_index())?;
    Ok(Content::Link(LinkMessage::Gone(index)))
}

/// Bridges tell in the same group of ports that come and go, with AF_BRIDGE
/// (`br_ifinfo_notify` in `net/bridge/br_netlink.c`): the device itself stays.
fn is_of_a_family(info: &Ifinfomsg) -> bool {
    *info.ifi_family() != RtAddrFamily::Unspecified
}

fn ifinfo(payload: &[u8]) -> Result<Ifinfomsg, Malformed> {
    let attributes = payload.get(IFINFO..).ok_or(Malformed("a short link"))?;
    check_attributes(attributes)?;
    Ifinfomsg::from_bytes_with_input(&mut Cursor::new(payload), payload.len())
        .map_err(malformed("a link"))
}

fn kind(link_info: &Rtattr<Ifla, Buffer>) -> Result<Name, Malformed> {
    check_attributes(link_info.payload().as_ref())?;
    let nested = link_info
        .get_attr_handle::<IflaInfo>()
        .map_err(malformed("what kind a link is"))?;
    let kind = nested.get_attribute(IflaInfo::Kind);
    Ok(Name::until_nul(
        kind.map_or(&[][..], |kind| kind.payload().as_ref()),
    ))
}

/// Whether every attribute ends, with its padding, where the next begins or where all end.
fn check_attributes(mut rest: &[u8]) -> Result<(), Malformed> {
    const WRONG: Malformed = Malformed("the length of an attribute");
    while !rest.is_empty() {
        let len = usize::from(u16_at(rest, 0).ok_or(WRONG)?);
        if len < ATTRIBUTE_HEADER {
            return Err(WRONG);
        }
        rest = rest.get(aligned(len)..).ok_or(WRONG)?;
    }
    Ok(())
}

fn number<T: neli::FromBytes>(attribute: &Rtattr<Ifla, Buffer>) -> Result<T, Malformed> {
    attribute
        .get_payload_as()
        .map_err(malformed("a number that is too short"))
}

fn index(index: i32) -> Result<IfIndex, Malformed> {
    match u32::try_from(index) {
        Ok(index) if index > 0 => Ok(IfIndex(index)),
        _ => Err(Malformed("an index below 1")),
    }
}

/// 0 stands for none.
fn other_index(index: u32) -> Option<IfIndex> {
    (index > 0).then_some(IfIndex(index))
}

/// What neli says goes nowhere: it names types of its own, and the lengths it may complain of were
/// checked.
fn malformed<E>(what: &'static str) -> impl Fn(E) -> Malformed {
    move |_| Malformed(what)
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
