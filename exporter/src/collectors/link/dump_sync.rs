//! Keeping in step with rtnetlink(7): dumps among notifications, and when to ask again. Pure.
//!
//! The kernel builds both, notifications and the parts of a dump, under the RTNL lock and queues
//! them in that order, so what comes later is newer (`net/core/rtnetlink.c`,
//! `net/netlink/af_netlink.c`).

use std::time::{Duration, Instant};

use super::message::{Content, LinkMessage, messages};

/// The first pause before asking again. A burst of changes that overran the socket is mostly over by
/// then.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// The longest one. A dump holds the RTNL lock for some milliseconds with 500 links, so even a host
/// that loses notifications without end spends less than 1 % on it.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long all must be well for the pauses to be short again.
const CALM: Duration = Duration::from_secs(10);

/// How long the kernel may take from one part of a dump to the next before the socket is given up.
/// Whoever holds the RTNL lock for so long stops all configuration of the network.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a datagram asks its reader to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A dump begins.
    DumpBegins,
    /// A link has news.
    Link(LinkMessage),
    /// The dump has ended; it may lack devices if it is incomplete.
    DumpEnds {
        /// Devices came or went meanwhile, something was lost, or the kernel gave up.
        incomplete: bool,
    },
    /// Something was lost; this is why. A dump, that is already due, makes it good.
    Lost(String),
}

/// What one socket is waiting for.
#[derive(Debug)]
pub struct DumpSync {
    /// Of the socket.
    port: u32,
    /// Of the last request.
    seq: u32,
    dump: Option<Dump>,
    pause: Duration,
    /// When to ask for a dump.
    ask_at: Option<Instant>,
    /// Whether the kernel may still be dropping notifications. After an overrun it does, and reports
    /// none of them, until the socket was read empty (`NETLINK_S_CONGESTED`: `netlink_overrun`,
    /// `netlink_rcv_wake`). They can be newer than a dump that is made before.
    congested: bool,
    last_trouble: Option<Instant>,
}

#[derive(Debug)]
struct Dump {
    begun: bool,
    incomplete: bool,
    /// When there was a sign of life.
    heard: Instant,
}

impl DumpSync {
    /// For a socket with this port id, to begin with a dump now.
    pub fn new(port: u32, now: Instant) -> Self {
        Self {
            port,
            seq: 0,
            dump: None,
            pause: SHORTEST_PAUSE,
            ask_at: Some(now),
            congested: false,
            last_trouble: None,
        }
    }

    /// The socket was replaced by one with this port id.
    pub fn reconnect(&mut self, port: u32) {
        self.port = port;
        self.dump = None;
        self.congested = false;
    }

    /// The sequence number of the request to send now, if one is due. One dump at a time: the
    /// kernel refuses another one with EBUSY.
    pub fn request(&mut self, now: Instant) -> Option<u32> {
        let is_due = self.ask_at.is_some_and(|at| now >= at);
        if self.dump.is_some() || self.congested || !is_due {
            return None;
        }
        self.ask_at = None;
        self.seq = self.seq.wrapping_add(1);
        self.dump = Some(Dump {
            begun: false,
            incomplete: false,
            heard: now,
        });
        Some(self.seq)
    }

