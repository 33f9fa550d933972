//! LINKINFO_GET (`net/ethtool/linkinfo.c`, v6.18).

use crate::kernel::netlink::{Malformed, genl::content, message::Message};

/// `ETHTOOL_A_LINKINFO_PORT`.
const PORT: u16 = 2;

/// What the cable goes into (`PORT_*`, `include/uapi/linux/ethtool.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connector(pub u8);

impl Connector {
    /// As the kernel calls it, in lower case; empty where the driver does not know it.
    pub fn name(self) -> &'static str {
        match self.0 {
            0x00 => "tp",
            0x01 => "aui",
            0x02 => "mii",
            0x03 => "fibre",
            0x04 => "bnc",
            0x05 => "da",
            0xef => "none",
            // PORT_OTHER, and what a later kernel adds.
            _ => "",
        }
    }
}

/// Reads an answer.
///
/// # Errors
///
/// Lengths do not fit.
pub fn parse(message: &Message<'_>) -> Result<Option<Connector>, Malformed> {
    for attribute in content(message)? {
        let attribute = attribute?;
        if attribute.kind == PORT {
            return attribute.u8().map(|port| Some(Connector(port)));
        }
    }
    Ok(None)
}
