//! Damage to real captures, and what working on it may cost: for the property tests of all parsers.
//!
//! `PROPTEST_CASES` sets how many cases a test tries; what failed is written beside the test, to
//! `<module>.regressions`, and is tried first from then on. Commit it.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
};

use allocation_counter::{AllocationInfo, measure};
use proptest::{
    prelude::*,
    sample::Index,
    test_runner::{Config, FileFailurePersistence},
};

/// So many cases, unless `PROPTEST_CASES` says otherwise.
pub(crate) fn cases(cases: u32) -> Config {
    let asked = std::env::var("PROPTEST_CASES").ok();
    Config {
        cases: asked.map_or(cases, |asked| asked.parse().expect("a number of cases")),
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..Config::default()
    }
}

/// A file below `tests/fixtures`.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    fs::read(path.join(name)).expect("the capture")
}

/// What some work costs this thread in memory. `measure` alone does not come through many panics.
pub(crate) fn cost_of(work: impl FnOnce()) -> AllocationInfo {
    let mut outcome = Ok(());
    let cost = measure(|| outcome = catch_unwind(AssertUnwindSafe(work)));
    if let Err(cause) = outcome {
        resume_unwind(cause);
    }
    cost
}

/// One thing that happens to a capture. All places and lengths are taken modulo what there is.
#[derive(Clone, Debug)]
pub(crate) enum Damage {
    /// A byte, such as a length or a kind, gets another value.
    Byte(Index, u8),
    /// 4 aligned bytes get another value.
    Word(Index, u32),
    /// One bit flips.
    Bit(Index, u8),
    /// The end is missing.
    Cut(Index),
    /// A piece in the middle is missing.
    Remove(Index, usize),
    /// A piece comes once more, elsewhere.
    Insert(Index, usize, Index),
    /// A piece is written over another.
    Overwrite(Index, usize, Index),
}

/// Some damage. Small values make lengths and references that are nearly right.
pub(crate) fn arb_damage() -> impl Strategy<Value = Vec<Damage>> {
    let at = any::<Index>;
    let len = || prop_oneof![1..16_usize, 1..2048_usize];
    let byte = prop_oneof![any::<u8>(), 0..32_u8];
    let word = prop_oneof![
        any::<u32>(),
        0..64_u32,
        0..32_768_u32,
        (0..32_u32).prop_map(|bit| 1 << bit),
        (0..64_u32).prop_map(|below| u32::MAX - below),
        // A kind, a flag and a number of elements of BTF.
        (0..32_u32, any::<bool>(), any::<u16>())
            .prop_map(|(kind, flag, len)| u32::from(flag) << 31 | kind << 24 | u32::from(len)),
    ];
    let one = prop_oneof![
        4 => (at(), byte).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        6 => (at(), word).prop_map(|(at, word)| Damage::Word(at, word)),
        2 => (at(), 0..8_u8).prop_map(|(at, bit)| Damage::Bit(at, bit)),
        1 => at().prop_map(Damage::Cut),
        1 => (at(), len()).prop_map(|(at, len)| Damage::Remove(at, len)),
        2 => (at(), len(), at()).prop_map(|(from, len, to)| Damage::Insert(from, len, to)),
        2 => (at(), len(), at()).prop_map(|(from, len, to)| Damage::Overwrite(from, len, to)),
    ];
    prop::collection::vec(one, 1..12)
}

/// What is left of the bytes.
pub(crate) fn damaged(mut bytes: Vec<u8>, damage: &[Damage]) -> Vec<u8> {
    for damage in damage {
        if bytes.len() < 8 {
            break;
        }
        damage.apply(&mut bytes);
    }
    bytes
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let total = bytes.len();
        let piece = |from: &Index, len: usize| {
            let from = from.index(total);
            from..(from + len).min(total)
        };
        match self {
            Self::Byte(at, byte) => bytes[at.index(total)] = *byte,
            Self::Word(at, word) => {
                let at = at.index(total / 4) * 4;
                bytes[at..at + 4].copy_from_slice(&word.to_ne_bytes());
            }
            Self::Bit(at, bit) => bytes[at.index(total)] ^= 1 << bit,
            Self::Cut(at) => bytes.truncate(at.index(total)),
            Self::Remove(from, len) => drop(bytes.drain(piece(from, *len))),
            Self::Insert(from, len, to) => {
                let piece = bytes[piece(from, *len)].to_vec();
                let to = to.index(total);
                bytes.splice(to..to, piece);
            }
            Self::Overwrite(from, len, to) => {
                let piece = bytes[piece(from, *len)].to_vec();
                let to = to.index(total);
                let end = (to + piece.len()).min(total);
                bytes.splice(to..end, piece);
            }
        }
    }
}
