//! Privileges: what the exporter needs, what it lacks, and what it gives up.
//!
//! capabilities(7), user_namespaces(7) and landlock(7). CAP_BPF and CAP_PERFMON exist since Linux 5.8,
//! and CAP_SYS_ADMIN still stands for both. Capabilities and Landlock domains belong to a thread, and a
//! new thread gets those of the one that starts it. So both functions that give something up must be
//! called before there is a second thread.

use std::{fmt, fs, os::unix::fs::MetadataExt};

use rustix::{
    process::{Resource, getrlimit},
    thread::{CapabilitySet, capabilities},
};

use crate::logging::list;

mod confine;
mod give_up;
mod sys;

pub use confine::{Unconfined, confine, confine_to_nothing};
pub use give_up::{give_up, keep_only};

/// What the drop collector needs to load its program.
const LOAD: CapabilitySet = CapabilitySet::BPF.union(CapabilitySet::PERFMON);

/// What the exporter has a use for on every kernel. Before Linux 5.13 it needs CAP_SYSLOG, too.
const OF_USE: CapabilitySet = LOAD.union(CapabilitySet::SYS_ADMIN);

/// The command that grants everything to a binary that is not run as root.
const REMEDY: &str = "run as root, or setcap cap_bpf,cap_perfmon+ep on the binary";

/// The same where names of functions take one more.
const REMEDY_FOR_SYMBOLS: &str = "which takes CAP_SYSLOG before Linux 5.13: run as root, setcap \
    cap_bpf,cap_perfmon,cap_syslog+ep on the binary, or add it to the unit or container";

/// Why capabilities have no effect, and the remedy.
const USER_NAMESPACE: &str = "this is a user namespace (rootless container), whose capabilities do not reach \
    the kernel: start the container as root and without one (docker and podman: --userns=host, Kubernetes: \
    hostUsers: true, systemd: PrivateUsers=no)";

/// `PROC_USER_INIT_INO` (`include/linux/proc_ns.h`, 3.8 and later): the inode of the user namespace that
/// the kernel starts with.
const INITIAL_USER_NAMESPACE: u64 = 0xefff_fffd;

/// Proof that this thread has the privileges that the process was started with.
#[derive(Debug)]
pub struct Privileged(());

impl Privileged {
    /// For the start of the process only.
    pub fn at_start() -> Self {
        Self(())
    }
}

/// Proof that this thread, and so each that it starts, has given up its privileges.
#[derive(Debug)]
pub struct Unprivileged {
    at_start: CapabilitySet,
    kept: CapabilitySet,
}

impl fmt::Display for Unprivileged {
    /// As in "started with CAP_PERFMON and CAP_BPF, keeps none". Other capabilities do not matter here.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at_start, kept) = (names(self.at_start & OF_USE), names(self.kept));
        write!(f, "started with {at_start}")?;
        if at_start == NONE {
            write!(f, " of {}", names(OF_USE))?;
        }
        if in_user_namespace() {
            write!(f, " of a user namespace")?;
        }
        write!(f, ", keeps {kept}")
    }
}

/// Why the kernel does not permit the drop collector's bpf(2), with the remedy. It says EPERM to all of
/// it.
pub fn why_no_bpf() -> String {
    let limit = getrlimit(Resource::Memlock).current;
    Standing::now().why_no_bpf(limit)
}

/// Why the kernel hides its symbols, with the remedy.
pub fn why_hidden_symbols() -> String {
    Standing::now().why_hidden_symbols()
}

/// Whether this thread has a capability.
pub fn has(capability: CapabilitySet) -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(capability))
}

/// The name of no capability.
const NONE: &str = "none";

/// The names of capabilities, as in "CAP_BPF and CAP_PERFMON"; a number for one that has none here.
pub fn names(set: CapabilitySet) -> String {
    if set.is_empty() {
        return NONE.to_owned();
    }
    let names: Vec<_> = each(set)
        .map(|capability| match capability.iter_names().next() {
            Some((name, _)) => format!("CAP_{name}"),
            None => capability.bits().trailing_zeros().to_string(),
        })
        .collect();
    list(&names)
}

fn in_user_namespace() -> bool {
    let user_namespace = fs::metadata("/proc/self/ns/user");
    user_namespace.is_ok_and(|ns| ns.ino() != INITIAL_USER_NAMESPACE)
}

/// Each capability of a set in a set of its own, also those that have no name here.
fn each(set: CapabilitySet) -> impl Iterator<Item = CapabilitySet> {
    (0..u64::BITS)
        .map(|number| CapabilitySet::from_bits_retain(1 << number))
        .filter(move |&capability| set.contains(capability))
}

/// What this thread is to the kernel.
#[derive(Clone, Copy, Debug)]
struct Standing {
    /// Its capabilities hold only for what belongs to its user namespace.
    in_user_namespace: bool,
    /// `None`: there is no way to find out.
    effective: Option<CapabilitySet>,
}

