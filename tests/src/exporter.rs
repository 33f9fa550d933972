//! The exporter as users run it: a process of its own, watched through its log, its exit code and HTTP.

use std::fs;
use std::net::SocketAddr;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::http::{self, Response};
use crate::launch::{Launch, inside};
use crate::metrics::Metrics;
use crate::netns::Handle;
use crate::process::{Ended, Process};

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

    /// What it has written to standard error so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The lines of the log with level WARN or ERROR.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.log();
        let complaint = |line: &&str| line.contains("WARN") || line.contains("ERROR");
        log.lines().filter(complaint).map(str::to_owned).collect()
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

/// The resident memory of a process in KiB.
pub fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = resident.and_then(|value| value.trim().strip_suffix(" kB"));
    number.unwrap().parse().unwrap()
}
