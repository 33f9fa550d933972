//! Whose the packets of drained keys were.

use std::{collections::HashMap, sync::Arc};

use crate::{
    abi::CgroupPath,
    kernel::cgroups::{CUT, Workload},
};

/// Workloads by their cgroups, as the BPF program saw them.
pub struct WorkloadNames {
    /// Of this drain and of the one before, as for device names: a path can come out of the kernel one drain
    /// earlier than the key that needs it. `None` for a cgroup that is nobody's.
    generations: [HashMap<u64, Option<Arc<Workload>>>; 2],
    /// Kept so that a cgroup without a path costs nothing.
    other: Arc<Workload>,
}

impl Default for WorkloadNames {
    fn default() -> Self {
        Self {
            generations: Default::default(),
            other: Arc::new(Workload::other()),
        }
    }
}

impl WorkloadNames {
    /// Takes in what came out of the kernel with a drain.
    pub fn learn(&mut self, cgroup: u64, path: &CgroupPath) {
        let [now, before] = &mut self.generations;
        // The kernel never uses an id again, and never moves a cgroup.
        let workload = match before.get(&cgroup) {
            Some(known) => known.clone(),
            None => Workload::of_cgroup(&joined(path)).map(Arc::new),
        };
        now.insert(cgroup, workload);
    }

    /// Forgets what no key can need any more, after a complete drain.
    pub fn next_generation(&mut self) {
        self.generations.swap(0, 1);
        self.generations[0].clear();
    }

    /// Whose packets of this key are; `None` if they are nobody's. A cgroup whose path did not fit into the
    /// kernel's map is one of the others.
    pub fn workload(&self, cgroup: u64) -> Option<Arc<Workload>> {
        if cgroup == 0 {
            return None;
        }
        let mut known = self
            .generations
            .iter()
            .filter_map(|names| names.get(&cgroup));
        known
            .next()
            .map_or_else(|| Some(Arc::clone(&self.other)), Clone::clone)
    }
}

/// The path as `/proc/PID/cgroup` has it; it begins with [`CUT`] where the program did not get to the root.
fn joined(path: &CgroupPath) -> Vec<u8> {
    let names = path.names.get(..path.len as usize).unwrap_or(&path.names);
    let mut joined = Vec::with_capacity(names.len() + CUT.len() + 1);
    if path.is_whole == 0 {
        joined.extend(CUT.as_bytes());
    }
    for name in names
        .split(|&byte| byte == 0)
        .rev()
        .filter(|name| !name.is_empty())
    {
        joined.push(b'/');
        joined.extend(name);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(names: &[u8], is_whole: u32) -> CgroupPath {
        let mut path = CgroupPath {
            len: names.len() as u32,
            is_whole,
            ..CgroupPath::default()
        };
        path.names[..names.len()].copy_from_slice(names);
        // What another path has left there.
        path.names[names.len()..].fill(b'x');
        path
    }

    fn name(workload: Option<Arc<Workload>>) -> Option<String> {
        workload.map(|workload| workload.name.clone())
    }

    #[test]
    fn names_from_the_cgroup_up_become_a_path_from_the_root() {
        for (names, is_whole, expected) in [
            (
                b"nginx.service\0system.slice\0".as_slice(),
                1,
                "/system.slice/nginx.service",
            ),
            (b"b\0a\0", 0, "…/a/b"),
            (b"\xff\n\"\0", 1, "/\u{fffd}\n\""),
            (b"", 1, ""),
            (b"", 0, "…"),
        ] {
            let joined = joined(&path(names, is_whole));
            assert_eq!(String::from_utf8_lossy(&joined), expected);
        }
        let mut broken = path(b"a\0", 1);
        broken.len = u32::MAX;
        assert!(joined(&broken).starts_with(b"/x"));
    }

    #[test]
    fn a_path_may_come_one_drain_before_its_key_but_not_two() {
        let mut names = WorkloadNames::default();
        names.learn(7, &path(b"a.service\0", 1));
        names.next_generation();
        assert_eq!(name(names.workload(7)).as_deref(), Some("a.service"));
        names.next_generation();
        assert_eq!(name(names.workload(7)).as_deref(), Some("other"));
    }

    #[test]
    fn the_root_and_no_cgroup_are_nobodys() {
        let mut names = WorkloadNames::default();
        names.learn(1, &path(b"", 1));
        assert_eq!((names.workload(1), names.workload(0)), (None, None));
    }
}
