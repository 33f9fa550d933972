//! What a transceiver module's memory says: bytes in, readings out. Pure.
//!
//! SFF-8472 rev 12.4 (SFP), SFF-8636 rev 2.11 (QSFP) and CMIS 5.x, OIF-CMIS-05 (QSFP-DD, OSFP and
//! later); the numbers of modules are those of SFF-8024. What a module does not have, or does not say
//! beyond doubt, is absent. [`next`] tells what to read, [`decode`] what it means.

mod cmis;
mod identity;
mod pages;
mod sff8472;
mod sff8636;
mod units;

pub use identity::Identity;
pub use pages::{HALF, HalfPage, Pages, Place};

use identity::Standard;
use pages::Bytes;
use units::{in_base_unit, steps};

/// What a module measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reading {
    /// Of the case, in degrees Celsius.
    Temperature,
    /// The voltage that it gets, in volts.
    Supply,
    /// Received light, in watts.
    RxPower,
    /// Sent light, in watts.
    TxPower,
    /// The current of the laser, in amperes.
    Bias,
}

impl Reading {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Temperature,
        Self::Supply,
        Self::RxPower,
        Self::TxPower,
        Self::Bias,
    ];

    /// Its label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Temperature => "temperature",
            Self::Supply => "supply",
            Self::RxPower => "rx_power",
            Self::TxPower => "tx_power",
            Self::Bias => "bias",
        }
    }
}

/// The module's own limits of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Above this it may not work.
    HighAlarm,
    /// Below this it may not work.
    LowAlarm,
    /// Above this it is near the end of what it stands.
    HighWarning,
    /// Below this it is near the end of what it stands.
    LowWarning,
}

impl Level {
    /// All of them, in the order of every table of every specification.
    pub const ALL: [Self; 4] = [
        Self::HighAlarm,
        Self::LowAlarm,
        Self::HighWarning,
        Self::LowWarning,
    ];

    /// Its label.
    pub fn label(self) -> &'static str {
        match self {
            Self::HighAlarm => "high_alarm",
            Self::LowAlarm => "low_alarm",
            Self::HighWarning => "high_warning",
            Self::LowWarning => "low_warning",
        }
    }
}

/// A lane of the medium, from 1; `None` for the module as a whole.
pub type Lane = Option<u8>;

/// A reading.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// What.
    pub reading: Reading,
    /// Where.
    pub lane: Lane,
    /// In its base unit.
    pub value: f64,
}

/// What a module says is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flag {
    /// A reading is beyond a limit, or was since the module was read last.
    Beyond(Reading, Level),
    /// There is no light, or too little to work with.
    RxLossOfSignal,
    /// The transmitter does not work.
    TxFault,
}

/// A part of the memory that is not as it should be. What depends on it may be absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Doubt {
    /// A checksum is wrong.
    #[error("the checksum of {0} is wrong")]
    Checksum(HalfPage),
    /// It should be there and is not, is blank, or is another page.
    #[error("{0} is missing, blank or a copy of another page")]
    Missing(HalfPage),
    /// The module is not ready to measure.
    #[error("it is not ready to measure")]
    NotReady,
}

/// What a module said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Module {
    /// Which module it is.
    pub identity: Identity,
    /// Its readings.
    pub measured: Vec<Measured>,
    /// Its limits, in the base unit of the reading.
    pub thresholds: Vec<(Reading, Level, f64)>,
    /// Flags that it has, and whether they are set.
    pub flags: Vec<(Flag, Lane, bool)>,
    /// What is not as it should be.
    pub doubts: Vec<Doubt>,
}

/// Why nothing of a module can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Nothing answers: the memory is blank.
    #[error("its memory is blank")]
    Blank,
    /// Nobody here knows how its memory is laid out.
    #[error("its type {0:#04x} is not known")]
    UnknownType(u8),
    /// It contradicts itself about its type.
    #[error("it says that it is of type {0:#04x} and of type {1:#04x}")]
    TwoTypes(u8, u8),
    /// Its memory is laid out by another specification than its type's: each has revisions of its own.
    #[error("its type {0:#04x} has no revision {1:#04x}")]
    WrongRevision(u8, u8),
    /// Its checksums are wrong and its texts are none.
    #[error("its identity is corrupt: wrong checksums")]
    Corrupt,
}

/// What to read next, or `None` if there is no more to it.
pub fn next(pages: &Pages) -> Option<HalfPage> {
    if !pages.tried(HalfPage::Lower) {
        return Some(HalfPage::Lower);
    }
    let wanted = match identity::standard(pages) {
        Err(_) => return None,
        Ok(Standard::Sff8472) => sff8472::wanted(pages),
        Ok(Standard::Sff8636) => sff8636::wanted(pages),
        Ok(Standard::Cmis) => cmis::wanted(pages),
    };
    wanted.into_iter().find(|&half| !pages.tried(half))
}

/// What the pages say.
///
/// # Errors
///
/// Nothing in them can be believed.
pub fn decode(pages: &Pages) -> Result<Module, Unreadable> {
    match identity::standard(pages)? {
        Standard::Sff8472 => sff8472::decode(pages),
        Standard::Sff8636 => sff8636::decode(pages),
        Standard::Cmis => cmis::decode(pages),
    }
}

impl Module {
    fn measure(&mut self, reading: Reading, lane: Lane, value: Option<f64>) {
        let value = value.filter(|value| value.is_finite());
        self.measured.extend(value.map(|value| Measured {
            reading,
            lane,
            value,
        }));
    }

    /// Four limits, as all specifications order them.
    fn limit(&mut self, reading: Reading, limits: [Option<f64>; 4]) {
        for (level, limit) in Level::ALL.into_iter().zip(limits) {
            let limit = limit.filter(|limit| limit.is_finite());
            self.thresholds
                .extend(limit.map(|limit| (reading, level, limit)));
        }
    }

    fn flag(&mut self, flag: Flag, lane: Lane, set: Option<bool>) {
        self.flags.extend(set.map(|set| (flag, lane, set)));
    }

    fn check(&mut self, half: HalfPage, checksum: Option<bool>) {
        if checksum == Some(false) {
            self.doubts.push(Doubt::Checksum(half));
        }
    }
}

/// A monitor that is in its unit already.
fn monitor(reading: Reading, bytes: Bytes<'_>, at: usize) -> Option<f64> {
    let field = bytes.u16(at)?;
    let available = !units::is_unavailable(reading, field);
    available.then(|| in_base_unit(reading, steps(reading, field)))
}

/// Four limits in a row.
fn limits(reading: Reading, bytes: Bytes<'_>, at: usize) -> [Option<f64>; 4] {
    [0, 2, 4, 6].map(|next| {
        let field = bytes.u16(at + next)?;
        Some(in_base_unit(reading, steps(reading, field)))
    })
}
