//! The kernel's functions by address, for witnesses that name a place by its address alone (`/proc/kallsyms`).

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Mutex, PoisonError};

/// What was read while these modules were loaded: with others, addresses mean other functions.
#[derive(Debug)]
struct Symbols {
    modules: String,
    functions: BTreeMap<u64, String>,
}

static SYMBOLS: Mutex<Option<Symbols>> = Mutex::new(None);

/// The name of the function that an address lies in.
///
/// # Panics
/// When it lies below all functions, as it does where addresses are hidden or printed as hashes.
pub fn function_at(address: u64) -> String {
    let modules = fs::read_to_string("/proc/modules").unwrap_or_default();
    let mut symbols = SYMBOLS.lock().unwrap_or_else(PoisonError::into_inner);
    if symbols
        .as_ref()
        .is_none_or(|known| known.modules != modules)
    {
        let text = fs::read_to_string("/proc/kallsyms").unwrap();
        let functions = functions(&text);
        *symbols = Some(Symbols { modules, functions });
    }
    let below = symbols
        .as_ref()
        .and_then(|known| known.functions.range(..=address).next_back());
    let (_, name) = below.unwrap_or_else(|| panic!("{address:#x} is in no function"));
    name.clone()
}

/// Whether the kernel or one of its modules has a function of this name.
pub fn is_function(name: &str) -> bool {
    let text = fs::read_to_string("/proc/kallsyms").unwrap();
    functions_in(&text).any(|(_, function)| function == name)
}

/// Of several names of one address the first, as the kernel itself does (`get_symbol_pos`,
/// `kernel/kallsyms.c`).
fn functions(kallsyms: &str) -> BTreeMap<u64, String> {
    let mut functions = BTreeMap::new();
    for (address, name) in functions_in(kallsyms) {
        let address = u64::from_str_radix(address, 16).unwrap();
        functions.entry(address).or_insert_with(|| name.to_owned());
    }
    functions
}

/// Addresses and names.
fn functions_in(kallsyms: &str) -> impl Iterator<Item = (&str, &str)> {
    kallsyms.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        match (words.next()?, words.next()?, words.next()?) {
            (address, "t" | "T" | "w" | "W", name) => Some((address, name)),
            _ => None,
        }
    })
}
