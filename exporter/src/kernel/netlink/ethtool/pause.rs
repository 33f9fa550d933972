//! PAUSE_GET with statistics (`net/ethtool/pause.c`, v6.18).

use super::each_count;
use crate::kernel::netlink::{Malformed, message::Message};

/// `ETHTOOL_A_PAUSE_STATS`, `ETHTOOL_A_PAUSE_STAT_TX_FRAMES`, `_RX_FRAMES`.
const STATS: u16 = 5;
const TX_FRAMES: u16 = 2;
const RX_FRAMES: u16 = 3;

/// Pause frames (IEEE 802.3x) since the driver counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pause {
    /// Sent: this end asked the other to wait.
    pub sent: Option<u64>,
    /// Received: the other end asked.
    pub received: Option<u64>,
}

/// Reads an answer.
///
/// # Errors
///
/// Lengths do not fit.
pub fn parse(message: &Message<'_>) -> Result<Pause, Malformed> {
    let mut pause = Pause::default();
    each_count(message, STATS, |count| {
        match count.kind {
            TX_FRAMES => pause.sent = Some(count.uint()?),
            RX_FRAMES => pause.received = Some(count.uint()?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(pause)
}
