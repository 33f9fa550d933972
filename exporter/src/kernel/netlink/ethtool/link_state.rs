//! LINKSTATE_GET (`net/ethtool/linkstate.c`, v6.18).

use super::down_reason::DownReason;
use crate::kernel::netlink::{Malformed, genl::content, message::Message};

/// `ETHTOOL_A_LINKSTATE_*`.
const LINK: u16 = 2;
const SQI: u16 = 3;
const SQI_MAX: u16 = 4;
const EXT_STATE: u16 = 5;
const EXT_SUBSTATE: u16 = 6;
const EXT_DOWN_CNT: u16 = 7;

/// What a port says of its link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkState {
    /// Why it is down, if it is. Drivers say so only while the link is set up (IFF_UP).
    pub down_reason: Option<DownReason>,
    /// How often the card saw the link go down (6.2).
    pub down_events: Option<u32>,
    /// The quality of the signal.
    pub sqi: Option<Sqi>,
}

/// A signal quality index; the kernel gives it only where it is within its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sqi {
    /// 0 is the worst.
    pub value: u32,
    /// The best that this hardware can say.
    pub max: u32,
}

/// Reads an answer.
///
/// # Errors
///
/// Lengths do not fit.
pub fn parse(message: &Message<'_>) -> Result<LinkState, Malformed> {
    let (mut sqi, mut sqi_max, mut state, mut substate) = (None, None, None, None);
    let (mut has_link, mut down_events) = (false, None);
    for attribute in content(message)? {
        let attribute = attribute?;
        match attribute.kind {
            LINK => has_link = attribute.u8()? != 0,
            SQI => sqi = Some(attribute.u32()?),
            SQI_MAX => sqi_max = Some(attribute.u32()?),
            EXT_STATE => state = Some(attribute.u8()?),
            EXT_SUBSTATE => substate = Some(attribute.u8()?),
            EXT_DOWN_CNT => down_events = Some(attribute.u32()?),
            _ => {}
        }
    }
    Ok(LinkState {
        // Some drivers still tell the last reason when the link is up again.
        down_reason: state
            .filter(|_| !has_link)
            .map(|state| DownReason { state, substate }),
        down_events,
        sqi: sqi.zip(sqi_max).map(|(value, max)| Sqi { value, max }),
    })
}
