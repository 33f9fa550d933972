//! SFF-8636 and SFF-8436, its ancestor: QSFP, QSFP+, QSFP28. Four lanes. Section and table numbers are
//! those of rev 2.11. Bytes of the upper half are numbered from 128 there.

use super::{
    Bytes, Doubt, Flag, HalfPage, Level, Module, Pages, Reading, Unreadable, identity, limits,
    monitor, pages::upper, units,
};

/// Lower half.
const REVISION_COMPLIANCE: usize = 1;
const STATUS: usize = 2;
const NEAR_END: usize = 113;

/// Byte 2.
const IS_FLAT: u8 = 2;
const IS_NOT_READY: u8 = 0;

/// Page 00h.
const VENDOR: (usize, usize) = (upper(148), 16);
const TECHNOLOGY: usize = upper(147);
const PART: (usize, usize) = (upper(168), 16);
const REVISION: (usize, usize) = (upper(184), 2);
const WAVELENGTH: usize = upper(186);
const BASE_CHECKSUM: usize = upper(191);
const EXTENDED_COMPLIANCE: usize = upper(192);
const SERIAL: (usize, usize) = (upper(196), 16);
const DIAGNOSTICS: usize = upper(220);
const EXTENDED_CHECKSUM: usize = upper(223);

/// Byte 220. The two of the module as a whole have a meaning from revision 2.8 on.
const HAS_TEMPERATURE: u8 = 5;
const HAS_SUPPLY: u8 = 4;
const HAS_TX_POWER: u8 = 2;
const REVISION_2_8: u8 = 8;

/// The readings of the module: limits in page 03h, monitor and flags in the lower half.
const MODULE: [(Reading, usize, usize, usize); 2] = [
    (Reading::Temperature, upper(128), 22, 6),
    (Reading::Supply, upper(144), 26, 7),
];

/// The readings of each lane, the same.
const LANES: [(Reading, usize, usize, usize); 3] = [
    (Reading::RxPower, upper(176), 34, 9),
    (Reading::Bias, upper(184), 42, 11),
    (Reading::TxPower, upper(192), 50, 13),
];

/// Flags with one bit for each lane, the first one's lowest.
const LANE_FLAGS: [(Flag, usize); 2] = [(Flag::RxLossOfSignal, 3), (Flag::TxFault, 4)];

/// What to read.
pub(super) fn wanted(pages: &Pages) -> Vec<HalfPage> {
    let mut wanted = vec![HalfPage::Page00];
    if !pages.get(HalfPage::Lower).bit(STATUS, IS_FLAT) {
        wanted.push(HalfPage::Page03);
    }
    wanted
}

/// What it says.
pub(super) fn decode(pages: &Pages) -> Result<Module, Unreadable> {
    let (lower, page00) = (pages.get(HalfPage::Lower), pages.get(HalfPage::Page00));
    let mut module = Module::default();
    module.identity.kind = identity::kind(lower);
    if page00.is_empty() {
        // What the module has stands there.
        module.doubts.push(Doubt::Missing(HalfPage::Page00));
        return Ok(module);
    }
    let sums = [
        page00.checksum(0, BASE_CHECKSUM),
        page00.checksum(BASE_CHECKSUM + 1, EXTENDED_CHECKSUM),
    ];
    if sums == [Some(false); 2] && !page00.is_name(VENDOR.0, VENDOR.1) {
        return Err(Unreadable::Corrupt);
    }
    for sum in sums {
        module.check(HalfPage::Page00, sum);
    }
    let identity = &mut module.identity;
    identity.vendor = page00.text(VENDOR.0, VENDOR.1);
    identity.part = page00.text(PART.0, PART.1);
    identity.revision = page00.text(REVISION.0, REVISION.1);
    identity.serial = page00.text(SERIAL.0, SERIAL.1);
    if !is_copper(page00) {
        identity.wavelength = units::wavelength(page00.u16(WAVELENGTH));
    }
    if lower.bit(STATUS, IS_NOT_READY) {
        module.doubts.push(Doubt::NotReady);
        return Ok(module);
    }
    measure(&mut module, lower, page00);
    if !lower.bit(STATUS, IS_FLAT) {
        let page03 = pages.get(HalfPage::Page03);
        if page03.is_empty() {
            module.doubts.push(Doubt::Missing(HalfPage::Page03));
        }
        for (reading, at, ..) in MODULE.into_iter().chain(LANES) {
            module.limit(reading, limits(reading, page03, at));
        }
    }
    Ok(module)
}

