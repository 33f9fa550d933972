//! Which module it is: SFF-8024's numbers, and the texts that all specifications have.

use super::{HalfPage, Pages, Unreadable, pages::Bytes};

/// Which module it is, as it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// What it is plugged into: SFF-8024's identifier.
    pub kind: String,
    /// Who made it.
    pub vendor: String,
    /// The maker's number of the part.
    pub part: String,
    /// The maker's revision of the part.
    pub revision: String,
    /// The maker's number of this one.
    pub serial: String,
    /// In nm; empty for cables of copper, and where it is not told.
    pub wavelength: String,
}

/// How a memory is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standard {
    Sff8472,
    Sff8636,
    Cmis,
}

/// Finds out how the memory is laid out: the first byte of every module says it.
pub(super) fn standard(pages: &Pages) -> Result<Standard, Unreadable> {
    let lower = pages.get(HalfPage::Lower);
    let number = lower.u8(0).ok_or(Unreadable::Blank)?;
    let standard = match number {
        0x00 | 0xff => return Err(Unreadable::Blank),
        0x03 => Standard::Sff8472,
        0x0c | 0x0d | 0x11 => Standard::Sff8636,
        0x18 | 0x19 | 0x1b | 0x1e..=0x25 => Standard::Cmis,
        // What vendors call their own is mostly co-packaged, and follows CMIS: byte 1 is the revision,
        // which no other specification has as high.
        0x80.. if matches!(lower.u8(1), Some(0x30..=0x5f)) => Standard::Cmis,
        _ => return Err(Unreadable::UnknownType(number)),
    };
    let revision = lower.u8(1).unwrap_or_default();
    let is_possible = match standard {
        Standard::Sff8472 => true,
        Standard::Sff8636 => revision < 0x10,
        Standard::Cmis => revision >= 0x20,
    };
    if !is_possible {
        return Err(Unreadable::WrongRevision(number, revision));
    }
    // All but SFP modules say it twice.
    let second = pages.get(HalfPage::Page00).u8(0);
    match second {
        Some(second) if standard != Standard::Sff8472 && second != number => {
            Err(Unreadable::TwoTypes(number, second))
        }
        _ => Ok(standard),
    }
}

/// The names of the modules that can be decoded, as short as SFF-8024 has them.
pub(super) fn kind(lower: Bytes<'_>) -> String {
    let number = lower.u8(0).unwrap_or_default();
    let name = match number {
        0x03 => "SFP",
        0x0c => "QSFP",
        0x0d => "QSFP+",
        0x11 => "QSFP28",
        0x18 => "QSFP-DD",
        0x19 => "OSFP",
        0x1b => "DSFP",
        0x1e => "QSFP+ CMIS",
        0x1f => "SFP-DD CMIS",
        0x20 => "SFP+ CMIS",
        0x21 => "OSFP-XD",
        0x22 => "OIF-ELSFP",
        0x23 => "CDFP x4",
        0x24 => "CDFP x8",
        0x25 => "CDFP x16",
        _ => return format!("{number:#04x}"),
    };
    name.to_owned()
}
