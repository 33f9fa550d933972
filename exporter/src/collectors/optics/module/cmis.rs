//! CMIS, the Common Management Interface Specification: QSFP-DD, OSFP and later. Eight lanes in each of
//! up to four banks. Table numbers are those of OIF-CMIS-05.4; revisions 3 to 5 agree in all that is
//! read here. Bytes of the upper half are numbered from 128 there.

use super::{
    Bytes, Doubt, Flag, HalfPage, Level, Module, Pages, Reading, Unreadable, identity, limits,
    monitor, pages::upper, units,
};

/// Lower half.
const MEMORY: usize = 2;
const MODULE_FLAGS: usize = 9;
const MEDIA_TYPE: usize = 85;
const APPLICATIONS: usize = 86;

/// Byte 2: only the lower half and page 00h.
const IS_FLAT: u8 = 7;

/// Page 00h.
const VENDOR: (usize, usize) = (upper(129), 16);
const PART: (usize, usize) = (upper(148), 16);
const REVISION: (usize, usize) = (upper(164), 2);
const SERIAL: (usize, usize) = (upper(166), 16);
const UNSUPPORTED_LANES: usize = upper(210);
const IDENTITY_CHECKSUM: usize = upper(222);

/// Page 01h.
const WAVELENGTH: usize = upper(138);
const BANKS: usize = upper(142);
const TX_FLAGS: usize = upper(157);
const RX_FLAGS: usize = upper(158);
const MODULE_MONITORS: usize = upper(159);
const LANE_MONITORS: usize = upper(160);
const MEDIA_LANES: usize = upper(176);
const MORE_APPLICATIONS: usize = upper(223);
const CHECKSUM: usize = upper(255);

/// The readings of the module: which bit says that it has them, limits in page 02h, monitor in the
/// lower half, and the lowest of four bits of flags.
const MODULE: [(Reading, u8, usize, usize, u8); 2] = [
    (Reading::Temperature, 0, upper(128), 14, 0),
    (Reading::Supply, 1, upper(136), 16, 4),
];

/// The readings of each lane: the same, but monitor and flags in page 11h, the flags in a byte for each
/// level.
const LANES: [(Reading, u8, usize, usize, usize); 3] = [
    (Reading::TxPower, 1, upper(176), upper(154), upper(139)),
    (Reading::Bias, 0, upper(184), upper(170), upper(143)),
    (Reading::RxPower, 2, upper(192), upper(186), upper(149)),
];

/// Flags with one bit for each lane: where and which bit says that there are such, and the flags.
const LANE_FLAGS: [(Flag, usize, u8, usize); 2] = [
    (Flag::TxFault, TX_FLAGS, 0, upper(135)),
    (Flag::RxLossOfSignal, RX_FLAGS, 1, upper(147)),
];

const LANES_IN_A_BANK: u8 = 8;

/// What to read.
pub(super) fn wanted(pages: &Pages) -> Vec<HalfPage> {
    let mut wanted = vec![HalfPage::Page00];
    if !pages.get(HalfPage::Lower).bit(MEMORY, IS_FLAT) {
        wanted.extend([HalfPage::Page01, HalfPage::Page02]);
        let page01 = pages.get(HalfPage::Page01);
        if has_lane_monitors(page01) {
            wanted.extend(&HalfPage::LANES[..banks(page01)]);
        }
    }
    wanted
}

/// What it says.
pub(super) fn decode(pages: &Pages) -> Result<Module, Unreadable> {
    let (lower, page00) = (pages.get(HalfPage::Lower), pages.get(HalfPage::Page00));
    let mut module = Module::default();
    let checksum = page00.checksum(0, IDENTITY_CHECKSUM);
    if checksum == Some(false) && !page00.is_text(VENDOR.0, VENDOR.1) {
        return Err(Unreadable::Corrupt);
    }
    module.check(HalfPage::Page00, checksum);
    let identity = &mut module.identity;
    identity.kind = identity::kind(lower);
    identity.vendor = page00.text(VENDOR.0, VENDOR.1);
    identity.part = page00.text(PART.0, PART.1);
    identity.revision = page00.text(REVISION.0, REVISION.1);
    identity.serial = page00.text(SERIAL.0, SERIAL.1);
    if lower.bit(MEMORY, IS_FLAT) {
        return Ok(module);
    }
    let page01 = pages.get(HalfPage::Page01);
    for (half, checksum) in [
        // Bytes 128 and 129 are a revision that firmware changes.
        (HalfPage::Page01, page01.checksum(2, CHECKSUM)),
        (
            HalfPage::Page02,
            pages.get(HalfPage::Page02).checksum(0, CHECKSUM),
        ),
    ] {
        if pages.get(half).is_empty() {
            module.doubts.push(Doubt::Missing(half));
        }
        module.check(half, checksum);
    }
    // Without it nobody knows what the module measures.
    if page01.is_empty() {
        return Ok(module);
    }
    // 1, 2: fibre; 4: active cables, which may be of fibre.
    if matches!(lower.u8(MEDIA_TYPE), Some(1 | 2 | 4)) {
        module.identity.wavelength = units::wavelength(page01.u16(WAVELENGTH));
    }
    measure_module(&mut module, lower, page01);
    limit(&mut module, page01, pages.get(HalfPage::Page02));
    if has_lane_monitors(page01) {
        let used = used_lanes(lower, page00, page01);
        for (bank, &half) in HalfPage::LANES[..banks(page01)].iter().enumerate() {
            let lanes = pages.get(half);
            if lanes.is_empty() {
                module.doubts.push(Doubt::Missing(half));
            }
            measure_lanes(&mut module, page01, lanes, bank as u8, used);
        }
    }
    Ok(module)
}

