//! What holds for any text in the place of `/proc/kallsyms`.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::damage::{arb_damage, cases, cost_of, damaged, fixture};
use netdrop_exporter::kernel::kallsyms::{MAX_FUNCTION, parse_kallsyms, visibility};

/// Addresses on a small range, so that they meet, and some far away.
fn arb_address() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 1..64_u64,
        1 => 0..3 * MAX_FUNCTION,
        1 => any::<u64>(),
    ]
}

/// A line, with what it makes of its address: a function's name, or the end of one.
fn arb_symbol() -> impl Strategy<Value = (u64, Option<String>, String)> {
    (arb_address(), any::<bool>(), any::<bool>()).prop_map(|(address, is_function, in_module)| {
        let (letter, name) = match is_function {
            true => ('t', Some(format!("f{address:x}"))),
            false => ('d', None),
        };
        let module = if in_module { "\t[module]" } else { "" };
        let shown = name.as_deref().unwrap_or("data");
        let line = format!("{address:016x} {letter} {shown}{module}\n");
        (address, name, line)
    })
}

/// The plain way: sort all symbols, then look below each address.
fn model(symbols: &[(u64, Option<String>, String)], address: u64) -> Option<String> {
    let mut starts: BTreeMap<u64, Option<String>> = BTreeMap::new();
    for (start, name, _) in symbols.iter().filter(|(start, ..)| *start != 0) {
        let known = starts.entry(*start).or_default();
        *known = known.take().or_else(|| name.clone());
    }
    let (start, name) = starts.range(..=address).next_back()?;
    name.clone().filter(|_| address - start < MAX_FUNCTION)
}

/// Addresses in the capture, and around it.
fn arb_kernel_address() -> impl Strategy<Value = u64> {
    prop_oneof![
        0xffff_ffff_8100_0000..0xffff_ffff_8100_2000_u64,
        0xffff_ffff_c000_0000..0xffff_ffff_c030_0000_u64,
        any::<u64>(),
    ]
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn of_damaged_text_only_what_was_asked_for_is_answered(
        damage in arb_damage(),
        wanted in prop::collection::vec(arb_kernel_address(), 0..20),
    ) {
        let text = damaged(fixture("proc/kallsyms"), &damage);
        let cost = cost_of(|| {
            let found = parse_kallsyms(&text[..], &wanted).expect("it is in memory");
            assert!(found.keys().all(|address| wanted.contains(address)));
            visibility(&text[..]).expect("it is in memory");
        });
        // One line is held at a time, and a name for each address.
        prop_assert!(cost.bytes_max < 2 << 20, "{cost:?}");
    }

    #[test]
    fn the_nearest_symbol_below_is_found_whatever_the_order_of_the_lines(
        symbols in prop::collection::vec(arb_symbol(), 0..60),
        wanted in prop::collection::vec(arb_address(), 0..40),
    ) {
        let text: String = symbols.iter().map(|(_, _, line)| line.as_str()).collect();
        let found = parse_kallsyms(text.as_bytes(), &wanted).expect("it is in memory");
        for address in wanted {
            let name = found.get(&address).map(|function| function.name.to_string());
            prop_assert_eq!(name, model(&symbols, address), "{:#x}", address);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        wanted in prop::collection::vec(any::<u64>(), 0..10),
    ) {
        parse_kallsyms(&bytes[..], &wanted).expect("it is in memory");
        visibility(&bytes[..]).expect("it is in memory");
    }

    #[test]
    fn no_text_like_it_makes_it_panic(
        text in "([0-9a-f ]{0,17}[ \t][TtWwdA.][ \t][_.a-z]{0,8}(\t\\[[a-z]{0,3}\\]?)?\n?){0,20}",
        wanted in prop::collection::vec(arb_address(), 0..10),
    ) {
        let found = parse_kallsyms(text.as_bytes(), &wanted).expect("it is in memory");
        prop_assert!(found.keys().all(|address| wanted.contains(address)));
        visibility(text.as_bytes()).expect("it is in memory");
    }
}
