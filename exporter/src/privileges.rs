//! Capabilities: what the exporter needs, what it lacks, and how to grant it.
//!
//! See capabilities(7). CAP_BPF and CAP_PERFMON exist since Linux 5.8; before that, and still,
//! CAP_SYS_ADMIN stands for both.

use caps::{CapSet, Capability};

/// What the drop collector needs to load its program.
const LOAD: [Capability; 2] = [Capability::CAP_BPF, Capability::CAP_PERFMON];

/// The command that grants everything to a binary that is not run as root.
const REMEDY: &str = "run as root, or setcap cap_bpf,cap_perfmon,cap_syslog+ep on the binary";

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

/// The remedy for hidden kernel symbols, by what causes them.
pub fn hidden_symbols_remedy() -> String {
    let syslog = caps::has_cap(None, CapSet::Effective, Capability::CAP_SYSLOG).unwrap_or(false);
    if syslog {
        "set kernel.kptr_restrict to 0 or 1".to_owned()
    } else {
        format!("CAP_SYSLOG is missing: {REMEDY}")
    }
}