    /// When [`DumpSync::request`] or [`DumpSync::is_stuck`] may have something to say, if nothing
    /// comes before.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.dump {
            Some(dump) => Some(dump.heard + PATIENCE),
            None => self.ask_at,
        }
    }

    /// Whether a dump has stopped without an end.
    pub fn is_stuck(&self, now: Instant) -> bool {
        let silence = |dump: &Dump| now.saturating_duration_since(dump.heard);
        self.dump
            .as_ref()
            .is_some_and(|dump| silence(dump) >= PATIENCE)
    }

    /// Whether the table is what the kernel said last, with nothing missing.
    pub fn is_synchronised(&self) -> bool {
        self.dump.is_none() && self.ask_at.is_none()
    }

    /// The socket was read empty.
    pub fn drained(&mut self) {
        self.congested = false;
    }

    /// Something was lost: asks again when the socket was read empty and after a pause, that is
    /// longer each time until all was well for a while. It may be missing from a dump that runs.
    pub fn lost(&mut self, now: Instant) {
        let calm = |last| now.saturating_duration_since(last) >= CALM;
        self.pause = match self.last_trouble {
            // One dump makes good all that was lost before it.
            Some(_) if self.ask_at.is_some() => self.pause,
            Some(last) if !calm(last) => (self.pause * 2).min(LONGEST_PAUSE),
            _ => SHORTEST_PAUSE,
        };
        self.last_trouble = Some(now);
        self.ask_at.get_or_insert(now + self.pause);
        self.congested = true;
        if let Some(dump) = &mut self.dump {
            dump.incomplete = true;
        }
    }

    /// Takes what the kernel sent.
    pub fn datagram(&mut self, datagram: &[u8], now: Instant) -> Vec<Step> {
        let mut steps = Vec::new();
        for message in messages(datagram) {
            match message {
                Ok(message) => {
                    let is_ours = message.port == self.port && message.seq == self.seq;
                    if is_ours && (message.is_part || matches!(message.content, Content::End(_))) {
                        self.part(message.is_interrupted, now, &mut steps);
                    }
                    match message.content {
                        Content::Link(link) => steps.push(Step::Link(link)),
                        Content::End(error) if is_ours => self.end(error, now, &mut steps),
                        Content::End(_) | Content::Other => {}
                    }
                }
                Err(malformed) => self.lose(malformed.to_string(), now, &mut steps),
            }
        }
        steps
    }

    fn part(&mut self, is_interrupted: bool, now: Instant, steps: &mut Vec<Step>) {
        let Some(dump) = &mut self.dump else { return };
        dump.heard = now;
        // Only now: notifications that were queued before the dump are older than it.
        if !dump.begun {
            dump.begun = true;
            steps.push(Step::DumpBegins);
        }
        if is_interrupted && !dump.incomplete {
            self.lose("links came or went in a dump".to_owned(), now, steps);
        }
    }

    fn end(&mut self, error: i32, now: Instant, steps: &mut Vec<Step>) {
        if self.dump.is_some() && error != 0 {
            let error = std::io::Error::from_raw_os_error(error.saturating_neg());
            self.lose(format!("the kernel refuses a dump: {error}"), now, steps);
        }
        steps.extend(self.dump.take().map(|dump| Step::DumpEnds {
            incomplete: dump.incomplete,
        }));
    }

    fn lose(&mut self, why: String, now: Instant, steps: &mut Vec<Step>) {
        self.lost(now);
        steps.push(Step::Lost(why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::IfIndex;

    const PORT: u32 = 4711;
    const MULTI: u16 = 2;
    const MULTI_INTERRUPTED: u16 = 2 | 0x10;
    const DELLINK: u16 = 17;
    const ERROR: u16 = 2;
    const DONE: u16 = 3;

    /// A message of the kernel with 16 bytes: for RTM_DELLINK that is link 2, for the others their
    /// number is `first`.
    fn message(kind: u16, flags: u16, (port, seq): (u32, u32), first: i32) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(32_u32.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(seq.to_ne_bytes());
        bytes.extend(port.to_ne_bytes());
        bytes.extend(first.to_ne_bytes());
        bytes.extend(2_i32.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes
    }

    fn asked(now: Instant) -> DumpSync {
        let mut dump_sync = DumpSync::new(PORT, now);
        assert_eq!(dump_sync.request(now), Some(1));
        dump_sync
    }

    fn gone() -> Step {
        Step::Link(LinkMessage::Gone(IfIndex(2)))
    }

    #[test]
    fn notifications_from_before_the_dump_are_not_of_it() {
        let now = Instant::now();
        let mut dump_sync = asked(now);
        let notification = message(DELLINK, 0, (0, 0), 0);
        let part = message(DELLINK, MULTI, (PORT, 1), 0);
        let end = message(DONE, MULTI, (PORT, 1), 0);
        assert_eq!(dump_sync.datagram(&notification, now), [gone()]);
        assert_eq!(
            dump_sync.datagram(&[part, notification].concat(), now),
            [Step::DumpBegins, gone(), gone()]
        );
        assert!(!dump_sync.is_synchronised());
        let end = dump_sync.datagram(&end, now);
        assert_eq!(end, [Step::DumpEnds { incomplete: false }]);
        assert!(dump_sync.is_synchronised());
    }

    #[test]
    fn the_dump_of_another_process_is_not_ours() {
        let now = Instant::now();
        let mut dump_sync = asked(now);
        for of in [(PORT + 1, 1), (PORT, 7)] {
            assert_eq!(dump_sync.datagram(&message(DONE, MULTI, of, 0), now), []);
        }
        assert!(!dump_sync.is_synchronised());
    }

    #[test]
    fn an_interrupted_dump_is_incomplete_and_asked_for_again() {
        let now = Instant::now();
        let mut dump_sync = asked(now);
        let part = message(DELLINK, MULTI_INTERRUPTED, (PORT, 1), 0);
        let steps = dump_sync.datagram(&part, now);
        assert!(matches!(steps[..], [_, Step::Lost(_), Step::Link(_)]));
        // Every part says so from then on.
        assert_eq!(dump_sync.datagram(&part, now), [gone()]);
        let end = dump_sync.datagram(&message(DONE, MULTI, (PORT, 1), 0), now);
        assert_eq!(end, [Step::DumpEnds { incomplete: true }]);
        dump_sync.drained();
        assert_eq!(dump_sync.request(now), None);
        assert_eq!(dump_sync.request(now + SHORTEST_PAUSE), Some(2));
    }

    #[test]
    fn a_refused_dump_is_asked_for_again() {
        let now = Instant::now();
        let mut dump_sync = asked(now);
        let busy = message(ERROR, 0, (PORT, 1), -16);
        let steps = dump_sync.datagram(&busy, now);
        assert!(matches!(&steps[1], Step::Lost(why) if why.contains("busy")));
        assert_eq!(steps[2], Step::DumpEnds { incomplete: true });
        dump_sync.drained();
        assert_eq!(dump_sync.request(now + SHORTEST_PAUSE), Some(2));
    }

    #[test]
    fn a_dump_waits_until_the_socket_was_read_empty() {
        let now = Instant::now();
        let mut dump_sync = asked(now);
        dump_sync.datagram(&message(DONE, MULTI, (PORT, 1), 0), now);
        dump_sync.lost(now);
        let later = now + LONGEST_PAUSE;
        assert_eq!(dump_sync.request(later), None);
        dump_sync.datagram(&message(DELLINK, 0, (0, 0), 0), later);
        assert_eq!(dump_sync.request(later), None);
        dump_sync.drained();
        assert_eq!(dump_sync.request(later), Some(2));
        // A new socket is empty.
        dump_sync.lost(later);
        dump_sync.reconnect(PORT);
        assert_eq!(dump_sync.request(later + LONGEST_PAUSE), Some(3));
    }

    #[test]
    fn a_dump_in_which_something_was_lost_is_incomplete_and_asked_for_again() {
        let now = Instant::now();
        let mut dump_sync = asked(now);
        dump_sync.lost(now);
        let end = dump_sync.datagram(&message(DONE, MULTI, (PORT, 1), 0), now);
        assert_eq!(end.last(), Some(&Step::DumpEnds { incomplete: true }));
        dump_sync.drained();
        assert_eq!(dump_sync.request(now + SHORTEST_PAUSE), Some(2));
    }

    #[test]
    fn a_dump_with_a_part_that_cannot_be_read_is_incomplete_and_asked_for_again() {
        let now = Instant::now();
        let mut dump_sync = asked(now);
        let mut part = message(DELLINK, MULTI, (PORT, 1), 0);
        // No link has index 0.
        part[20..24].fill(0);
        let end = message(DONE, MULTI, (PORT, 1), 0);
        let steps = dump_sync.datagram(&[part, end].concat(), now);
        assert!(matches!(steps[0], Step::Lost(_)));
        assert_eq!(steps.last(), Some(&Step::DumpEnds { incomplete: true }));
        dump_sync.drained();
        assert_eq!(dump_sync.request(now + SHORTEST_PAUSE), Some(2));
    }

    #[test]
    fn pauses_grow_to_a_bound_and_shrink_when_all_was_well() {
        let mut now = Instant::now();
        let mut dump_sync = DumpSync::new(PORT, now);
        let mut pauses = Vec::new();
        for _ in 0..10 {
            let seq = loop {
                match dump_sync.request(now) {
                    Some(seq) => break seq,
                    None => now = dump_sync.deadline().unwrap(),
                }
            };
            dump_sync.datagram(&message(DONE, MULTI, (PORT, seq), 0), now);
            dump_sync.lost(now);
            dump_sync.lost(now);
            dump_sync.drained();
            pauses.push(dump_sync.deadline().unwrap() - now);
        }
        assert_eq!(pauses[0], SHORTEST_PAUSE);
        assert!(pauses.is_sorted());
        assert_eq!(pauses[9], LONGEST_PAUSE);

        now += LONGEST_PAUSE;
        let seq = dump_sync.request(now).unwrap();
        dump_sync.datagram(&message(DONE, MULTI, (PORT, seq), 0), now);
        now += CALM;
        dump_sync.lost(now);
        assert_eq!(dump_sync.deadline(), Some(now + SHORTEST_PAUSE));
    }

    #[test]
    fn a_dump_without_end_is_noticed() {
        let now = Instant::now();
        let mut dump_sync = asked(now);
        assert!(!dump_sync.is_stuck(now));
        assert!(dump_sync.is_stuck(now + PATIENCE));
        dump_sync.reconnect(PORT);
        assert!(!dump_sync.is_stuck(now + PATIENCE));
    }
}
