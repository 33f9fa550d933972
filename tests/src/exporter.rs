//! The exporter as users run it: a process of its own, watched through its log, its exit code and HTTP.

use std::fs;
use std::marker::PhantomData;
use std::net::SocketAddr;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;

use crate::http::{self, Response};
use crate::launch::{Launch, inside};
use crate::metrics::Metrics;
use crate::netns::Handle;
use crate::process::{Ended, Process};
use crate::wait::{SOON, poll_for, try_poll};

/// The exporter's answer to the signal that [`Exporter::log`] sends (`exporter/src/signals.rs`).
const ANSWER: &str = "ignoring SIGUSR2: ";

/// A running exporter that answers requests; killed on drop. Its log is printed when the test fails.
#[derive(Debug)]
pub struct Exporter {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    pub(crate) namespace: Option<Handle>,
    // Where the binary is, if it had to be copied.
    pub(crate) _copy: Option<TempDir>,
}

impl Exporter {
    /// Starts the exporter in this namespace with these flags, on a free port of 127.0.0.1.
    pub fn start(arguments: &[&str]) -> Self {
        Self::launch().arguments(arguments).start()
    }

    /// For everything that [`Exporter::start`] does not offer.
    pub fn launch() -> Launch {
        Launch::default()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// Its resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        resident_kib(self.pid())
    }

    /// All that it has logged by now.
    ///
    /// A thread of its own writes the log, so the last lines may still be on their way. They are here once a signal
    /// that it answers with a line is answered; those answers are left out. It takes a log level of info or more.
    pub fn log(&self) -> String {
        let answers = |log: &str| log.matches(ANSWER).count();
        let before = answers(&self.log_so_far());
        kill_process(Pid::from_child(&self.process.child), Signal::USR2).unwrap();
        let log = poll_for("the exporter has written its log", SOON, || {
            Some(self.log_so_far()).filter(|log| answers(log) > before)
        });
        let lines = log.split_inclusive('\n');
        lines.filter(|line| !line.contains(ANSWER)).collect()
    }

    /// What it has written to standard error so far, without waiting for what it is about to write.
    pub fn log_so_far(&self) -> String {
        self.process.log()
    }

    /// Does something while nobody reads its standard error, so without asking for its log.
    pub fn with_unread_log<T>(&self, work: impl FnOnce() -> T) -> T {
        self.process.unread(work)
    }

    /// Waits until a line of the log has these words, and returns the log.
    pub fn wait_for_log(&self, words: &str) -> String {
        poll_for(&format!("the log says {words:?}"), SOON, || {
            Some(self.log()).filter(|log| log.contains(words))
        })
    }

    /// The lines with level WARN or ERROR of all that it has logged by now.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.log();
        let complaint = |line: &&str| line.contains("WARN") || line.contains("ERROR");
        log.lines().filter(complaint).map(str::to_owned).collect()
    }

    /// Waits until there are so many of them, and asserts that there are no more.
    pub fn complaints_of(&self, number: usize) -> Vec<String> {
        // A miss shows below, with the lines.
        let enough = || Some(self.complaints()).filter(|lines| lines.len() >= number);
        let complaints = try_poll(SOON, enough).unwrap_or_else(|| self.complaints());
        assert_eq!(complaints.len(), number, "{complaints:#?}");
        complaints
    }

    /// Waits for the only one of them, and asserts that it has all these words.
    pub fn complained_once(&self, words: &[&str]) {
        let complaints = self.complaints_of(1);
        for word in words {
            assert!(complaints[0].contains(word), "no {word:?}: {complaints:?}");
        }
    }

    /// One scrape, read strictly.
    pub fn scrape(&self) -> Metrics {
        Metrics::parse(&self.scrape_text())
    }

    /// One scrape as text.
    pub fn scrape_text(&self) -> String {
        let response = self.get("/metrics");
        assert_eq!(response.status, 200, "{}", response.text());
        response.text()
    }

    /// GET, from inside the exporter's namespace.
    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[])
    }

    /// Any request, from inside the exporter's namespace.
    pub fn request(&self, method: &str, path: &str, headers: &[&str]) -> Response {
        inside(self.namespace.as_ref(), || {
            http::request(self.address, method, path, headers)
        })
    }

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

    /// Sends SIGTERM and waits for the end.
    pub fn stop(self) -> Ended {
        self.stop_by(Signal::TERM)
    }

    /// Sends a signal and waits for the end.
    pub fn stop_by(mut self, signal: Signal) -> Ended {
        let pid = Pid::from_child(&self.process.child);
        kill_process(pid, signal).unwrap();
        self.process.end()
    }
}

/// All threads of the exporter are stopped; they go on when this is dropped. The BPF program counts all the
/// time.
#[derive(Debug)]
pub struct Paused<'a> {
    pid: Pid,
    // A process that has ended has no number any more.
    _exporter: PhantomData<&'a Exporter>,
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        if let Err(error) = kill_process(self.pid, Signal::CONT) {
            eprintln!("cannot let the exporter go on: {error}");
        }
    }
}

/// The resident memory of a process in KiB.
pub fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = resident.and_then(|value| value.trim().strip_suffix(" kB"));
    number.unwrap().parse().unwrap()
}
