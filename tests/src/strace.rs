//! strace(1), which counts the exporter's bpf(2) calls and lets chosen ones, or those of another system call,
//! fail in the kernel's stead.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::exporter::Exporter;
use crate::wait::{SOON, poll_for, try_poll, wait_until};

/// Which calls fail, and with what. A call that fails so has not happened.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// The system call.
    pub call: &'static str,
    /// The name of the error, for instance `ENOMEM`.
    pub error: &'static str,
    /// The first call that fails, counted from 1 for each thread of its own, from the attachment on.
    pub first: usize,
    /// Every so many calls the next one fails; 1 for all that follow, `None` for no other.
    pub every: Option<usize>,
}

/// A strace of the bpf(2) calls of a running process, or of those that are to fail; detached on drop.
#[derive(Debug)]
pub struct Strace {
    tracer: Child,
    directory: TempDir,
}

/// One bpf(2) call.
#[derive(Debug, Clone)]
pub struct Call {
    /// The thread that made it.
    pub thread: u32,
    /// Command and attributes, and the result unless another thread's call came between.
    pub text: String,
    /// Whether it failed by a [`Fault`].
    pub injected: bool,
}

impl Fault {
    fn argument(&self) -> String {
        let Self {
            call,
            error,
            first,
            every,
        } = self;
        let step = every.map_or_else(String::new, |step| format!("+{step}"));
        format!("--inject={call}:error={error}:when={first}{step}")
    }
}

impl Strace {
    /// Attaches to all threads of a process, those that it starts later included.
    pub fn attach(pid: u32, fault: Option<Fault>) -> Self {
        Self::attach_with(pid, |log| command(log, fault))
    }

    /// Attaches to the one thread of this name (proc(5), `comm`), so that no other meets the fault.
    pub fn attach_to_thread(pid: u32, name: &str, fault: Fault) -> Self {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let mut threads = threads.map(|entry| entry.unwrap().path());
        let thread = threads
            .find(|path| fs::read_to_string(path.join("comm")).unwrap().trim() == name)
            .unwrap_or_else(|| panic!("process {pid} has no thread {name}"));
        let thread = thread.file_name().unwrap().to_str().unwrap();
        Self::attach_with(thread.parse().unwrap(), |log| {
            let mut command = Command::new("strace");
            command.args([&format!("--trace={}", fault.call), &fault.argument()]);
            command.arg("--output").arg(log);
            command
        })
    }

    /// Makes each call of a process take so much longer.
    pub fn slow_down(pid: u32, call: &str, by: Duration) -> Self {
        let delay = format!("{call}:delay_exit={}", by.as_micros());
        Self::attach_with(pid, |log| {
            let mut command = tracer(log, call);
            command.arg(format!("--inject={delay}"));
            command
        })
    }

    fn attach_with(pid: u32, command: impl FnOnce(&Path) -> Command) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let told = directory.path().join("told");
        let tracer = command(&directory.path().join(LOG))
            .arg(format!("--attach={pid}"))
            .stderr(File::create(&told).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run strace: {error}"));
        let mut strace = Self { tracer, directory };
        // It says so once it holds all threads; from then on it misses no call.
        wait_until("strace is attached", SOON, || {
            let told = fs::read_to_string(&told).unwrap();
            let ended = strace.tracer.try_wait().unwrap();
            assert!(ended.is_none(), "strace ended: {told}");
            told.contains(" attached")
        });
        strace
    }

    /// Lets the process go, and returns the calls that it made meanwhile.
    pub fn detach(mut self) -> Vec<Call> {
        self.end();
        read(&self.directory.path().join(LOG))
    }

    fn end(&mut self) {
        if let Ok(None) = self.tracer.try_wait() {
            // It detaches on this signal.
            kill_process(Pid::from_child(&self.tracer), Signal::TERM).unwrap();
            let ended = try_poll(SOON, || self.tracer.try_wait().unwrap());
            assert!(ended.is_some(), "strace did not end");
        }
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        self.end();
    }
}

/// The command to start a process with, as [`crate::launch::Launch::wrapper`] wants it. The process is the
/// parent of its tracer, so that signals reach it, and the calls are in `log` when it has ended.
pub fn wrapper(log: &Path, fault: Option<Fault>) -> Vec<String> {
    let command = command(log, fault);
    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args());
    let mut words: Vec<_> = words
        .map(|word| word.to_str().unwrap().to_owned())
        .collect();
    words.push("--daemonize".to_owned());
    words
}

/// The calls of a process that was started with [`wrapper`] and has ended.
fn calls_until_end(log: &Path) -> Vec<Call> {
    poll_for("strace has written all", SOON, || {
        let text = fs::read_to_string(log).ok()?;
        let last = text.lines().last()?;
        last.contains("+++").then(|| read(log))
    })
}

/// The calls that the exporter makes from its start on until it is stopped, of its first thread, and what it complained
/// of.
pub fn calls_of_a_start() -> (Vec<Call>, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join(LOG);
    let exporter = Exporter::launch().wrapper(&wrapper(&log, None)).start();
    let (main, complaints) = (exporter.pid(), exporter.complaints());
    assert_eq!(exporter.stop().code, Some(0));
    let mut calls = calls_until_end(&log);
    calls.retain(|call| call.thread == main);
    (calls, complaints)
}

const LOG: &str = "calls";

fn command(log: &Path, fault: Option<Fault>) -> Command {
    let mut command = tracer(log, fault.map_or("bpf", |fault| fault.call));
    command.args(fault.map(|fault| fault.argument()));
    command
}

fn tracer(log: &Path, call: &str) -> Command {
    let mut command = Command::new("strace");
    command.args(["--follow-forks", &format!("--trace={call}"), "--output"]);
    command.arg(log);
    command
}

fn read(log: &Path) -> Vec<Call> {
    let text = fs::read_to_string(log).unwrap();
    text.lines().filter_map(parse).collect()
}

/// A line such as `17 bpf(BPF_MAP_UPDATE_ELEM, {map_fd=12, ...}, 32) = -1 ENOMEM (...) (INJECTED)`.
fn parse(line: &str) -> Option<Call> {
    let (thread, call) = line.split_once(' ')?;
    let text = call.trim_start().strip_prefix("bpf(")?;
    Some(Call {
        thread: thread.parse().ok()?,
        text: text.to_owned(),
        injected: line.ends_with("(INJECTED)"),
    })
}
