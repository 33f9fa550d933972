//! SFF-8472: SFP, SFP+, SFP28. One lane. Section and table numbers are those of rev 12.4.
//!
//! A0h says what the module is; A2h, where there is one, has the monitors. A module that is calibrated
//! externally gives counts of its converter there, and the constants to make sense of them.

use super::{
    Bytes, Doubt, Flag, HalfPage, Level, Module, Pages, Reading, Unreadable, identity, limits,
    monitor,
    units::{in_base_unit, is_unavailable, steps},
};

/// A0h.
const CONNECTOR: usize = 2;
const VENDOR: (usize, usize) = (20, 16);
const PART: (usize, usize) = (40, 16);
const REVISION: (usize, usize) = (56, 4);
const WAVELENGTH: usize = 60;
const BASE_CHECKSUM: usize = 63;
const SERIAL: (usize, usize) = (68, 16);
const DIAGNOSTICS: usize = 92;
const ENHANCED_OPTIONS: usize = 93;
const EXTENDED_CHECKSUM: usize = 95;

/// A0h 92.
const HAS_DIAGNOSTICS: u8 = 6;
const IS_EXTERNALLY_CALIBRATED: u8 = 4;
/// A2h is where A0h was, once one has switched: no kernel does that.
const NEEDS_ADDRESS_CHANGE: u8 = 2;

/// A0h 93.
const HAS_FLAGS: u8 = 7;
const HAS_TX_FAULT: u8 = 5;
const HAS_RX_LOSS_OF_SIGNAL: u8 = 4;

/// A2h.
const STATUS: usize = 110;
const DIAGNOSTICS_CHECKSUM: usize = 95;

/// What A2h has of each reading: its limits, its monitor, its slope and offset, and how far to the right
/// its highest flag is from the left bit of the flags.
const FIELDS: [(Reading, usize, usize, usize, u8); 5] = [
    (Reading::Temperature, 0, 96, 84, 0),
    (Reading::Supply, 8, 98, 88, 2),
    (Reading::Bias, 16, 100, 76, 4),
    (Reading::TxPower, 24, 102, 80, 6),
    (Reading::RxPower, 32, 104, RX_POWER, 8),
];

/// Five floats instead of a slope and an offset, the one for the fourth power first.
const RX_POWER: usize = 56;

/// Two bits of each reading, high before low.
const ALARMS: usize = 112;
const WARNINGS: usize = 116;

/// What to read.
pub(super) fn wanted(pages: &Pages) -> Vec<HalfPage> {
    let has_diagnostics = has_diagnostics(pages.get(HalfPage::Lower));
    has_diagnostics
        .then_some(HalfPage::Diagnostics)
        .into_iter()
        .collect()
}

/// What it says.
pub(super) fn decode(pages: &Pages) -> Result<Module, Unreadable> {
    let a0 = pages.get(HalfPage::Lower);
    let mut module = Module::default();
    let sums = [
        a0.checksum(0, BASE_CHECKSUM),
        a0.checksum(64, EXTENDED_CHECKSUM),
    ];
    if sums == [Some(false); 2] && !a0.is_name(VENDOR.0, VENDOR.1) {
        return Err(Unreadable::Corrupt);
    }
    for sum in sums {
        module.check(HalfPage::Lower, sum);
    }
    let identity = &mut module.identity;
    identity.kind = identity::kind(a0);
    identity.vendor = a0.text(VENDOR.0, VENDOR.1);
    identity.part = a0.text(PART.0, PART.1);
    identity.revision = a0.text(REVISION.0, REVISION.1);
    identity.serial = a0.text(SERIAL.0, SERIAL.1);
    identity.wavelength = wavelength(a0);
    if has_diagnostics(a0) {
        diagnose(&mut module, a0, pages.get(HalfPage::Diagnostics));
    }
    Ok(module)
}

fn has_diagnostics(a0: Bytes<'_>) -> bool {
    a0.bit(DIAGNOSTICS, HAS_DIAGNOSTICS) && !a0.bit(DIAGNOSTICS, NEEDS_ADDRESS_CHANGE)
}

