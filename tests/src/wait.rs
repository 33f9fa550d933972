//! Waiting for a condition with a deadline, instead of sleeping and hoping.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is looked at again: short beside every deadline, long beside one look.
const INTERVAL: Duration = Duration::from_millis(10);

/// How long a test waits for what should happen soon. Generous: machines that build and test are slow.
pub const SOON: Duration = Duration::from_secs(120);

/// Looks until `condition` holds; panics with `what` when it does not within `deadline`.
pub fn wait_until(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    poll_for(what, deadline, || condition().then_some(()));
}

/// Looks until `look` gives a value, and returns it; panics with `what` when there is none within `deadline`.
pub fn poll_for<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    try_poll(deadline, &mut look)
        .unwrap_or_else(|| panic!("waited {deadline:?} in vain until {what}"))
}

/// Like [`poll_for`], but leaves it to the caller what a missed deadline means.
pub fn try_poll<T>(deadline: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + deadline;
    loop {
        // The clock is read first, so that there is always one look after the deadline.
        let last = Instant::now() >= end;
        if let Some(value) = look() {
            return Some(value);
        }
        if last {
            return None;
        }
        thread::sleep(INTERVAL);
    }
}

/// Tells the loop of another thread to end, also when the test fails: a scope waits for its threads.
#[derive(Debug)]
pub struct StopOnDrop<'a>(pub &'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
