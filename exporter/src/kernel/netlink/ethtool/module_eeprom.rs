//! ETHTOOL_MSG_MODULE_EEPROM_GET: a part of a transceiver module's memory. Pure.
//!
//! Needs CAP_NET_ADMIN of who opened the socket and of who asks. Minimum kernel: 5.13. An answer is of one
//! half of one page, and pages other than 0 have an upper half only (`net/ethtool/eeprom.c`, v6.12).

use crate::{
    devices::IfIndex,
    kernel::netlink::{
        Malformed,
        genl::{Extent, Family, Request, attribute, content, nest},
        message::Message,
    },
};

use super::HEADER_INDEX;

/// `ETHTOOL_MSG_MODULE_EEPROM_GET`.
pub const GET: u8 = 31;

/// `ETHTOOL_A_MODULE_EEPROM_*`.
const HEADER: u16 = 1;
const OFFSET: u16 = 2;
const LENGTH: u16 = 3;
const PAGE: u16 = 4;
const BANK: u16 = 5;
const ADDRESS: u16 = 6;
const DATA: u16 = 7;

/// A part of a module's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The i2c address.
    pub address: u8,
    /// The number of the page.
    pub page: u8,
    /// The bank of the page.
    pub bank: u8,
    /// The first byte: below 128 in the lower half, which no page changes.
    pub offset: u8,
    /// How many bytes.
    pub length: u8,
}

/// Asks for a part of the memory of the module in a port.
///
/// # Errors
///
/// neli cannot build it.
pub fn request(family: &Family, device: IfIndex, place: Place) -> anyhow::Result<Request> {
    Ok(Request {
        family: family.id,
        command: GET,
        attributes: vec![
            nest(HEADER, &[attribute(HEADER_INDEX, device.0)?])?,
            attribute(OFFSET, u32::from(place.offset))?,
            attribute(LENGTH, u32::from(place.length))?,
            attribute(PAGE, place.page)?,
            attribute(BANK, place.bank)?,
            attribute(ADDRESS, place.address)?,
        ],
        extent: Extent::One,
    })
}

/// The bytes in an answer.
///
/// # Errors
///
/// Lengths do not fit.
pub fn parse(message: &Message<'_>) -> Result<Vec<u8>, Malformed> {
    for found in content(message)? {
        let found = found?;
        if found.kind == DATA {
            return Ok(found.payload.to_vec());
        }
    }
    Err(Malformed("an answer without bytes"))
}
