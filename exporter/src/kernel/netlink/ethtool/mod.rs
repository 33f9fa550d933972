//! The generic netlink family `ethtool` (`Documentation/networking/ethtool-netlink.rst`): requests, and
//! answers as typed snapshots. Pure.
//!
//! Nothing here but [`module_eeprom`] needs a privilege. Each request takes the RTNL lock, and some drivers ask their
//! firmware before they answer. Minimum kernel: 5.6; what came later is absent in older ones.

pub mod down_reason;
pub mod fec;
pub mod groups;
pub mod link_info;
pub mod link_modes;
pub mod link_state;
pub mod module_eeprom;
pub mod pause;

use super::{
    Malformed,
    attributes::Attribute,
    genl::{Extent, Family, Request, attribute, content, nest},
    message::Message,
};
use crate::devices::IfIndex;

/// The family's name.
pub const NAME: &str = "ethtool";

/// `ETHTOOL_A_HEADER_DEV_INDEX`, `ETHTOOL_A_HEADER_FLAGS`.
const HEADER_INDEX: u16 = 1;
const HEADER_FLAGS: u16 = 3;

/// `ETHTOOL_FLAG_STATS`.
const FLAG_STATS: u32 = 1 << 2;

/// What can be asked of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Get {
    /// Carrier, signal quality, and why the link is down (5.6; the reason 5.9).
    LinkState,
    /// What the connector is (5.6).
    LinkInfo,
    /// Speed, duplex, lanes, and what both ends can do (5.6).
    LinkModes,
    /// Pause frames (5.6; their counts 5.9).
    Pause,
    /// Forward error correction, with its counts (5.13).
    Fec,
    /// The standard groups of counters (5.13).
    Groups,
}

impl Get {
    /// `ETHTOOL_MSG_*_GET` (`include/uapi/linux/ethtool_netlink.h`).
    pub fn command(self) -> u8 {
        match self {
            Self::LinkInfo => 2,
            Self::LinkModes => 4,
            Self::LinkState => 6,
            Self::Pause => 21,
            Self::Fec => 29,
            Self::Groups => 32,
        }
    }

    /// What is asked for, for messages to people.
    pub fn name(self) -> &'static str {
        match self {
            Self::LinkState => "link state",
            Self::LinkInfo => "link information",
            Self::LinkModes => "link modes",
            Self::Pause => "pause statistics",
            Self::Fec => "FEC statistics",
            Self::Groups => "standard statistics",
        }
    }

    /// Number of the attribute with the device: `ETHTOOL_A_STATS_PAD` came before it.
    fn header(self) -> u16 {
        if self == Self::Groups { 2 } else { 1 }
    }
}

/// Whether counts are asked for where they are an extra.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stats {
    /// With counts. A kernel that has none for this command refuses all of it with EINVAL.
    With,
    /// Without.
    Without,
}

/// Asks something of a device.
///
/// # Errors
///
/// neli cannot build it.
pub fn request(
    family: &Family,
    get: Get,
    device: IfIndex,
    stats: Stats,
) -> anyhow::Result<Request> {
    let mut header = vec![attribute(HEADER_INDEX, device.0)?];
    if stats == Stats::With {
        header.push(attribute(HEADER_FLAGS, FLAG_STATS)?);
    }
    let mut attributes = vec![nest(get.header(), &header)?];
    if get == Get::Groups {
        attributes.push(groups::wanted()?);
    }
    Ok(Request {
        family: family.id,
        command: get.command(),
        attributes,
        extent: Extent::One,
    })
}

/// Hands out the counts of an answer, which are all in one attribute.
fn each_count(
    message: &Message<'_>,
    holder: u16,
    mut take: impl FnMut(&Attribute<'_>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    for attribute in content(message)? {
        let attribute = attribute?;
        if attribute.kind == holder {
            for count in attribute.nested() {
                take(&count?)?;
            }
        }
    }
    Ok(())
}
