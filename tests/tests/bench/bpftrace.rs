//! bpftrace counting drops by reason and location: what one would type without an exporter.

use std::{
    fs::{self, File},
    io::{Read, Seek},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use netdrop_tests::wait::{SOON, poll_for, try_poll};
use rustix::process::{Pid, Signal, kill_process};

use crate::fdinfo;

/// bpftrace looks for tracepoints in tracefs, so it gets a mount of its own that vanishes with it.
const START: &str =
    "test -d /sys/kernel/tracing/events || mount -t tracefs tracefs /sys/kernel/tracing || exit
exec bpftrace -e \"$0\"";
const PROGRAM: &str = "tracepoint:skb:kfree_skb { @[args->reason, args->location] = count(); }";

/// A running bpftrace; ended on drop.
pub(crate) struct Bpftrace {
    child: Child,
    errors: File,
    /// Where the kernel tells about its program.
    fdinfo: PathBuf,
}

impl Bpftrace {
    /// Starts it and waits until it counts what `drop_one` drops.
    pub(crate) fn start(drop_one: &dyn Fn()) -> Self {
        let errors = tempfile::tempfile().unwrap();
        let child = Command::new("unshare")
            .args(["--mount", "sh", "-c", START, PROGRAM])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors.try_clone().unwrap())
            .spawn()
            .unwrap();
        let mut bpftrace = Self {
            child,
            errors,
            fdinfo: PathBuf::new(),
        };
        bpftrace.fdinfo = poll_for("bpftrace counts", SOON, || {
            let ended = bpftrace.child.try_wait().unwrap();
            assert!(ended.is_none(), "bpftrace ended: {}", bpftrace.errors());
            drop_one();
            program_that_ran(bpftrace.pid())
        });
        bpftrace
    }

    pub(crate) fn stats(&self) -> fdinfo::Stats {
        fdinfo::read(&self.fdinfo).unwrap()
    }

    fn pid(&self) -> u32 {
        // Each of the commands that start it becomes the next one.
        self.child.id()
    }

    fn errors(&self) -> String {
        let mut text = String::new();
        let mut errors = &self.errors;
        errors.rewind().unwrap();
        errors.read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Bpftrace {
    fn drop(&mut self) {
        // Asked to end, it reads its maps and prints them, as it would for a user.
        let asked = kill_process(Pid::from_child(&self.child), Signal::INT);
        let ended = asked.is_ok() && try_poll(SOON, || self.child.try_wait().ok()?).is_some();
        if !ended && let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("cannot end bpftrace: {error}");
        }
    }
}

/// The program of a bpftrace that has run already.
fn program_that_ran(pid: u32) -> Option<PathBuf> {
    // Until it is executed, the process still has the descriptors of this one.
    if fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim() != "bpftrace" {
        return None;
    }
    fs::read_dir(format!("/proc/{pid}/fdinfo"))
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| fdinfo::read(path).is_some_and(|stats| stats.runs > 0))
}
