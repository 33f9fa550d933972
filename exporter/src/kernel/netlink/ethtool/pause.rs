//! PAUSE_GET with statistics (`net/ethtool/pause.c`, v6.18).

use crate::kernel::netlink::{Malformed, genl::content, message::Message};

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
    for attribute in content(message)? {
        let attribute = attribute?;
        if attribute.kind != STATS {
            continue;
        }
        for stat in attribute.nested() {
            let stat = stat?;
            match stat.kind {
                TX_FRAMES => pause.sent = Some(stat.uint()?),
                RX_FRAMES => pause.received = Some(stat.uint()?),
                _ => {}
            }
        }
    }
    Ok(pause)
}
