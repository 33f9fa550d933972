//! Giving up what the start needed, for good: capabilities(7), capget(2), prctl(2).
//!
//! It fails closed: whatever the calls say, the kernel is asked afterwards what is left.

use std::{fs, io};

use anyhow::{Context, anyhow, ensure};
use rustix::{
    io::Errno,
    thread::{
        CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, no_new_privs,
        remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
    },
};

use super::{Privileged, Unprivileged, each, names};

const NONE: CapabilitySet = CapabilitySet::empty();

/// Either of them lets a process read maps where the kernel wants a capability for that.
const READ_MAPS: [CapabilitySet; 2] = [CapabilitySet::BPF, CapabilitySet::SYS_ADMIN];

/// What to do about a call that is refused.
const REMEDY: &str = "allow capget, capset and prctl in the seccomp profile";

/// Gives up all capabilities of this thread, but for one if `reads_maps` fails without any: before
/// 5.19, where `kernel.unprivileged_bpf_disabled` is set, bpf(2) wants CAP_BPF for every call
/// (`__sys_bpf` in `kernel/bpf/syscall.c`).
///
/// The bounding set is emptied, too, if this thread may do that (CAP_SETPCAP). It limits what a program
/// could gain that is executed later, and so does no_new_privs, which is set in any case.
///
/// # Errors
///
/// Something is left, or there is no way to find out; what could be given up is gone. A sandbox is the
/// likely cause, or another thread, which has capabilities of its own.
pub fn give_up(
    _privileged: Privileged,
    reads_maps: impl FnOnce() -> bool,
) -> anyhow::Result<Unprivileged> {
    let mut change = Change::begin()?;
    let readers = change.before.permitted & (READ_MAPS[0] | READ_MAPS[1]);
    change.note("give up capabilities", hold(NONE, readers));
    let kept = if reads_maps() { NONE } else { first(readers) };
    let before = change.keep(kept)?;
    ensure!(
        threads() <= 1,
        "cannot give up the capabilities of another thread: start without LD_PRELOAD, which may have made it"
    );
    Ok(Unprivileged {
        at_start: before.effective,
        kept,
    })
}

/// Gives up all capabilities of this thread but these, as [`give_up`] does.
///
/// # Errors
///
/// As of [`give_up`], and if one of them is missing.
pub fn keep_only(_privileged: Privileged, kept: CapabilitySet) -> anyhow::Result<()> {
    let change = Change::begin()?;
    let missing = kept - change.before.permitted;
    ensure!(missing.is_empty(), "{} is missing", names(missing));
    change.keep(kept).map(drop)
}

/// What is being given up, and the first call that was refused.
struct Change {
    before: CapabilitySets,
    refused: Option<anyhow::Error>,
}

impl Change {
    /// Empties the bounding set.
    fn begin() -> anyhow::Result<Self> {
        let before = capabilities(None);
        let before = before.with_context(|| format!("cannot read capabilities: {REMEDY}"))?;
        let mut change = Self {
            before,
            refused: None,
        };
        // First, because it takes CAP_SETPCAP in the effective set.
        change.note("empty the bounding set", empty_bounding_set(&before));
        Ok(change)
    }

    fn note(&mut self, what: &str, outcome: io::Result<()>) {
        if let Err(error) = outcome {
            self.refused
                .get_or_insert_with(|| anyhow::Error::new(error).context(what.to_owned()));
        }
    }

    /// Gives up everything else, and looks whether that is so. Returns what there was.
    fn keep(mut self, kept: CapabilitySet) -> anyhow::Result<CapabilitySets> {
        self.note("give up capabilities", hold(kept, kept));
        let new_privileges = set_no_new_privs(true).map_err(Into::into);
        self.note("set no_new_privs", new_privileges);
        let left = left_over(&self.before, kept)
            .with_context(|| format!("cannot check what is given up: {REMEDY}"))?;
        if !left.is_empty() {
            let refused = self.refused.unwrap_or_else(|| anyhow!("no call failed"));
            return Err(refused.context(format!("cannot give up {}: {REMEDY}", left.join(" and "))));
        }
        Ok(self.before)
    }
}

/// The one that is kept of those that let a process read maps.
fn first(readers: CapabilitySet) -> CapabilitySet {
    let mut wanted = READ_MAPS.into_iter();
    wanted
        .find(|&reader| readers.contains(reader))
        .unwrap_or(NONE)
}

/// Also empties the ambient set: it holds nothing that is not in the inheritable one, too.
fn hold(effective: CapabilitySet, permitted: CapabilitySet) -> io::Result<()> {
    let inheritable = NONE;
    let sets = CapabilitySets {
        effective,
        permitted,
        inheritable,
    };
    Ok(set_capabilities(None, sets)?)
}

fn may_empty_bounding_set(before: &CapabilitySets) -> bool {
    before.permitted.contains(CapabilitySet::SETPCAP)
}

/// Goes on after an error, with the others.
fn empty_bounding_set(before: &CapabilitySets) -> io::Result<()> {
    if !may_empty_bounding_set(before) {
        return Ok(());
    }
    if !before.effective.contains(CapabilitySet::SETPCAP) {
        hold(CapabilitySet::SETPCAP, before.permitted)?;
    }
    let mut outcome = Ok(());
    for capability in each(bounding_set(before)?) {
        outcome = outcome.and(remove_capability_from_bounding_set(capability));
    }
    Ok(outcome?)
}

/// The kernel answers EINVAL for a number that it has no capability for; it has all that were permitted.
fn bounding_set(before: &CapabilitySets) -> io::Result<CapabilitySet> {
    let mut set = NONE;
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match capability_is_in_bounding_set(capability) {
            Ok(true) => set |= capability,
            Ok(false) => {}
            Err(Errno::INVAL) if before.permitted.bits() >> number == 0 => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(set)
}

/// What this thread still has, but for what it keeps.
fn left_over(before: &CapabilitySets, kept: CapabilitySet) -> io::Result<Vec<String>> {
    let now = capabilities(None)?;
    let bounding = if may_empty_bounding_set(before) {
        bounding_set(before)?
    } else {
        NONE
    };
    let sets = [
        ("effective", now.effective - kept),
        ("permitted", now.permitted - kept),
        ("inheritable", now.inheritable),
        ("bounding", bounding),
    ];
    let sets = sets.into_iter().filter(|(_, left)| !left.is_empty());
    let mut left: Vec<_> = sets
        .map(|(name, left)| format!("the {name} set ({} left)", left.bits().count_ones()))
        .collect();
    if !no_new_privs()? {
        left.push("new privileges".to_owned());
    }
    Ok(left)
}

/// The threads of this process; 0 where that cannot be known.
fn threads() -> usize {
    fs::read_dir("/proc/self/task").map_or(0, |tasks| tasks.count())
}
