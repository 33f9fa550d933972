//! A module's memory, as far as it is read: halves of pages, 128 bytes each.
//!
//! The lower half is always the same; which page shows in the upper half is chosen by its number and bank.
//! SFF-8472 has a second memory, at another i2c address, for what it measures.

use std::fmt;

/// The largest number of bytes that a module gives at once.
pub const HALF: usize = 128;

/// Where a byte of the upper half is in it: the specifications number them from 128.
pub(super) const fn upper(byte: usize) -> usize {
    byte - HALF
}

/// What is read of modules, and all that the helper reads of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum HalfPage {
    /// What every module begins with. SFF-8472: identity, A0h 0-127. Others: status and monitors.
    Lower,
    /// SFF-8472: thresholds, calibration and monitors, A2h 0-127.
    Diagnostics,
    /// SFF-8636 and CMIS: identity.
    Page00,
    /// CMIS: what the module can do.
    Page01,
    /// CMIS: thresholds.
    Page02,
    /// SFF-8636: thresholds.
    Page03,
    /// CMIS: monitors and flags of lanes 1 to 8.
    Page11,
    /// Of lanes 9 to 16.
    Page11Bank1,
    /// Of lanes 17 to 24.
    Page11Bank2,
    /// Of lanes 25 to 32.
    Page11Bank3,
}

/// Where half a page is, in the words of `ETHTOOL_MSG_MODULE_EEPROM_GET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The i2c address.
    pub address: u8,
    /// The number of the page.
    pub page: u8,
    /// The bank.
    pub bank: u8,
    /// The first byte: 0 for the lower half, 128 for the upper.
    pub offset: u8,
}

impl HalfPage {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::Lower,
        Self::Diagnostics,
        Self::Page00,
        Self::Page01,
        Self::Page02,
        Self::Page03,
        Self::Page11,
        Self::Page11Bank1,
        Self::Page11Bank2,
        Self::Page11Bank3,
    ];

    /// The lanes of a CMIS module, eight in each bank.
    pub const LANES: [Self; 4] = [
        Self::Page11,
        Self::Page11Bank1,
        Self::Page11Bank2,
        Self::Page11Bank3,
    ];

    /// Where it is.
    pub fn place(self) -> Place {
        let (address, page, bank, offset) = match self {
            Self::Lower => (0x50, 0, 0, 0),
            Self::Diagnostics => (0x51, 0, 0, 0),
            Self::Page00 => (0x50, 0, 0, 128),
            Self::Page01 => (0x50, 1, 0, 128),
            Self::Page02 => (0x50, 2, 0, 128),
            Self::Page03 => (0x50, 3, 0, 128),
            Self::Page11 => (0x50, 0x11, 0, 128),
            Self::Page11Bank1 => (0x50, 0x11, 1, 128),
            Self::Page11Bank2 => (0x50, 0x11, 2, 128),
            Self::Page11Bank3 => (0x50, 0x11, 3, 128),
        };
        Place {
            address,
            page,
            bank,
            offset,
        }
    }

    /// How many bytes its checksums are about, with them; what follows may change any time.
    pub fn checked(self) -> usize {
        match self {
            Self::Lower | Self::Diagnostics | Self::Page00 => 96,
            _ => HALF,
        }
    }

    /// Whether a module's maker wrote it once and for all.
    pub fn is_static(self) -> bool {
        matches!(self, Self::Page01 | Self::Page02 | Self::Page03)
    }
}

impl fmt::Display for HalfPage {
    /// As in the specifications.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place();
        match self {
            Self::Lower => write!(f, "the lower half"),
            Self::Diagnostics => write!(f, "A2h"),
            _ if place.bank == 0 => write!(f, "page {:02x}h", place.page),
            _ => write!(f, "page {:02x}h, bank {}", place.page, place.bank),
        }
    }
}

/// What was read of a module so far. A driver may give less of a half than it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pages([Option<Vec<u8>>; HalfPage::ALL.len()]);

impl Pages {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// This was read; without bytes if the module does not give it.
    pub fn set(&mut self, half: HalfPage, bytes: Vec<u8>) {
        self.0[half as usize] = Some(bytes);
    }

    /// Whether it was tried to read this.
    pub fn tried(&self, half: HalfPage) -> bool {
        self.0[half as usize].is_some()
    }

    /// What was read of it.
    pub fn raw(&self, half: HalfPage) -> &[u8] {
        self.0[half as usize].as_deref().unwrap_or_default()
    }

    /// What was read of it, unless it is blank, which it is where nothing answers, or is the page with
    /// the module's identity once more: many modules and drivers give that instead of a page that they
    /// do not have.
    pub(super) fn get(&self, half: HalfPage) -> Bytes<'_> {
        let bytes = self.raw(half);
        let is_blank =
            bytes.iter().all(|&byte| byte == 0) || bytes.iter().all(|&byte| byte == 0xff);
        let identity = match half {
            HalfPage::Lower | HalfPage::Page00 => &[],
            HalfPage::Diagnostics => self.raw(HalfPage::Lower),
            _ => self.raw(HalfPage::Page00),
        };
        let is_identity =
            !identity.is_empty() && bytes.iter().eq(identity.iter().take(bytes.len()));
        if is_blank || is_identity {
            return Bytes::default();
        }
        Bytes(bytes)
    }
}

/// Bytes of half a page, numbered from 0 also in the upper half. Nothing is read past the end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn u8(self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    pub(super) fn u16(self, at: usize) -> Option<u16> {
        Some(u16::from_be_bytes(*self.0.get(at..)?.first_chunk()?))
    }

    pub(super) fn f32(self, at: usize) -> Option<f32> {
        Some(f32::from_be_bytes(*self.0.get(at..)?.first_chunk()?))
    }

    pub(super) fn bit(self, at: usize, bit: u8) -> bool {
        self.u8(at).is_some_and(|byte| byte >> bit & 1 == 1)
    }

    /// Text as a label: without what pads it, and with `?` for what is not printable.
    pub(super) fn text(self, at: usize, len: usize) -> String {
        let text = self.0.get(at..at + len).unwrap_or_default();
        let is_padding = |byte: &u8| matches!(byte, 0 | b' ' | 0xff);
        let end = text.iter().rposition(|byte| !is_padding(byte));
        let text = &text[..end.map_or(0, |last| last + 1)];
        let printed = text.iter().map(|&byte| match byte {
            b' '..=b'~' => char::from(byte),
            _ => '?',
        });
        printed.collect::<String>().trim().to_owned()
    }

    /// Whether this can be text, which is padded with blanks, or with what is no character.
    pub(super) fn is_text(self, at: usize, len: usize) -> bool {
        let text = self.0.get(at..at + len).unwrap_or_default();
        text.iter()
            .all(|byte| matches!(byte, b' '..=b'~' | 0 | 0xff))
    }

    /// Whether this is text, and not nothing but padding.
    pub(super) fn is_name(self, at: usize, len: usize) -> bool {
        self.is_text(at, len) && !self.text(at, len).is_empty()
    }

    /// Whether the bytes from `first` on add up to the one behind them. Unknown if that is missing.
    pub(super) fn checksum(self, first: usize, sum: usize) -> Option<bool> {
        let covered = self.0.get(first..sum)?;
        let added = covered
            .iter()
            .fold(0_u8, |sum, &byte| sum.wrapping_add(byte));
        Some(added == self.u8(sum)?)
    }
}
