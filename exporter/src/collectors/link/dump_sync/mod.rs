//! Keeping in step with rtnetlink(7): dumps among notifications, and when to ask again. Pure.
//!
//! The kernel builds both, notifications and the parts of a dump, under the RTNL lock and queues
//! them in that order, so what comes later is newer (`net/core/rtnetlink.c`,
//! `net/netlink/af_netlink.c`).

use std::time::{Duration, Instant};

use super::{
    losses::Loss,
    message::{Content, LinkMessage, messages},
};

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

/// How long changes may be missing before all that is known is taken for old. A dump takes
/// milliseconds, unless somebody holds the RTNL lock or links come and go all the time.
const MISSING: Duration = Duration::from_secs(10);

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
    /// Something was lost. A dump, that is already due, makes it good.
    Lost(Loss, String),
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
    /// Since when changes are missing.
    missing_since: Option<Instant>,
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
            missing_since: None,
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

    /// When [`DumpSync::request`], [`DumpSync::is_stuck`] or [`DumpSync::is_outdated`] may have
    /// something to say, if nothing comes before.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let dump = match &self.dump {
            Some(dump) => Some(dump.heard + PATIENCE),
            None => self.ask_at,
        };
        let outdated = self.missing_since.map(|since| since + MISSING);
        let outdated = outdated.filter(|&at| at > now);
        [dump, outdated].into_iter().flatten().min()
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

    /// Whether changes are missing, and no dump has made that good for long.
    pub fn is_outdated(&self, now: Instant) -> bool {
        let is_long = |since| now.saturating_duration_since(since) >= MISSING;
        self.missing_since.is_some_and(is_long)
    }

    /// The socket was read empty.
    pub fn drained(&mut self) {
        self.congested = false;
    }

    /// Something was lost: asks again when the socket was read empty and after a pause, that is
    /// longer each time until all was well for a while. It may be missing from a dump that runs.
    pub fn lost(&mut self, loss: Loss, now: Instant) {
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
        if loss.hides_changes() {
            self.missing_since.get_or_insert(now);
        }
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
                Err(malformed) => {
                    self.lose(Loss::Malformed, malformed.to_string(), now, &mut steps);
                }
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
            let why = "links came or went in a dump".to_owned();
            self.lose(Loss::InterruptedDump, why, now, steps);
        }
    }

    fn end(&mut self, error: i32, now: Instant, steps: &mut Vec<Step>) {
        if self.dump.is_some() && error != 0 {
            let error = std::io::Error::from_raw_os_error(error.saturating_neg());
            let why = format!("the kernel refuses a dump: {error}");
            self.lose(Loss::RefusedDump, why, now, steps);
        }
        let Some(Dump { incomplete, .. }) = self.dump.take() else {
            return;
        };
        if !incomplete {
            self.missing_since = None;
        }
        steps.push(Step::DumpEnds { incomplete });
    }

    fn lose(&mut self, loss: Loss, why: String, now: Instant, steps: &mut Vec<Step>) {
        self.lost(loss, now);
        steps.push(Step::Lost(loss, why));
    }
}

#[cfg(test)]
mod tests;
