//! An exporter that stands still, so that no drain falls between two events of a test (signal(7), SIGSTOP).

use std::marker::PhantomData;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::exporter::Exporter;
use crate::wait::{SOON, poll_for};

/// All threads of the exporter are stopped; they go on when this is dropped. The BPF program counts all the
/// time.
#[derive(Debug)]
pub struct Paused<'a> {
    pid: Pid,
    // A process that has ended has no number any more.
    _exporter: PhantomData<&'a Exporter>,
}

impl Exporter {
    /// Stops it until the guard is dropped.
    pub fn pause(&self) -> Paused<'_> {
        let pid = Pid::from_child(&self.process.child);
        kill_process(pid, Signal::STOP).unwrap();
        let paused = Paused {
            pid,
            _exporter: PhantomData,
        };
        // The parent is told when the last thread has stopped (do_signal_stop, kernel/signal.c).
        poll_for("the exporter stands still", SOON, || {
            let options = WaitOptions::UNTRACED | WaitOptions::NOHANG;
            let (_, status) = waitpid(Some(pid), options).unwrap()?;
            assert!(status.stopped(), "the exporter ended: {status:?}");
            Some(())
        });
        paused
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        if let Err(error) = kill_process(self.pid, Signal::CONT) {
            eprintln!("cannot let the exporter go on: {error}");
        }
    }
}
