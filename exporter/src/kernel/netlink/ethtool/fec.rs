//! FEC_GET with statistics (`net/ethtool/fec.c`, v6.18).

use super::each_count;
use crate::kernel::netlink::{Malformed, attributes::Attribute, message::Message};

/// `ETHTOOL_A_FEC_STATS`, `ETHTOOL_A_FEC_STAT_CORRECTED`, `_UNCORR`.
const STATS: u16 = 5;
const CORRECTED: u16 = 2;
const UNCORRECTABLE: u16 = 3;

/// What forward error correction did since the driver counts, over all lanes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fec {
    /// Received blocks that it mended (IEEE 802.3 `aFECCorrectedBlocks`).
    pub corrected_blocks: Option<u64>,
    /// Received blocks that it could not mend (`aFECUncorrectableBlocks`).
    pub uncorrectable_blocks: Option<u64>,
}

/// Reads an answer.
///
/// # Errors
///
/// Lengths do not fit.
pub fn parse(message: &Message<'_>) -> Result<Fec, Malformed> {
    let mut fec = Fec::default();
    each_count(message, STATS, |count| {
        match count.kind {
            CORRECTED => fec.corrected_blocks = total(count)?,
            UNCORRECTABLE => fec.uncorrectable_blocks = total(count)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(fec)
}

/// The first of an array of u64: the sum over the lanes, that follow (`fec_stats_recalc`). Empty
/// where the driver does not count.
fn total(count: &Attribute<'_>) -> Result<Option<u64>, Malformed> {
    if count.payload.is_empty() {
        return Ok(None);
    }
    count.uint().map(Some)
}
