//! RTM_GETLINK (`net/core/rtnetlink.c`): asks for links. Pure.

use std::io::Cursor;

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

use super::{Malformed, attributes::attributes, message::Message};
use crate::{devices::IfIndex, kernel::name::Name};

/// `struct ifinfomsg`.
pub(super) const HEADER: usize = 16;

/// `IFLA_IFNAME`
const IFNAME: u16 = 3;

/// `RTEXT_FILTER_SKIP_STATS` (`include/uapi/linux/rtnetlink.h`). Without `RTEXT_FILTER_VF` beside
/// it, the virtual functions of a card are not listed either: with many they would not fit into a
/// message.
const WITHOUT_STATISTICS: u32 = 1 << 3;

/// Which links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// All of the namespace.
    All,
    /// One. The answer ends with an acknowledgement.
    One(IfIndex),
}

/// A request with this sequence number.
///
/// # Errors
///
/// neli cannot build it.
pub fn request(links: Links, seq: u32) -> anyhow::Result<Vec<u8>> {
    let mask = RtattrBuilder::default()
        .rta_type(Ifla::ExtMask)
        .rta_payload(WITHOUT_STATISTICS)
        .build()?;
    let (index, flags) = match links {
        Links::All => (0, NlmF::DUMP),
        Links::One(IfIndex(index)) => (i32::try_from(index)?, NlmF::ACK),
    };
    let link = IfinfomsgBuilder::default()
        .ifi_family(RtAddrFamily::Unspecified)
        .ifi_index(index)
        .rtattrs(RtBuffer::from_iter([mask]))
        .build()?;
    let message = NlmsghdrBuilder::default()
        .nl_type(Rtm::Getlink)
        .nl_flags(NlmF::REQUEST | flags)
        .nl_seq(seq)
        .nl_payload(NlPayload::Payload(link))
        .build()?;
    let mut bytes = Cursor::new(Vec::new());
    message.to_bytes(&mut bytes)?;
    Ok(bytes.into_inner())
}

/// What a link is called.
///
/// # Errors
///
/// Lengths do not fit.
pub fn parse_name(message: &Message<'_>) -> Result<Name, Malformed> {
    let link = message.payload.get(HEADER..);
    for attribute in attributes(link.ok_or(Malformed("a short link"))?) {
        let attribute = attribute?;
        if attribute.kind == IFNAME {
            return Ok(Name::until_nul(attribute.payload));
        }
    }
    Err(Malformed("a link without name"))
}
