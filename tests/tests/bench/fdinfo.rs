//! What the kernel tells about a BPF program through a file descriptor of it (`bpf_prog_show_fdinfo`,
//! `kernel/bpf/syscall.c`).

use std::{fs, ops::Sub, path::Path};

/// What the runs of a program took so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stats {
    pub(crate) runs: u64,
    pub(crate) nanoseconds: u64,
}

impl Sub for Stats {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            runs: self.runs - earlier.runs,
            nanoseconds: self.nanoseconds - earlier.nanoseconds,
        }
    }
}

/// Reads them; `None` if the file is not of a BPF program.
pub(crate) fn read(path: &Path) -> Option<Stats> {
    let text = fs::read_to_string(path).ok()?;
    let value = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse().ok()
    };
    Some(Stats {
        runs: value("run_cnt:")?,
        nanoseconds: value("run_time_ns:")?,
    })
}
