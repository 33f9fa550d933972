//! From what modules write to the base units of metrics.
//!
//! All three specifications measure in the same steps. A number is divided by a power of ten, never
//! multiplied by a fraction, so that it becomes the double that is nearest to what the module means.

use super::Reading;

/// What a 16-bit field means in the base unit of what it is a reading of: 1/256 degree Celsius, 100 uV,
/// 2 uA, 0.1 uW.
pub(super) fn in_base_unit(reading: Reading, steps: f64) -> f64 {
    match reading {
        Reading::Temperature => steps / 256.0,
        Reading::Supply => steps / 1e4,
        Reading::Bias => steps * 2.0 / 1e6,
        Reading::RxPower | Reading::TxPower => steps / 1e7,
    }
}

/// The steps in a field: a temperature is signed.
pub(super) fn steps(reading: Reading, field: u16) -> f64 {
    match reading {
        Reading::Temperature => f64::from(field.cast_signed()),
        _ => f64::from(field),
    }
}

/// Whether a field says that nothing was measured. A module with 0 V cannot answer; CMIS (table 7-8)
/// writes 8000h for a temperature that it does not have, and no module works at -128 degrees.
pub(super) fn is_unavailable(reading: Reading, field: u16) -> bool {
    match reading {
        Reading::Temperature => field == 0x8000,
        Reading::Supply => field == 0,
        _ => false,
    }
}

/// Wavelengths of SFF-8636 and CMIS, in nm: steps of 0.05.
pub(super) fn wavelength(steps: Option<u16>) -> String {
    match steps {
        None | Some(0 | u16::MAX) => String::new(),
        Some(steps) => (f64::from(steps) / 20.0).to_string(),
    }
}
