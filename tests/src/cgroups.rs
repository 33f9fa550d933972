//! Cgroups of the unified hierarchy that vanish with their guard (cgroups(7)).

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

use crate::wait::{SOON, wait_until};

/// A subtree of the test's own, below the root.
#[derive(Debug)]
pub struct Cgroups {
    /// Where the test process comes from.
    home: PathBuf,
    subtree: PathBuf,
    name: String,
    _mount: Option<Mount>,
}

/// A mount of the hierarchy, where the machine has none.
#[derive(Debug)]
struct Mount(TempDir);

impl Cgroups {
    /// Makes the subtree.
    pub fn new() -> Self {
        let (root, mount) = match mounted() {
            Some(root) => (root, None),
            None => {
                let mount = Mount::new();
                (mount.0.path().to_owned(), Some(mount))
            }
        };
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("netdrop-{}-{number}", process::id());
        let subtree = root.join(&name);
        fs::create_dir(&subtree).unwrap();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        let home = own.lines().find_map(|line| line.strip_prefix("0::/"));
        Self {
            home: root.join(home.unwrap()),
            subtree,
            name,
            _mount: mount,
        }
    }

    /// What the test's part of a path begins with, below the root.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes a cgroup and all those above it.
    pub fn make(&self, path: impl AsRef<[u8]>) -> PathBuf {
        let path = self.subtree.join(OsStr::from_bytes(path.as_ref()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// Removes an empty one.
    pub fn remove(&self, path: &Path) {
        // A process that has just ended can still be in it.
        wait_until("the cgroup is empty", SOON, || {
            let removed = fs::remove_dir(path);
            if matches!(&removed, Err(error) if error.kind() == ErrorKind::ResourceBusy) {
                return false;
            }
            removed.unwrap();
            true
        });
    }

    /// Does something while the test process is in a cgroup.
    pub fn within<T>(&self, path: &Path, work: impl FnOnce() -> T) -> T {
        struct Back<'a>(&'a Path);
        impl Drop for Back<'_> {
            fn drop(&mut self) {
                put(self.0, process::id());
            }
        }
        put(path, process::id());
        let _back = Back(&self.home);
        work()
    }
}

impl Default for Cgroups {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        if let Err(error) = remove_all(&self.subtree) {
            eprintln!("cannot remove {}: {error}", self.subtree.display());
        }
    }
}

/// Moves a process into a cgroup.
pub fn put(cgroup: &Path, pid: u32) {
    fs::write(cgroup.join("cgroup.procs"), pid.to_string()).unwrap();
}

/// Where the hierarchy is mounted; on a hybrid system not at `/sys/fs/cgroup`.
fn mounted() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let of_v2 = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    Some(of_v2.split(' ').nth(4)?.into())
}

fn remove_all(directory: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_all(&entry.path())?;
        }
    }
    fs::remove_dir(directory)
}

impl Mount {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        mount(
            "none",
            directory.path(),
            "cgroup2",
            MountFlags::empty(),
            None,
        )
        .unwrap();
        Self(directory)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Err(error) = unmount(self.0.path(), UnmountFlags::DETACH) {
            eprintln!("cannot unmount {}: {error}", self.0.path().display());
        }
    }
}
