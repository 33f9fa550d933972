//! Which kernel functions the drops were in.
//!
//! Where the kernel has the helper `bpf_snprintf` (5.13 and later), the BPF program has it write the
//! name of each place down. So names are right for modules that are unloaded before the drain, they
//! need no capability, and nobody reads `/proc/kallsyms`. On older kernels that file is what there is.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    abi::FunctionName,
    kernel::{
        kallsyms::without_suffix,
        name::{self, Name},
        symbols::Symbols,
    },
};

/// How often the log says that names are missing.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);

/// Where the names of functions come from.
pub enum Functions {
    /// From the BPF program.
    Program(FunctionNames),
    /// From `/proc/kallsyms`.
    Kallsyms(Symbols),
    /// From nowhere.
    Unknown,
}

impl Functions {
    /// Makes [`name`](Self::name) know the functions of these places. `names` came out of the kernel
    /// with them.
    pub fn learn(&mut self, locations: &[u64], names: &[(u64, FunctionName)], now: Instant) {
        match self {
            Self::Program(known) => {
                known.learn(names);
                known.complain_about_missing(locations, now);
            }
            Self::Kallsyms(symbols) => {
                // A drop without a function is still a drop; the next try is a minute away.
                if let Err(e) = symbols.resolve(locations, now) {
                    log::warn!("cannot read function names: {e}");
                }
            }
            Self::Unknown => {}
        }
    }

    /// The function at this place; empty when unknown.
    pub fn name(&self, location: u64) -> Arc<str> {
        match self {
            Self::Program(known) => known.name(location),
            Self::Kallsyms(symbols) => symbols.name(location),
            Self::Unknown => Arc::default(),
        }
    }

    /// Forgets what no drop can need any more, after a complete drain.
    pub fn next_generation(&mut self) {
        if let Self::Program(known) = self {
            known.next_generation();
        }
    }
}

/// What the BPF program has had the kernel write down.
#[derive(Default)]
pub struct FunctionNames {
    /// Of this drain and of the one before. The program leaves a name alone that is still in the
    /// kernel's map, so it can come out of it one drain earlier than a key that needs it.
    generations: [HashMap<u64, Arc<str>>; 2],
    unknown: Arc<str>,
    complained: Option<Instant>,
}

impl FunctionNames {
    fn learn(&mut self, names: &[(u64, FunctionName)]) {
        self.generations[0].extend(
            names
                .iter()
                .map(|(location, name)| (*location, function(name))),
        );
    }

    fn find(&self, location: u64) -> Option<&Arc<str>> {
        self.generations
            .iter()
            .find_map(|names| names.get(&location))
    }

    fn name(&self, location: u64) -> Arc<str> {
        Arc::clone(self.find(location).unwrap_or(&self.unknown))
    }

    fn next_generation(&mut self) {
        self.generations.swap(0, 1);
        self.generations[0].clear();
    }

    fn complain_about_missing(&mut self, locations: &[u64], now: Instant) {
        let missing: HashSet<_> = locations
            .iter()
            .filter(|location| self.find(**location).is_none())
            .collect();
        let silent = |since: Instant| now < since + COMPLAINT_INTERVAL;
        if missing.is_empty() || self.complained.is_some_and(silent) {
            return;
        }
        self.complained = Some(now);
        log::warn!(
            "function=\"\" for the drops of {} places: the kernel had no room for their names \
             (raise --collector.drops.max-entries)",
            missing.len()
        );
    }
}

/// The label for what the kernel printed; empty if it knows no function there.
fn function(printed: &FunctionName) -> Arc<str> {
    let printed = Name::until_nul(&printed.0);
    let printed = printed.as_bytes();
    // Behind the symbol comes " [module]".
    let symbol = printed
        .split(|&byte| byte == b' ')
        .next()
        .unwrap_or(printed);
    if symbol.starts_with(b"0x") {
        // The address itself, which is nobody's business.
        return Arc::default();
    }
    name::label(without_suffix(symbol)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(text: &str) -> FunctionName {
        let mut name = FunctionName::default();
        name.0[..text.len()].copy_from_slice(text.as_bytes());
        name
    }

    #[test]
    fn a_symbol_loses_its_module_and_what_compilers_append() {
        let longest = "a".repeat(64);
        for (text, expected) in [
            ("tcp_v4_rcv", "tcp_v4_rcv"),
            ("nft_do_chain [nf_tables]", "nft_do_chain"),
            (
                "ovs_vport_receive.isra.0 [openvswitch]",
                "ovs_vport_receive",
            ),
            ("tcp_rcv_established.cold", "tcp_rcv_established"),
            (
                "bpf_prog_6deef7357e7b4530_sd_fw_ingress [bpf]",
                "bpf_prog_6deef7357e7b4530_sd_fw_ingress",
            ),
            (".tcp_v4_rcv", ".tcp_v4_rcv"),
            (&longest, &longest),
            ("0xffffffffc0a81234", ""),
            ("", ""),
        ] {
            assert_eq!(&*function(&printed(text)), expected);
        }
    }

    #[test]
    fn a_name_may_come_one_drain_before_its_key_but_not_two() {
        let mut functions = Functions::Program(FunctionNames::default());
        let now = Instant::now();
        functions.learn(&[], &[(1, printed("old"))], now);
        functions.next_generation();
        functions.learn(&[1], &[], now);
        assert_eq!(&*functions.name(1), "old");
        functions.learn(&[1], &[(1, printed("new"))], now);
        assert_eq!(&*functions.name(1), "new");
        functions.next_generation();
        functions.next_generation();
        assert_eq!(&*functions.name(1), "");
    }

    #[test]
    fn missing_names_are_said_once_a_minute() {
        let mut known = FunctionNames::default();
        let start = Instant::now();
        known.learn(&[(1, printed("0x1"))]);
        known.complain_about_missing(&[1], start);
        assert_eq!(known.complained, None, "the kernel has answered");
        known.complain_about_missing(&[1, 2], start);
        assert_eq!(known.complained, Some(start));
        known.complain_about_missing(&[2], start + COMPLAINT_INTERVAL / 2);
        assert_eq!(known.complained, Some(start));
        let later = start + COMPLAINT_INTERVAL;
        known.complain_about_missing(&[2], later);
        assert_eq!(known.complained, Some(later));
    }
}
