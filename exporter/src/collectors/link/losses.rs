//! Why the table of links may lack something, and how often it was so.

use std::sync::atomic::{AtomicU64, Ordering};

/// What made another dump of all links necessary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The kernel had more notifications than the socket's buffer could take (ENOBUFS).
    Overrun,
    /// Devices came or went while the kernel listed them (NLM_F_DUMP_INTR), so it may have left some
    /// out. Their notifications are there.
    InterruptedDump,
    /// A message that cannot be read.
    Malformed,
    /// The kernel refused a dump.
    RefusedDump,
    /// The socket is of no more use.
    SocketError,
    /// A message was longer than the reader's buffer.
    Truncated,
}

impl Loss {
    /// All but the overruns, which have a metric of their own; sorted by label.
    pub const ERRORS: [Self; 5] = [
        Self::InterruptedDump,
        Self::Malformed,
        Self::RefusedDump,
        Self::SocketError,
        Self::Truncated,
    ];

    /// The value of the label `cause`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Overrun => "overrun",
            Self::InterruptedDump => "interrupted_dump",
            Self::Malformed => "malformed",
            Self::RefusedDump => "refused_dump",
            Self::SocketError => "socket_error",
            Self::Truncated => "truncated",
        }
    }

    /// Whether notifications are missing, and not only a part of a dump.
    pub fn hides_changes(self) -> bool {
        !matches!(self, Self::InterruptedDump | Self::RefusedDump)
    }
}

/// How often each happened.
#[derive(Debug, Default)]
pub(super) struct Losses([AtomicU64; Loss::ERRORS.len() + 1]);

impl Losses {
    pub(super) fn count(&self, loss: Loss) {
        self.0[loss as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn get(&self, loss: Loss) -> u64 {
        self.0[loss as usize].load(Ordering::Relaxed)
    }

    /// Grows with each of them.
    pub(super) fn sum(&self) -> u64 {
        self.0
            .iter()
            .map(|times| times.load(Ordering::Relaxed))
            .sum()
    }
}