/// How many times a step of the bias is larger than 2 uA. 11b is reserved.
fn bias_scale(page01: Bytes<'_>) -> Option<f64> {
    match page01.u8(LANE_MONITORS)? >> 3 & 0b11 {
        0b00 => Some(1.0),
        0b01 => Some(2.0),
        0b10 => Some(4.0),
        _ => None,
    }
}

fn has_lane_monitors(page01: Bytes<'_>) -> bool {
    let monitors = page01.u8(LANE_MONITORS).unwrap_or_default() & 0b111;
    let flags = LANE_FLAGS.map(|(_, at, bit, _)| page01.bit(at, bit));
    monitors != 0 || flags.contains(&true)
}

/// 11b is reserved, or told elsewhere from 5.4 on; the first bank is there in any case.
fn banks(page01: Bytes<'_>) -> usize {
    match page01.u8(BANKS).unwrap_or_default() & 0b11 {
        0b01 => 2,
        0b10 => 4,
        _ => 1,
    }
}

fn measure_module(module: &mut Module, lower: Bytes<'_>, page01: Bytes<'_>) {
    for (reading, bit, _, at, first) in MODULE {
        if !page01.bit(MODULE_MONITORS, bit) {
            continue;
        }
        module.measure(reading, None, monitor(reading, lower, at));
        for (next, level) in (0..).zip(Level::ALL) {
            let set = lower.u8(MODULE_FLAGS);
            let set = set.map(|flags| flags >> (first + next) & 1 == 1);
            module.flag(Flag::Beyond(reading, level), None, set);
        }
    }
}

fn limit(module: &mut Module, page01: Bytes<'_>, page02: Bytes<'_>) {
    for (reading, _, at, ..) in MODULE {
        module.limit(reading, limits(reading, page02, at));
    }
    for (reading, _, at, ..) in LANES {
        let limits = limits(reading, page02, at);
        module.limit(reading, limits.map(|it| scaled(reading, it, page01)));
    }
}

fn scaled(reading: Reading, value: Option<f64>, page01: Bytes<'_>) -> Option<f64> {
    match reading {
        Reading::Bias => Some(value? * bias_scale(page01)?),
        _ => value,
    }
}

fn measure_lanes(module: &mut Module, page01: Bytes<'_>, page11: Bytes<'_>, bank: u8, used: u8) {
    for lane in (0..LANES_IN_A_BANK).filter(|lane| used >> lane & 1 == 1) {
        let label = Some(bank * LANES_IN_A_BANK + lane + 1);
        for (reading, bit, _, at, flags) in LANES {
            if !page01.bit(LANE_MONITORS, bit) {
                continue;
            }
            let value = monitor(reading, page11, at + 2 * usize::from(lane));
            module.measure(reading, label, scaled(reading, value, page01));
            for (next, level) in Level::ALL.into_iter().enumerate() {
                let set = is_set(page11, flags + next, lane);
                module.flag(Flag::Beyond(reading, level), label, set);
            }
        }
        for (flag, at, bit, flags) in LANE_FLAGS {
            if page01.bit(at, bit) {
                module.flag(flag, label, is_set(page11, flags, lane));
            }
        }
    }
}

fn is_set(page11: Bytes<'_>, at: usize, lane: u8) -> Option<bool> {
    page11.u8(at).map(|lanes| lanes >> lane & 1 == 1)
}

/// The lanes of a bank that any application uses, the first one's bit lowest. There are eight slots in
/// any case, and those of lanes that the module does not have are 0, which is not the same as dark.
///
/// An application says how many lanes of the medium it takes (8-15 lanes are none that it can), and on
/// which they can begin (table 8-23 and 8-51). Byte 210 says which lanes there are not; it is FFh in
/// modules that do have lanes.
fn used_lanes(lower: Bytes<'_>, page00: Bytes<'_>, page01: Bytes<'_>) -> u8 {
    let first = (0..8).map(|number| (lower, APPLICATIONS + 4 * number));
    let more = (0..7).map(|number| (page01, MORE_APPLICATIONS + 4 * number));
    let mut used = 0;
    for (number, (bytes, at)) in first.chain(more).enumerate() {
        match bytes.u8(at) {
            None | Some(0 | 0xff) => break,
            Some(_) => {}
        }
        let lanes = bytes.u8(at + 2).unwrap_or_default() & 0xf;
        let starts = page01.u8(MEDIA_LANES + number).unwrap_or_default();
        if matches!(lanes, 1 | 2 | 4 | 8) {
            let taken = 0xff_u8 >> (LANES_IN_A_BANK - lanes);
            let begins = (0..LANES_IN_A_BANK).filter(|start| starts >> start & 1 == 1);
            used |= begins.fold(0, |used, start| used | taken << start);
        }
    }
    let missing = page00.u8(UNSUPPORTED_LANES).filter(|&lanes| lanes != 0xff);
    let present = !missing.unwrap_or_default();
    match used & present {
        0 => present,
        used => used,
    }
}
