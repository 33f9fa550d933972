//! The oldest counters of all links: RTM_GETSTATS (`net/core/rtnetlink.c`) with `struct
//! rtnl_link_stats64` (`include/uapi/linux/if_link.h`, whose comments say what each counts). Pure.
//!
//! Minimum kernel: 4.7. Asked for one device they come without all that a link is.

use std::io::Cursor;

use neli::{
    ToBytes,
    consts::nl::NlmF,
    nl::{NlPayload, NlmsghdrBuilder},
    types::Buffer,
};

use super::{Malformed, attributes::attributes, message::Message};
use crate::devices::IfIndex;

/// `RTM_GETSTATS`.
const GET: u16 = 94;

/// `struct if_stats_msg`: a family and padding, the device, and a mask of what is asked for.
const HEADER: usize = 12;

/// `IFLA_STATS_LINK_64`, and its bit in the mask.
const LINK_64: u16 = 1;
const LINK_64_BIT: u32 = 1;

/// The counters of a link, of its driver and of the stack together (`dev_get_stats`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats64 {
    /// Received and lost: by the driver, or by the stack for want of a handler or of memory.
    pub rx_dropped: u64,
    /// To be sent and lost: by the driver, or by the stack.
    pub tx_dropped: u64,
    /// Received frames of a wrong length.
    pub rx_length: u64,
    /// Receive ring overflows, as the driver understands it.
    pub rx_over: u64,
    /// Received frames with a wrong checksum.
    pub rx_crc: u64,
    /// Received frames that were misaligned.
    pub rx_frame: u64,
    /// Receive FIFO errors, as the driver understands it.
    pub rx_fifo: u64,
    /// Received by the device and lost for want of buffers.
    pub rx_missed: u64,
    /// Given up while they were sent.
    pub tx_aborted: u64,
    /// Not sent because there was no carrier.
    pub tx_carrier: u64,
    /// Transmit FIFO errors.
    pub tx_fifo: u64,
    /// Heartbeat errors of old half-duplex links.
    pub tx_heartbeat: u64,
    /// Late collisions.
    pub tx_window: u64,
}

/// Asks for the counters of a device.
///
/// # Errors
///
/// neli cannot build it.
pub fn request(device: IfIndex, seq: u32) -> anyhow::Result<Vec<u8>> {
    let mut payload = vec![0; 4];
    payload.extend(device.0.to_ne_bytes());
    payload.extend(LINK_64_BIT.to_ne_bytes());
    let message = NlmsghdrBuilder::default()
        .nl_type(GET)
        .nl_flags(NlmF::REQUEST | NlmF::ACK)
        .nl_seq(seq)
        .nl_payload(NlPayload::Payload(Buffer::from(payload)))
        .build()?;
    let mut bytes = Cursor::new(Vec::new());
    message.to_bytes(&mut bytes)?;
    Ok(bytes.into_inner())
}

/// Reads an answer.
///
/// # Errors
///
/// Lengths do not fit, or it has no counters.
pub fn parse(message: &Message<'_>) -> Result<Stats64, Malformed> {
    let content = message.payload.get(HEADER..);
    for attribute in attributes(content.ok_or(Malformed("a short header of statistics"))?) {
        let attribute = attribute?;
        if attribute.kind == LINK_64 {
            return counters(attribute.payload).ok_or(Malformed("statistics that are too short"));
        }
    }
    Err(Malformed("statistics without counters"))
}

/// The structure as old as this request; later kernels add to its end.
fn counters(bytes: &[u8]) -> Option<Stats64> {
    let word = |index: usize| {
        let word = bytes.get(index * 8..)?.first_chunk()?;
        Some(u64::from_ne_bytes(*word))
    };
    Some(Stats64 {
        rx_dropped: word(6)?,
        tx_dropped: word(7)?,
        rx_length: word(10)?,
        rx_over: word(11)?,
        rx_crc: word(12)?,
        rx_frame: word(13)?,
        rx_fifo: word(14)?,
        rx_missed: word(15)?,
        tx_aborted: word(16)?,
        tx_carrier: word(17)?,
        tx_fifo: word(18)?,
        tx_heartbeat: word(19)?,
        tx_window: word(20)?,
    })
}
