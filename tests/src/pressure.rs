//! As many drops as two CPUs can make, for as long as a test wants them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use rustix::process::nice;

use crate::netns::Namespace;
use crate::send::{self, Flood};

/// Frames that each CPU sends between two looks at whether it is to go on.
const BURST: u64 = 5_000;

/// Floods a device from two CPUs while `work` runs; `work` is told how many frames were sent so far. Returns
/// how many these are in the end, and what `work` returned.
///
/// The floods take all the time that nobody else wants (nice 19): a test is about the exporter, and not about
/// how a scheduler shares two CPUs among four busy threads.
pub fn under_flood<T>(
    from: &Namespace,
    device: &str,
    work: impl FnOnce(&AtomicU64) -> T,
) -> (u64, T) {
    let cpus = send::cpus();
    assert!(cpus.len() >= 2, "this test needs two CPUs");
    let (working, sent) = (AtomicBool::new(true), AtomicU64::new(0));
    let flood = |cpu| {
        let burst = Flood {
            cpu: Some(cpu),
            ..Flood::over(device, BURST)
        };
        nice(19).unwrap();
        while working.load(Ordering::Relaxed) {
            sent.fetch_add(burst.send(), Ordering::Relaxed);
        }
    };
    let result = thread::scope(|scope| {
        // Also after a panic, or the scope would wait for the floods for ever.
        let _end = End(&working);
        for &cpu in &cpus[..2] {
            scope.spawn(move || from.enter(|| flood(cpu)));
        }
        work(&sent)
    });
    (sent.into_inner(), result)
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