impl Standing {
    fn now() -> Self {
        Self {
            in_user_namespace: in_user_namespace(),
            effective: capabilities(None).ok().map(|sets| sets.effective),
        }
    }

    fn why_no_bpf(self, memlock: Option<u64>) -> String {
        if self.in_user_namespace {
            return USER_NAMESPACE.to_owned();
        }
        let missing = match self.effective {
            Some(effective) if !effective.contains(CapabilitySet::SYS_ADMIN) => LOAD - effective,
            _ => CapabilitySet::empty(),
        };
        match missing.bits().count_ones() {
            0 => {}
            1 => return format!("{} is missing ({REMEDY})", names(missing)),
            _ => return format!("{} are missing ({REMEDY})", names(missing)),
        }
        let limit = memlock.map_or_else(String::new, |bytes| {
            format!(
                ", or before Linux 5.11 RLIMIT_MEMLOCK of {} KiB (raise it: ulimit -l unlimited)",
                bytes / 1024
            )
        });
        format!("no capability is missing: look for a seccomp profile, for kernel lockdown{limit}")
    }

    fn why_hidden_symbols(self) -> String {
        if self.in_user_namespace {
            return USER_NAMESPACE.to_owned();
        }
        let effective = self.effective.unwrap_or(CapabilitySet::empty());
        if effective.contains(CapabilitySet::SYSLOG) {
            "set kernel.kptr_restrict to 0 or 1".to_owned()
        } else {
            format!("the kernel hides its addresses, {REMEDY_FOR_SYMBOLS}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: CapabilitySet = OF_USE;

    fn standing(effective: CapabilitySet) -> Standing {
        Standing {
            in_user_namespace: false,
            effective: Some(effective),
        }
    }

    #[test]
    fn what_is_missing_is_named_before_anything_is_suspected() {
        for (effective, says) in [
            (
                CapabilitySet::empty(),
                "CAP_PERFMON and CAP_BPF are missing (run as root",
            ),
            (CapabilitySet::PERFMON, "CAP_BPF is missing (run as root"),
            (CapabilitySet::BPF, "CAP_PERFMON is missing (run as root"),
            (LOAD, "no capability is missing: look for a seccomp profile"),
            (
                CapabilitySet::SYS_ADMIN,
                "no capability is missing: look for a seccomp profile",
            ),
        ] {
            let why = standing(effective).why_no_bpf(Some(8 << 20));
            assert!(!why.to_lowercase().contains("syslog"), "{why}");
            assert!(why.starts_with(says), "{effective:?}: {why}");
            assert_eq!(
                why.contains("RLIMIT_MEMLOCK of 8192 KiB"),
                says.contains("seccomp")
            );
        }
        let unlimited = standing(LOAD).why_no_bpf(None);
        assert!(!unlimited.contains("RLIMIT"), "{unlimited}");
    }

    #[test]
    fn symbols_are_hidden_by_a_missing_capability_or_a_sysctl() {
        let why = standing(LOAD).why_hidden_symbols();
        assert!(why.contains("takes CAP_SYSLOG before Linux 5.13"), "{why}");
        let why = standing(LOAD | CapabilitySet::SYSLOG).why_hidden_symbols();
        assert!(why.contains("kernel.kptr_restrict"), "{why}");
    }

    #[test]
    fn in_a_user_namespace_nothing_else_is_blamed() {
        for effective in [CapabilitySet::empty(), LOAD, ALL] {
            let rootless = Standing {
                in_user_namespace: true,
                ..standing(effective)
            };
            for why in [rootless.why_no_bpf(Some(0)), rootless.why_hidden_symbols()] {
                assert!(why.contains("user namespace (rootless container)"), "{why}");
                for other in ["seccomp", "lockdown", "RLIMIT", "kptr", "missing"] {
                    assert!(!why.contains(other), "{why}");
                }
            }
        }
    }

    #[test]
    fn what_it_was_started_with_and_keeps_is_plain_english() {
        for (at_start, kept, line) in [
            (
                CapabilitySet::all(),
                CapabilitySet::empty(),
                "started with CAP_SYS_ADMIN, CAP_PERFMON and CAP_BPF, keeps none",
            ),
            (
                CapabilitySet::CHOWN,
                CapabilitySet::empty(),
                "started with none of CAP_SYS_ADMIN, CAP_PERFMON and CAP_BPF, keeps none",
            ),
            (
                LOAD,
                CapabilitySet::BPF,
                "started with CAP_PERFMON and CAP_BPF, keeps CAP_BPF",
            ),
        ] {
            assert_eq!(Unprivileged { at_start, kept }.to_string(), line);
        }
    }

    #[test]
    fn capabilities_have_names_or_numbers() {
        assert_eq!(names(CapabilitySet::empty()), "none");
        assert_eq!(names(ALL), "CAP_SYS_ADMIN, CAP_PERFMON and CAP_BPF");
        assert_eq!(names(CapabilitySet::from_bits_retain(1 << 63)), "63");
    }
}