/// Copper has no light: a passive cable (byte 8), a copper pigtail or RJ45 (byte 2), 1000BASE-T (byte 6).
fn is_copper(a0: Bytes<'_>) -> bool {
    a0.bit(8, 2) || matches!(a0.u8(CONNECTOR), Some(0x21 | 0x22)) || a0.bit(6, 3)
}

/// For cables, active ones too, these bytes say what they comply with.
fn wavelength(a0: Bytes<'_>) -> String {
    let is_cable = is_copper(a0) || a0.bit(8, 3);
    match a0.u16(WAVELENGTH) {
        Some(nm @ 1..) if !is_cable => nm.to_string(),
        _ => String::new(),
    }
}

fn diagnose(module: &mut Module, a0: Bytes<'_>, a2: Bytes<'_>) {
    if a2.is_empty() {
        module.doubts.push(Doubt::Missing(HalfPage::Diagnostics));
        return;
    }
    let checksum = a2.checksum(0, DIAGNOSTICS_CHECKSUM);
    module.check(HalfPage::Diagnostics, checksum);
    let is_external = a0.bit(DIAGNOSTICS, IS_EXTERNALLY_CALIBRATED);
    // Every number would be as wrong as the constants.
    if is_external && checksum == Some(false) {
        return;
    }
    let is_flagged = a0.bit(ENHANCED_OPTIONS, HAS_FLAGS);
    for (reading, limit, at, constants, flags) in FIELDS {
        let is_light = !matches!(reading, Reading::Temperature | Reading::Supply);
        if is_light && is_copper(a0) {
            continue;
        }
        let lane = is_light.then_some(1);
        let (measured, limits) = if is_external {
            let calibrated = |at| calibrated(reading, a2, at, constants);
            let measured = a2.u16(at).filter(|&field| !is_unavailable(reading, field));
            let limits = [0, 2, 4, 6].map(|next| calibrated(limit + next));
            (measured.and_then(|_| calibrated(at)), limits)
        } else {
            (monitor(reading, a2, at), limits(reading, a2, limit))
        };
        module.measure(reading, lane, measured);
        module.limit(reading, limits);
        for level in Level::ALL.into_iter().filter(|_| is_flagged) {
            let flag = Flag::Beyond(reading, level);
            module.flag(flag, lane, is_set(a2, level, flags));
        }
    }
    for (flag, offered, bit) in [
        (Flag::TxFault, HAS_TX_FAULT, 2),
        (Flag::RxLossOfSignal, HAS_RX_LOSS_OF_SIGNAL, 1),
    ] {
        if a0.bit(ENHANCED_OPTIONS, offered) && !is_copper(a0) {
            let set = a2.u8(STATUS).map(|status| status >> bit & 1 == 1);
            module.flag(flag, Some(1), set);
        }
    }
}

fn is_set(a2: Bytes<'_>, level: Level, first: u8) -> Option<bool> {
    let (at, next) = match level {
        Level::HighAlarm => (ALARMS, 0),
        Level::LowAlarm => (ALARMS, 1),
        Level::HighWarning => (WARNINGS, 0),
        Level::LowWarning => (WARNINGS, 1),
    };
    Some(a2.u16(at)? << (first + next) & 0x8000 != 0)
}

/// Section 9.3: slopes are unsigned with 8 bits behind the point, offsets signed. Less than nothing is
/// what noise and an offset make of nothing.
fn calibrated(reading: Reading, a2: Bytes<'_>, at: usize, constants: usize) -> Option<f64> {
    let count = steps(reading, a2.u16(at)?);
    let steps = if reading == Reading::RxPower {
        let power = |power: usize| Some(f64::from(a2.f32(RX_POWER + 4 * (4 - power))?));
        (0..=4)
            .rev()
            .try_fold(0.0, |sum, exponent| Some(sum * count + power(exponent)?))?
    } else {
        let slope = f64::from(a2.u16(constants)?) / 256.0;
        let offset = f64::from(a2.u16(constants + 2)?.cast_signed());
        slope * count + offset
    };
    let steps = match reading {
        Reading::Temperature => steps,
        // NaN stays NaN, which is no reading.
        _ if steps < 0.0 => 0.0,
        _ => steps,
    };
    Some(in_base_unit(reading, steps))
}
