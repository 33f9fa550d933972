//! What a process may do, as `/proc/PID/task/*/status` says of each of its threads.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::symbols;

/// CAP_BPF as a bit of such a set (`include/uapi/linux/capability.h`).
pub const CAP_BPF: u64 = 1 << 39;

/// The capabilities without which something is missing on this kernel.
pub fn needed_to_start() -> &'static [&'static str] {
    let all = &["bpf", "perfmon", "syslog"];
    if symbols::is_function("bpf_snprintf") {
        &all[..2]
    } else {
        all
    }
}

/// What the exporter has to keep on this kernel: before 5.19, if `kernel.unprivileged_bpf_disabled` is set, every
/// call of bpf(2) wants CAP_BPF (`__sys_bpf` in `kernel/bpf/syscall.c`).
pub fn needed_to_read_maps() -> u64 {
    let setting = fs::read_to_string("/proc/sys/kernel/unprivileged_bpf_disabled").unwrap();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|number| number.parse::<u32>());
    let version = (
        numbers.next().unwrap().unwrap(),
        numbers.next().unwrap().unwrap(),
    );
    if setting.trim() != "0" && version < (5, 19) {
        CAP_BPF
    } else {
        0
    }
}

/// What the threads of a process may do.
#[derive(Debug)]
pub struct Threads {
    status: Vec<BTreeMap<String, String>>,
}

impl Threads {
    /// Of a running process.
    pub fn of(pid: u32) -> Self {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let status = tasks.map(|task| {
            let text = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            let fields = text.lines().filter_map(|line| line.split_once(":\t"));
            fields
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect()
        });
        Self {
            status: status.collect(),
        }
    }

    /// Their names.
    pub fn names(&self) -> Vec<&str> {
        self.status.iter().map(|fields| &*fields["Name"]).collect()
    }

    /// The different values that a field has among them.
    pub fn values(&self, field: &str) -> BTreeSet<&str> {
        self.status.iter().map(|fields| &*fields[field]).collect()
    }

    /// The capabilities in a set, which must be the same for all.
    pub fn capabilities(&self, set: &str) -> u64 {
        let values = self.values(set);
        assert_eq!(values.len(), 1, "{set} differs: {values:?}");
        let value = values.first().unwrap();
        u64::from_str_radix(value, 16).unwrap()
    }
}
