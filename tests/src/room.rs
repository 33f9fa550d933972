//! What a test must have to itself: root, its turn, and settings of the whole machine put back afterwards.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

const KPTR_RESTRICT: &str = "/proc/sys/kernel/kptr_restrict";

/// A test's turn. Counters of the whole machine and `kptr_restrict` are shared, so only one test runs at a
/// time, whatever the number of test threads or processes.
#[derive(Debug)]
pub struct Room {
    // flock(2) on a file that every test can open and that need not be created or removed.
    _turn: File,
}

impl Room {
    /// Checks for root and waits for the test's turn.
    ///
    /// # Panics
    /// When not root: a test that quietly did nothing would look like one that passed.
    pub fn enter() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "end-to-end tests need root: run tests/run.sh as root"
        );
        let turn = File::open(KPTR_RESTRICT).unwrap();
        turn.lock().unwrap();
        Self { _turn: turn }
    }
}

/// A sysctl of the whole machine set for one test; the former value comes back on drop.
#[derive(Debug)]
pub struct Sysctl {
    path: PathBuf,
    before: String,
}

impl Sysctl {
    /// Sets a sysctl, named by its path below `/proc/sys`, for instance `kernel/kptr_restrict`.
    pub fn set(name: &str, value: &str) -> Self {
        let path = Path::new("/proc/sys").join(name);
        let before = fs::read_to_string(&path).unwrap();
        fs::write(&path, value).unwrap_or_else(|error| panic!("cannot set {name}: {error}"));
        Self { path, before }
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        if let Err(error) = fs::write(&self.path, self.before.trim()) {
            eprintln!("cannot restore {}: {error}", self.path.display());
        }
    }
}
