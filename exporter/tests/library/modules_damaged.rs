//! Modules that say anything at all: never a panic, and never a number from a monitor that is not there.

use std::collections::BTreeSet;

use netdrop_exporter::collectors::optics::module::{HALF, HalfPage, Pages, Reading, decode, next};
use proptest::prelude::*;

use crate::{damage::cases, modules::dumps};

/// Memories of any bytes, that begin as modules do.
fn arb_pages() -> impl Strategy<Value = Pages> {
    let half = || prop::collection::vec(any::<u8>(), 0..=HALF);
    let halves = prop::collection::vec(half(), HalfPage::ALL.len());
    let kinds = prop::sample::select(vec![0x03, 0x0d, 0x11, 0x18, 0x19, 0x1e, 0x80]);
    (kinds, halves).prop_map(|(kind, halves)| {
        let mut pages = Pages::new();
        for (half, mut bytes) in HalfPage::ALL.into_iter().zip(halves) {
            if matches!(half, HalfPage::Lower | HalfPage::Page00) && !bytes.is_empty() {
                bytes[0] = kind;
            }
            // A revision that its kind can have.
            if half == HalfPage::Lower && bytes.len() > 1 {
                bytes[1] = match kind {
                    0x0d | 0x11 => bytes[1] & 0x0f,
                    _ => 0x30 | bytes[1] & 0x1f,
                };
            }
            pages.set(half, bytes);
        }
        pages
    })
}

/// A memory of the files, of which some bytes are something else.
fn arb_damaged() -> impl Strategy<Value = Pages> {
    let all: Vec<_> = dumps().into_iter().map(|(.., pages)| pages).collect();
    let damage = prop::collection::vec((0..10_usize, 0..HALF, any::<u8>()), 0..8);
    (prop::sample::select(all), damage).prop_map(|(mut pages, damage)| {
        for (half, at, byte) in damage {
            let half = HalfPage::ALL[half];
            let mut bytes = pages.raw(half).to_vec();
            if let Some(damaged) = bytes.get_mut(at) {
                *damaged = byte;
            }
            pages.set(half, bytes);
        }
        pages
    })
}

/// Whether a module has a monitor, by the bits of its specification alone.
fn has_monitor(pages: &Pages, reading: Reading) -> bool {
    let byte = |half, at: usize| pages.raw(half).get(at).copied().unwrap_or(0);
    let kind = byte(HalfPage::Lower, 0);
    let is_light = !matches!(reading, Reading::Temperature | Reading::Supply);
    match kind {
        0x03 => byte(HalfPage::Lower, 92) & 1 << 6 != 0,
        0x0c | 0x0d | 0x11 => {
            let page00 = |at: usize| byte(HalfPage::Page00, at - 128);
            let says = byte(HalfPage::Lower, 1) >= 8;
            match reading {
                _ if byte(HalfPage::Lower, 2) & 1 != 0 => false,
                Reading::Temperature if says => page00(220) & 1 << 5 != 0,
                Reading::Supply if says => page00(220) & 1 << 4 != 0,
                Reading::TxPower if page00(220) & 1 << 2 == 0 => false,
                _ => !is_light || page00(147) >> 4 < 10,
            }
        }
        _ => {
            let page01 = |at: usize| byte(HalfPage::Page01, at - 128);
            byte(HalfPage::Lower, 2) & 1 << 7 == 0
                && match reading {
                    Reading::Temperature => page01(159) & 1 != 0,
                    Reading::Supply => page01(159) & 1 << 1 != 0,
                    Reading::Bias => page01(160) & 1 != 0,
                    Reading::TxPower => page01(160) & 1 << 1 != 0,
                    Reading::RxPower => page01(160) & 1 << 2 != 0,
                }
        }
    }
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn no_memory_gives_a_number_from_a_monitor_that_is_not_there(
        pages in prop_oneof![arb_pages(), arb_damaged()],
    ) {
        let mut read = Pages::new();
        while let Some(half) = next(&read) {
            prop_assert!(!read.tried(half), "twice");
            read.set(half, pages.raw(half).to_vec());
        }
        if let Ok(module) = decode(&read) {
            for it in &module.measured {
                prop_assert!(it.value.is_finite());
                prop_assert!(it.reading == Reading::Temperature || it.value >= 0.0);
                prop_assert!(has_monitor(&pages, it.reading), "{it:?}");
                prop_assert!((it.lane.is_some()) != matches!(it.reading, Reading::Temperature | Reading::Supply));
                prop_assert!(it.lane.is_none_or(|lane| (1..=32).contains(&lane)));
            }
            let labels: BTreeSet<_> = module.measured.iter().map(|it| (it.reading, it.lane)).collect();
            prop_assert_eq!(labels.len(), module.measured.len(), "one series twice");
            let flags: BTreeSet<_> = module.flags.iter().map(|&(flag, lane, _)| (flag, lane)).collect();
            prop_assert_eq!(flags.len(), module.flags.len(), "one series twice");
        }
    }
}
