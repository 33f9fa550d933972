//! STATS_GET (`net/ethtool/stats.c`, v6.18): the counters that standards define.

use neli::{genl::Nlattr, types::Buffer};

use crate::kernel::netlink::{
    Malformed,
    attributes::Attribute,
    genl::{attribute, content, nest},
    message::Message,
};

/// `ETHTOOL_A_STATS_GROUPS`, `ETHTOOL_A_STATS_GRP`.
const GROUPS: u16 = 3;
const GROUP: u16 = 4;

/// `ETHTOOL_A_STATS_GRP_ID`, `ETHTOOL_A_STATS_GRP_STAT`.
const GROUP_ID: u16 = 2;
const STAT: u16 = 4;

/// `ETHTOOL_A_BITSET_NOMASK`, `_SIZE`, `_VALUE`.
const NOMASK: u16 = 1;
const SIZE: u16 = 2;
const VALUE: u16 = 4;

/// `ETHTOOL_STATS_ETH_PHY`, `_ETH_MAC`, `_ETH_CTRL`, `_RMON`: the groups of the first kernel that had
/// any (5.13).
const ETH_PHY: u32 = 0;
const ETH_MAC: u32 = 1;
const RMON: u32 = 3;
const NUMBER_OF_GROUPS: u32 = 4;

/// What is counted of a group, as far as it says that a frame went wrong. A driver that has a group
/// need not count all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// `aSymbolErrorDuringCarrier`
    pub symbol: Option<u64>,
    /// `aFrameCheckSequenceErrors`
    pub fcs: Option<u64>,
    /// `aAlignmentErrors`
    pub alignment: Option<u64>,
    /// `aLateCollisions`
    pub late_collision: Option<u64>,
    /// `aFramesAbortedDueToXSColls`
    pub excessive_collisions: Option<u64>,
    /// `aFramesLostDueToIntMACXmitError`
    pub mac_transmit: Option<u64>,
    /// `aCarrierSenseErrors`
    pub carrier: Option<u64>,
    /// `aFramesLostDueToIntMACRcvError`
    pub mac_receive: Option<u64>,
    /// `aFramesWithExcessiveDeferral`
    pub excessive_deferral: Option<u64>,
    /// `aInRangeLengthErrors`
    pub length: Option<u64>,
    /// `aOutOfRangeLengthField`
    pub length_field: Option<u64>,
    /// `aFrameTooLongErrors`
    pub too_long: Option<u64>,
    /// `etherStatsUndersizePkts`
    pub undersize: Option<u64>,
    /// `etherStatsOversizePkts`
    pub oversize: Option<u64>,
    /// `etherStatsFragments`
    pub fragments: Option<u64>,
    /// `etherStatsJabbers`
    pub jabbers: Option<u64>,
}

impl Groups {
    /// Each counter with the label it is served under.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let all = [
            ("symbol", self.symbol),
            ("fcs", self.fcs),
            ("alignment", self.alignment),
            ("late_collision", self.late_collision),
            ("excessive_collisions", self.excessive_collisions),
            ("mac_transmit", self.mac_transmit),
            ("carrier", self.carrier),
            ("mac_receive", self.mac_receive),
            ("excessive_deferral", self.excessive_deferral),
            ("length", self.length),
            ("length_field", self.length_field),
            ("too_long", self.too_long),
            ("undersize", self.undersize),
            ("oversize", self.oversize),
            ("fragments", self.fragments),
            ("jabbers", self.jabbers),
        ];
        all.into_iter()
            .filter_map(|(label, count)| Some((label, count?)))
    }

    /// `ETHTOOL_A_STATS_ETH_PHY_*`, `_ETH_MAC_*` and `_RMON_*`.
    fn counter(&mut self, group: u32, stat: u16) -> Option<&mut Option<u64>> {
        let counter = match (group, stat) {
            (ETH_PHY, 0) => &mut self.symbol,
            (ETH_MAC, 4) => &mut self.fcs,
            (ETH_MAC, 5) => &mut self.alignment,
            (ETH_MAC, 8) => &mut self.late_collision,
            (ETH_MAC, 9) => &mut self.excessive_collisions,
            (ETH_MAC, 10) => &mut self.mac_transmit,
            (ETH_MAC, 11) => &mut self.carrier,
            (ETH_MAC, 13) => &mut self.mac_receive,
            (ETH_MAC, 16) => &mut self.excessive_deferral,
            (ETH_MAC, 19) => &mut self.length,
            (ETH_MAC, 20) => &mut self.length_field,
            (ETH_MAC, 21) => &mut self.too_long,
            (RMON, 0) => &mut self.undersize,
            (RMON, 1) => &mut self.oversize,
            (RMON, 2) => &mut self.fragments,
            (RMON, 3) => &mut self.jabbers,
            _ => return None,
        };
        Some(counter)
    }
}

/// The groups that are asked for, as a bit set.
pub(super) fn wanted() -> anyhow::Result<Nlattr<u16, Buffer>> {
    let all: u32 = [ETH_PHY, ETH_MAC, RMON]
        .iter()
        .map(|group| 1 << group)
        .sum();
    nest(
        GROUPS,
        &[
            attribute(NOMASK, Buffer::new())?,
            attribute(SIZE, NUMBER_OF_GROUPS)?,
            attribute(VALUE, all)?,
        ],
    )
}

/// Reads an answer.
///
/// # Errors
///
/// Lengths do not fit.
pub fn parse(message: &Message<'_>) -> Result<Groups, Malformed> {
    let mut groups = Groups::default();
    for attribute in content(message)? {
        let attribute = attribute?;
        if attribute.kind == GROUP {
            add(&mut groups, &attribute)?;
        }
    }
    Ok(groups)
}

fn add(groups: &mut Groups, group: &Attribute<'_>) -> Result<(), Malformed> {
    let mut id = None;
    for attribute in group.nested() {
        let attribute = attribute?;
        match (attribute.kind, id) {
            // The kernel puts it first.
            (GROUP_ID, _) => id = Some(attribute.u32()?),
            (STAT, Some(id)) => {
                for stat in attribute.nested() {
                    let stat = stat?;
                    if let Some(counter) = groups.counter(id, stat.kind) {
                        *counter = Some(stat.uint()?);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}
