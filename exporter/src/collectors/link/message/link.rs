//! One message about a link: its header and attributes to a [`LinkMessage`].

use std::{io::Cursor, sync::Arc};

use neli::{
    FromBytesWithInput,
    attr::Attribute,
    consts::rtnl::{Iff, Ifla, IflaInfo, RtAddrFamily},
    rtnl::{Ifinfomsg, Rtattr},
    types::Buffer,
};

use super::{Admin, Carrier, Content, Link, LinkMessage, OperState, Parent, aligned, u16_at};
use crate::{
    collectors::link::watch::is_representor,
    devices::IfIndex,
    kernel::{name::Name, netlink::Malformed},
};

/// `struct ifinfomsg` and `struct rtattr`.
const IFINFO: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;

/// Since Linux 5.14 (`include/uapi/linux/if_link.h`); neli has no name for them.
const PARENT_DEV_NAME: u16 = 56;
const PARENT_DEV_BUS_NAME: u16 = 57;

/// `NLA_TYPE_MASK` (`include/uapi/linux/netlink.h`): an attribute's number without its flags, such as
/// that of nested ones (IFLA_PROP_LIST, IFLA_PROTO_DOWN_REASON).
const TYPE_MASK: u16 = 0x3fff;

/// What an RTM_NEWLINK says.
pub(super) fn present(payload: &[u8]) -> Result<Content, Malformed> {
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
        address: Arc::default(),
        parent: parent(&info),
        is_representor: false,
    };
    let (mut ups, mut downs, mut lower_is_elsewhere) = (None, None, false);
    for attribute in info.rtattrs().iter() {
        match attribute.rta_type() {
            Ifla::Ifname => link.name = name(attribute),
            Ifla::Address => link.address = attribute.payload().as_ref().into(),
            Ifla::Carrier if number::<u8>(attribute)? != 0 => link.carrier = Carrier::On,
            Ifla::Operstate => link.operstate = OperState(number(attribute)?),
            Ifla::CarrierUpCount => ups = Some(number(attribute)?),
            Ifla::CarrierDownCount => downs = Some(number(attribute)?),
            Ifla::Link => link.lower = other_index(number(attribute)?),
            Ifla::LinkNetnsid => lower_is_elsewhere = true,
            Ifla::Master => link.master = other_index(number(attribute)?),
            Ifla::PhysPortName => link.is_representor = is_representor(&name(attribute)),
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
    // `dev_close` says so whatever IFF_RUNNING was; after `ip link set down` there is IFF_UP and what
    // else was changed by flags, of which IFF_RUNNING is none (`dev_close_many`, `__dev_change_flags`
    // in `net/core/dev.c`).
    let closed = link.admin == Admin::Down && *info.ifi_change() == Iff::UP | Iff::RUNNING;
    Ok(Content::Link(if closed {
        LinkMessage::Closed(link)
    } else {
        LinkMessage::Present(link)
    }))
}

/// What an RTM_DELLINK says.
pub(super) fn gone(payload: &[u8]) -> Result<Content, Malformed> {
    let info = ifinfo(payload)?;
    if is_of_a_family(&info) {
        return Ok(Content::Other);
    }
    let index = index(*info.ifi_index())?;
    let mut attributes = info.rtattrs().iter();
    // Always there where a device moves (`dev_change_net_namespace` in `net/core/dev.c`).
    let moved = attributes.any(|attribute| *attribute.rta_type() == Ifla::NewNetnsid);
    Ok(Content::Link(if moved {
        LinkMessage::Moved(index)
    } else {
        LinkMessage::Deleted(index)
    }))
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

/// Attributes are numbered in the order in which kernels got them. So a message with one that is
/// younger than the parent's name is of a kernel that would tell the name if there were a parent.
fn parent(info: &Ifinfomsg) -> Parent {
    let (mut bus, mut device, mut youngest) = (Name::default(), None, 0);
    for attribute in info.rtattrs().iter() {
        let number = u16::from(*attribute.rta_type()) & TYPE_MASK;
        match number {
            PARENT_DEV_NAME => device = Some(name(attribute)),
            PARENT_DEV_BUS_NAME => bus = name(attribute),
            _ => youngest = youngest.max(number),
        }
    }
    match device {
        Some(name) => Parent::Device { bus, name },
        None if youngest > PARENT_DEV_NAME => Parent::None,
        None => Parent::Unknown,
    }
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

fn name(attribute: &Rtattr<Ifla, Buffer>) -> Name {
    Name::until_nul(attribute.payload().as_ref())
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