/// From 1010b on the technology is that of copper cables.
fn is_copper(page00: Bytes<'_>) -> bool {
    page00.u8(TECHNOLOGY).is_none_or(|byte| byte >> 4 >= 0b1010)
}

fn measure(module: &mut Module, lower: Bytes<'_>, page00: Bytes<'_>) {
    for (reading, _, at, flags) in MODULE {
        if !has(reading, lower, page00) {
            continue;
        }
        module.measure(reading, None, monitor(reading, lower, at));
        for level in Level::ALL {
            let set = lower.u8(flags).map(|byte| is_set(byte >> 4, level));
            module.flag(Flag::Beyond(reading, level), None, set);
        }
    }
    if is_copper(page00) {
        return;
    }
    for lane in lanes(lower, page00) {
        for (reading, _, at, flags) in LANES {
            if reading != Reading::TxPower || page00.bit(DIAGNOSTICS, HAS_TX_POWER) {
                let value = monitor(reading, lower, at + 2 * lane);
                module.measure(reading, label(lane), value);
            }
            // Two lanes in a byte, the first in its upper half.
            let nibble = lower
                .u8(flags + lane / 2)
                .map(|byte| if lane % 2 == 0 { byte >> 4 } else { byte & 0xf });
            for level in Level::ALL {
                let set = nibble.map(|nibble| is_set(nibble, level));
                module.flag(Flag::Beyond(reading, level), label(lane), set);
            }
        }
        for (flag, at) in LANE_FLAGS {
            let set = lower.u8(at).map(|byte| byte >> lane & 1 == 1);
            module.flag(flag, label(lane), set);
        }
    }
}

fn label(lane: usize) -> Option<u8> {
    u8::try_from(lane + 1).ok()
}

/// Older modules do not say what they have. Cables of copper without monitors have a temperature that
/// looks like one, and 0 V.
fn has(reading: Reading, lower: Bytes<'_>, page00: Bytes<'_>) -> bool {
    let says = lower.u8(REVISION_COMPLIANCE).unwrap_or_default() >= REVISION_2_8;
    let bit = if reading == Reading::Temperature {
        HAS_TEMPERATURE
    } else {
        HAS_SUPPLY
    };
    if says {
        page00.bit(DIAGNOSTICS, bit)
    } else {
        monitor(Reading::Supply, lower, 26).is_some()
    }
}

/// The four flags of a reading, as [`Level::ALL`] has them from the left.
fn is_set(nibble: u8, level: Level) -> bool {
    let left = match level {
        Level::HighAlarm => 3,
        Level::LowAlarm => 2,
        Level::HighWarning => 1,
        Level::LowWarning => 0,
    };
    nibble >> left & 1 == 1
}

/// The lanes that there are, from 0. Byte 113 says which are not connected. A module for one
/// wavelength of 100 Gbit/s (SFF-8024: 100GBASE-DR, -FR1, -LR1) has four slots for one lane all the
/// same; those it does not use are 0, which is not the same as dark.
fn lanes(lower: Bytes<'_>, page00: Bytes<'_>) -> Vec<usize> {
    let is_single = matches!(page00.u8(EXTENDED_COMPLIANCE), Some(0x25..=0x27));
    let is_blank = |lane: usize| {
        let mut slots = LANES.iter().map(|(_, _, at, _)| lower.u16(at + 2 * lane));
        slots.all(|slot| slot == Some(0))
    };
    let lanes = (0..4).filter(|&lane| !lower.bit(NEAR_END, lane as u8));
    lanes
        .filter(|&lane| lane == 0 || !is_single || !is_blank(lane))
        .collect()
}
