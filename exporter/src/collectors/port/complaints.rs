//! What the log is told of ports that cannot be read: when that begins and when it ends, and no more
//! than once an hour of one that fails now and then. Pure.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use crate::devices::IfIndex;

/// How long nothing more is said of a port after a warning about it.
const QUIET: Duration = Duration::from_secs(3600);

/// The ports that failed.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    ports: HashMap<IfIndex, Failing>,
    /// Those that were away when they were asked last.
    away: HashSet<IfIndex>,
}

#[derive(Debug)]
struct Failing {
    warned: Instant,
    /// Whether its recovery is still to be told.
    is_open: bool,
}

impl Complaints {
    /// These are the ports that there are.
    pub(super) fn set_ports(&mut self, ports: &[IfIndex]) {
        let ports: HashSet<_> = ports.iter().collect();
        self.ports.retain(|port, _| ports.contains(port));
        self.away.retain(|port| ports.contains(port));
    }

    /// A port answered with an error. Returns whether to warn.
    pub(super) fn failed(&mut self, port: IfIndex, now: Instant) -> bool {
        let is_recent = |failing: &Failing| now.saturating_duration_since(failing.warned) < QUIET;
        if self.ports.get(&port).is_some_and(is_recent) {
            return false;
        }
        let failing = Failing {
            warned: now,
            is_open: true,
        };
        // One that fails for longer has its warning.
        let before = self.ports.insert(port, failing);
        !before.is_some_and(|before| before.is_open)
    }

    /// A port was not there. It has mostly just gone, and the collector `link` says so; one that is
    /// still there when it is read again is detached from its driver. Returns whether to warn.
    pub(super) fn is_away(&mut self, port: IfIndex, now: Instant) -> bool {
        !self.away.insert(port) && self.failed(port, now)
    }

    /// A port was read without an error. Returns whether that is to be told.
    pub(super) fn works(&mut self, port: IfIndex) -> bool {
        self.away.remove(&port);
        let failing = self.ports.get_mut(&port);
        failing.is_some_and(|failing| std::mem::take(&mut failing.is_open))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: IfIndex = IfIndex(2);

    #[test]
    fn a_port_that_fails_is_one_warning_and_its_recovery_is_told() {
        let now = Instant::now();
        let mut complaints = Complaints::default();
        assert!(!complaints.works(PORT));
        assert!(complaints.failed(PORT, now));
        // For hours.
        assert!(!complaints.failed(PORT, now + QUIET / 2));
        assert!(!complaints.failed(PORT, now + 2 * QUIET));
        assert!(complaints.works(PORT));
        assert!(!complaints.works(PORT));
    }

    #[test]
    fn a_port_that_fails_now_and_then_is_two_lines_an_hour() {
        let start = Instant::now();
        let mut complaints = Complaints::default();
        let mut lines = 0;
        for round in 0..240 {
            let now = start + 2 * round * Duration::from_secs(15);
            lines += u32::from(complaints.failed(PORT, now));
            lines += u32::from(complaints.works(PORT));
        }
        assert_eq!(lines, 2 * 2, "in two hours");
    }

    #[test]
    fn a_port_that_has_gone_is_no_news_and_one_that_is_detached_is() {
        let now = Instant::now();
        let mut complaints = Complaints::default();
        assert!(!complaints.is_away(PORT, now));
        complaints.set_ports(&[]);
        assert!(!complaints.is_away(PORT, now));
        assert!(
            complaints.is_away(PORT, now),
            "it is there and cannot be asked"
        );
        assert!(!complaints.is_away(PORT, now));
        assert!(complaints.works(PORT));
    }
}
