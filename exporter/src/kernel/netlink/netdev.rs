//! The generic netlink family `netdev` (`Documentation/netlink/specs/netdev.yaml`): QSTATS_GET. Pure.
//!
//! Needs no privilege. Minimum kernel: 6.10. A driver tells of the whole device only what it counts
//! for all queues and keeps when queues go (`get_base_stats`).

use super::{
    Malformed,
    genl::{Extent, Family, Request, attribute, content},
    message::Message,
};
use crate::devices::IfIndex;

/// The family's name.
pub const NAME: &str = "netdev";

/// `NETDEV_CMD_QSTATS_GET`.
pub const QSTATS_GET: u8 = 12;

/// `NETDEV_A_QSTATS_*` (`include/uapi/linux/netdev.h`).
const IFINDEX: u16 = 1;
const RX_HW_DROPS: u16 = 13;
const RX_HW_DROP_OVERRUNS: u16 = 14;
const RX_HW_DROP_RATELIMITS: u16 = 23;
const TX_HW_DROPS: u16 = 24;
const TX_HW_DROP_ERRORS: u16 = 25;
const TX_HW_DROP_RATELIMITS: u16 = 32;

/// What a device lost since its driver counts. The closer causes are parts of the whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QStats {
    /// Received by the device and never given to the host.
    pub rx_drops: Option<u64>,
    /// Of those, for want of buffers or descriptors.
    pub rx_overruns: Option<u64>,
    /// Of those, above a limit of the device's rate.
    pub rx_rate_limits: Option<u64>,
    /// Given to the device and never sent.
    pub tx_drops: Option<u64>,
    /// Of those, invalid ones.
    pub tx_errors: Option<u64>,
    /// Of those, above a limit of the device's rate.
    pub tx_rate_limits: Option<u64>,
}

/// Asks for the counters of a device, summed over its queues.
///
/// # Errors
///
/// neli cannot build it.
pub fn request(family: &Family, device: IfIndex) -> anyhow::Result<Request> {
    Ok(Request {
        family: family.id,
        command: QSTATS_GET,
        attributes: vec![attribute(IFINDEX, device.0)?],
        extent: Extent::Dump,
    })
}

/// Reads an answer.
///
/// # Errors
///
/// Lengths do not fit.
pub fn parse(message: &Message<'_>) -> Result<QStats, Malformed> {
    let mut stats = QStats::default();
    for attribute in content(message)? {
        let attribute = attribute?;
        let counter = match attribute.kind {
            RX_HW_DROPS => &mut stats.rx_drops,
            RX_HW_DROP_OVERRUNS => &mut stats.rx_overruns,
            RX_HW_DROP_RATELIMITS => &mut stats.rx_rate_limits,
            TX_HW_DROPS => &mut stats.tx_drops,
            TX_HW_DROP_ERRORS => &mut stats.tx_errors,
            TX_HW_DROP_RATELIMITS => &mut stats.tx_rate_limits,
            _ => continue,
        };
        *counter = Some(attribute.uint()?);
    }
    Ok(stats)
}
