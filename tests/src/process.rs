//! A child process whose log is collected, and which never outlives the test.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::wait::{SOON, try_poll};

/// The child and the thread that collects its standard error; killed on drop. Its log is printed when the
/// test fails.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) child: Child,
    what: &'static str,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

/// What a process left that ended by itself.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` when a signal killed it.
    pub code: Option<i32>,
    /// Its standard error.
    pub log: String,
}

impl Process {
    /// Starts `what`, as messages call it.
    pub(crate) fn spawn(what: &'static str, mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Mutex::new(String::new()));
        let filled = Arc::clone(&log);
        let reader = thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut log = filled.lock().unwrap_or_else(PoisonError::into_inner);
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self {
            child,
            what,
            log,
            reader: Some(reader),
        }
    }

    /// What it has written to standard error so far.
    pub(crate) fn log(&self) -> String {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Does something while nobody reads its standard error. [`Process::log`] must wait until then.
    pub(crate) fn unread<T>(&self, work: impl FnOnce() -> T) -> T {
        // The reader wants to add the next line.
        let _log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        work()
    }

    /// Waits for the end of the process and of its log.
    pub(crate) fn end(&mut self) -> Ended {
        let ended = try_poll(SOON, || self.child.try_wait().unwrap());
        let status: ExitStatus =
            ended.unwrap_or_else(|| panic!("{} did not end within {SOON:?}", self.what));
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        Ended {
            code: status.code(),
            log: self.log(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait()
            && let Err(error) = self.child.kill().and_then(|()| self.child.wait())
        {
            eprintln!("cannot kill {}: {error}", self.what);
        }
        if thread::panicking() {
            eprintln!("--- log of {} ---\n{}---", self.what, self.log());
        }
    }
}
