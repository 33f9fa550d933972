//! The exporter's end of the helper: a process that may read modules, and nothing else.
//!
//! The kernel wants CAP_NET_ADMIN of who opened the socket and of who sends, so a socket that was opened
//! before capabilities are given up is of no use.

use std::{
    fmt,
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::{AsFd, BorrowedFd, OwnedFd},
    io::{Errno, retry_on_intr},
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair},
    thread::CapabilitySet,
};

use crate::{
    collectors::optics::module::HalfPage,
    devices::IfIndex,
    privileges::{self, Privileged},
};

pub mod filter;
mod process;
mod sys;
pub mod wire;

pub use process::run;
use wire::{Answer, Question};

/// The command of the exporter that is the helper.
pub const COMMAND: &str = "optics-helper";

/// This program, also when another one has taken its path.
const PROGRAM: &str = "/proc/self/exe";

/// How long the helper may take to start, to answer (a driver that hangs may take longer), and to be gone
/// after it has closed its end.
const START: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(10);
const END: Duration = Duration::from_secs(1);

/// Answers that nobody waits for and that are taken at once. There is one, unless somebody has taken the
/// helper over.
const STRAY_ANSWERS: usize = 16;

/// The helper, as long as it runs.
#[derive(Debug)]
pub struct Helper {
    socket: OwnedFd,
    child: Child,
    seq: u32,
    /// The question whose answer is still to come.
    outstanding: Option<u32>,
}

/// Why half a page was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The kernel, or the driver, refuses.
    #[error("{}", std::io::Error::from(*.0))]
    Refused(Errno),
    /// The helper does not answer: a driver hangs, or somebody stopped it.
    #[error("the helper does not answer")]
    Silent,
    /// The helper is gone.
    #[error("the helper ended ({0})")]
    Ended(End),
}

/// How the helper ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End(Option<ExitStatus>);

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(status) = self.0 else {
            return write!(f, "it closed its socket");
        };
        match status.signal() {
            Some(libc::SIGSYS) => write!(f, "killed for a system call that it must not make"),
            Some(signal) => write!(f, "killed by signal {signal}"),
            None => write!(f, "exit status {}", status.code().unwrap_or_default()),
        }
    }
}

impl Helper {
    /// Starts it. This thread must have its privileges, and not be confined yet.
    ///
    /// # Errors
    ///
    /// What is missing, and how to get it.
    pub fn start(_: &Privileged) -> anyhow::Result<Self> {
        ensure!(
            privileges::has(CapabilitySet::NET_ADMIN),
            "CAP_NET_ADMIN is missing (run as root, or grant it: packaging/README.md#optics has a drop-in for \
             systemd and a patch for Kubernetes)"
        );
        let (socket, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .context("make a pair of sockets")?;
        let child = Command::new(PROGRAM)
            .arg0(env!("CARGO_PKG_NAME"))
            .arg(COMMAND)
            .env_clear()
            .stdin(theirs)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start the helper")?;
        let mut helper = Self {
            socket,
            child,
            seq: 0,
            outstanding: None,
        };
        helper.hear_hello().context("start the helper")?;
        Ok(helper)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn hear_hello(&mut self) -> anyhow::Result<()> {
        ensure!(self.wait(START)?, "it says nothing");
        let mut text = [0; 512];
        let (_, len) = retry_on_intr(|| recv(&self.socket, &mut text, RecvFlags::empty()))?;
        match &text[..len] {
            [] => bail!("{}", self.end()),
            b"\n" => Ok(()),
            trouble => bail!("{}", String::from_utf8_lossy(trouble).trim_end()),
        }
    }

    /// Reads half a page of the module in a port. Blocks as long as the driver takes, which holds the RTNL
    /// lock meanwhile.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn read(&mut self, port: IfIndex, half: HalfPage) -> Result<Vec<u8>, ReadError> {
        // What was given up may have come in the meantime. If not, another question would only queue up.
        while self.outstanding.is_some() {
            if !self.is_readable(Duration::ZERO)? {
                return Err(ReadError::Silent);
            }
            self.receive()?;
        }
        self.seq = self.seq.wrapping_add(1);
        let question = Question {
            seq: self.seq,
            port,
            half,
        };
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let sent = retry_on_intr(|| send(&self.socket, &question.to_bytes(), flags));
        if sent.is_err() {
            return Err(self.gone());
        }
        self.outstanding = Some(self.seq);
        let deadline = Instant::now() + ANSWER;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if !self.is_readable(left)? {
                return Err(ReadError::Silent);
            }
            if let Some(answer) = self.receive()?
                && answer.seq == self.seq
            {
                return answer.bytes.map_err(ReadError::Refused);
            }
        }
    }

    /// Takes what nobody waits for. Returns how it ended, if it is gone.
    pub fn look(&mut self) -> Option<End> {
        for _ in 0..STRAY_ANSWERS {
            match self.receive() {
                Ok(Some(_)) => {}
                Err(ReadError::Ended(end)) => return Some(end),
                _ => break,
            }
        }
        None
    }

    fn is_readable(&mut self, patience: Duration) -> Result<bool, ReadError> {
        match self.wait(patience) {
            Ok(readable) => Ok(readable),
            Err(_) => Err(self.gone()),
        }
    }

    fn wait(&self, patience: Duration) -> anyhow::Result<bool> {
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        let patience = Timespec::try_from(patience)?;
        Ok(retry_on_intr(|| poll(&mut fds, Some(&patience)))? > 0)
    }

    /// An answer, unless it is rubbish.
    fn receive(&mut self) -> Result<Option<Answer>, ReadError> {
        let mut message = [0; Answer::SIZE + 1];
        let received = retry_on_intr(|| recv(&self.socket, &mut message, RecvFlags::DONTWAIT));
        match received {
            Ok((_, len @ 1..)) => {
                let answer = Answer::from_bytes(&message[..len]);
                if answer.as_ref().map(|answer| answer.seq) == self.outstanding {
                    self.outstanding = None;
                }
                Ok(answer)
            }
            Err(Errno::AGAIN) => Ok(None),
            _ => Err(self.gone()),
        }
    }

    fn gone(&mut self) -> ReadError {
        ReadError::Ended(self.end())
    }

    /// How it ended. It cannot be waited for without end: it is not trusted to be gone.
    fn end(&mut self) -> End {
        let deadline = Instant::now() + END;
        loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < deadline => thread::sleep(END / 50),
                Ok(status) => return End(status),
                Err(_) => return End(None),
            }
        }
    }
}

impl AsFd for Helper {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
