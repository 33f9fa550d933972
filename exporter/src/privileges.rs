//! Privileges: what the exporter needs, what it lacks, and what it gives up.
//!
//! capabilities(7) and landlock(7). CAP_BPF and CAP_PERFMON exist since Linux 5.8, and CAP_SYS_ADMIN
//! still stands for both. Capabilities and Landlock domains belong to a thread, and a new thread gets
//! those of the one that starts it. So both functions that give something up must be called before
//! there is a second thread.

use std::{collections::HashSet, path::Path};

use caps::{CapSet, Capability, errors::CapsError};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::process::{Resource, getrlimit};

/// What the drop collector needs to load its program.
const LOAD: [Capability; 2] = [Capability::CAP_BPF, Capability::CAP_PERFMON];

/// Either of them lets a process read maps where the kernel wants a capability for that.
const READ_MAPS: [Capability; 2] = [Capability::CAP_BPF, Capability::CAP_SYS_ADMIN];

/// The command that grants everything to a binary that is not run as root.
const REMEDY: &str = "run as root, or setcap cap_bpf,cap_perfmon,cap_syslog+ep on the binary";

/// Linux 6.12. What an older kernel does not know is left out.
const LANDLOCK: ABI = ABI::V6;

/// Where aya and the C library read about this machine, whatever the flags say.
const ALWAYS_READABLE: [&str; 2] = ["/proc", "/sys"];

/// Where ip-netns(8) mounts the names of namespaces, in a directory that it creates when it needs it.
const RUN: &str = "/run";

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
pub struct Unprivileged(());

/// Names the capabilities that are missing for loading the BPF program, with the remedy; `None` if
/// there is nothing to complain about, or no way to find out.
pub fn missing_for_bpf() -> Option<String> {
    let effective = caps::read(None, CapSet::Effective).ok()?;
    if effective.contains(&Capability::CAP_SYS_ADMIN) {
        return None;
    }
    let missing: Vec<_> = LOAD
        .iter()
        .filter(|needed| !effective.contains(needed))
        .map(ToString::to_string)
        .collect();
    match missing.as_slice() {
        [] => None,
        [one] => Some(format!("{one} is missing ({REMEDY})")),
        more => Some(format!("{} are missing ({REMEDY})", more.join(" and "))),
    }
}

/// What else may be behind a refusal of bpf(2), with the remedies. The kernel says EPERM to all of it.
pub fn other_refusals() -> String {
    let limit = match getrlimit(Resource::Memlock).current {
        Some(bytes) => format!(
            ", or before Linux 5.11 RLIMIT_MEMLOCK of {} KiB (raise it: ulimit -l unlimited)",
            bytes / 1024
        ),
        None => String::new(),
    };
    format!("no capability is missing: look for a seccomp profile, for kernel lockdown{limit}")
}

/// The remedy for hidden kernel symbols, by what causes them.
pub fn hidden_symbols_remedy() -> String {
    let syslog = caps::has_cap(None, CapSet::Effective, Capability::CAP_SYSLOG).unwrap_or(false);
    if syslog {
        "set kernel.kptr_restrict to 0 or 1".to_owned()
    } else {
        format!("CAP_SYSLOG is missing: {REMEDY}")
    }
}

/// From now on this thread can open files only for reading and only below `/proc`, `/sys` and
/// `readable`, list the names in `/run`, execute nothing, bind no TCP port, connect to none, signal no
/// other process, and gain no privilege. What is open stays open. Without Landlock (5.13) only the
/// last holds; TCP ports come with 6.7, signals with 6.12.
///
/// # Errors
///
/// The kernel has Landlock, and refuses all the same.
pub fn confine(readable: &[&Path]) -> Result<(), RulesetError> {
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .scope(Scope::Signal)?
        .create()?;
    for path in ALWAYS_READABLE
        .iter()
        .map(Path::new)
        .chain(readable.iter().copied())
    {
        rules = allow(rules, path, AccessFs::ReadFile | AccessFs::ReadDir)?;
    }
    rules = allow(rules, Path::new(RUN), AccessFs::ReadDir.into())?;
    // This also sets no_new_privs.
    let status = rules.restrict_self()?;
    if status.ruleset == RulesetStatus::NotEnforced {
        log::debug!("this kernel has no Landlock: not confining file accesses");
    }
    Ok(())
}

/// A path that is not there needs no rule; who wants it says so better.
fn allow(
    rules: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    match PathFd::new(path) {
        Ok(fd) => rules.add_rule(PathBeneath::new(fd, access)),
        Err(_) => Ok(rules),
    }
}

/// Gives up all capabilities of this thread, but for one if `reads_maps` fails without any: before
/// 5.19, where `kernel.unprivileged_bpf_disabled` is set, bpf(2) wants CAP_BPF for every call
/// (`__sys_bpf` in `kernel/bpf/syscall.c`).
///
/// # Errors
///
/// A sandbox forbids it.
pub fn give_up(
    _privileged: Privileged,
    reads_maps: impl FnOnce() -> bool,
) -> Result<Unprivileged, CapsError> {
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        caps::clear(None, CapSet::Bounding)?;
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    caps::clear(None, CapSet::Effective)?;
    let mut kept = HashSet::new();
    if !reads_maps() {
        let permitted = caps::read(None, CapSet::Permitted)?;
        kept.extend(READ_MAPS.into_iter().find(|c| permitted.contains(c)));
    }
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    Ok(Unprivileged(()))
}
