//! Who has a connection, and who loses one. Knows neither sockets nor clocks.

use std::collections::{BTreeMap, HashMap};
use std::iter;
use std::time::{Duration, Instant};

use super::Peer;

/// Two scrapers of one host, whatever the size of a page.
const ALWAYS_ALLOWED_BODIES: usize = 2;

/// How much there may be at a time.
#[derive(Clone, Copy, Debug)]
pub(in crate::web) struct Bounds {
    /// Open connections.
    pub(in crate::web) connections: usize,
    /// Bytes of distinct response bodies on their way to clients, if these are more than
    /// [`ALWAYS_ALLOWED_BODIES`].
    pub(in crate::web) body_bytes: usize,
    /// From when a response is ready until the client's kernel has it.
    pub(in crate::web) response: Duration,
}

/// A connection, for as long as it is in the table; older ones are less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id(u64);

/// The memory of a response body. Equal ones are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) address: usize,
    pub(super) bytes: usize,
}

/// Why a connection was evicted, and whose it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Eviction {
    /// All places were taken, so many of them by the peer.
    Place { peer: Peer, held: usize },
    /// The bodies under way were too large, those to the peer this large.
    Bytes { peer: Peer, held: usize },
}

/// All connections. An entry's ticket is dropped when the connection is to end.
pub(super) struct Table<T> {
    bounds: Bounds,
    open: BTreeMap<Id, Connection<T>>,
    next: Id,
}

struct Connection<T> {
    peer: Peer,
    phase: Phase,
    _ticket: T,
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The client's: to shake hands, or to ask.
    Request { since: Instant },
    /// The server's.
    Answer,
    /// The client's: to take the response. The server has more of it to write until `is_written`.
    Response {
        since: Instant,
        body: Body,
        is_taken: bool,
    },
    /// The client's: to take what the kernel still has, and to close.
    Close { since: Instant },
}

impl Phase {
    /// Since when the client keeps the server waiting.
    fn since(self) -> Option<Instant> {
        match self {
            Self::Request { since } | Self::Response { since, .. } | Self::Close { since } => {
                Some(since)
            }
            Self::Answer => None,
        }
    }

    fn body(self) -> Option<Body> {
        match self {
            Self::Response { body, .. } => Some(body),
            Self::Request { .. } | Self::Answer | Self::Close { .. } => None,
        }
    }
}

impl<T> Table<T> {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            open: BTreeMap::new(),
            next: Id(0),
        }
    }

    /// Gives a connection a place. When all are taken, the peer with the most of them, this one
    /// counted, loses its slowest.
    pub(super) fn admit(&mut self, peer: Peer, now: Instant, ticket: T) -> (Id, Option<Eviction>) {
        let eviction = if self.open.len() < self.bounds.connections {
            None
        } else {
            self.make_place(peer)
        };
        let id = self.next;
        self.next = Id(id.0 + 1);
        let connection = Connection {
            peer,
            phase: Phase::Request { since: now },
            _ticket: ticket,
        };
        self.open.insert(id, connection);
        (id, eviction)
    }

    /// The connection has ended.
    pub(super) fn leave(&mut self, id: Id) {
        self.open.remove(&id);
    }

    /// A request is there.
    pub(super) fn answer(&mut self, id: Id) {
        self.set(id, Phase::Answer);
    }

    /// The response is there. While more bytes than allowed are under way, the peer to whom the
    /// most are loses its slowest response, but nobody this one.
    pub(super) fn respond(&mut self, id: Id, body: Body, now: Instant) -> Vec<Eviction> {
        let response = Phase::Response {
            since: now,
            body,
            is_taken: false,
        };
        self.set(id, response);
        iter::from_fn(|| self.make_room(body)).collect()
    }

    /// The whole response is on its way through the server's buffers.
    pub(super) fn body_taken(&mut self, id: Id) {
        if let Some(Connection {
            phase: Phase::Response { is_taken, .. },
            ..
        }) = self.open.get_mut(&id)
        {
            *is_taken = true;
        }
    }

    /// The server's buffers are empty.
    pub(super) fn flushed(&mut self, id: Id, now: Instant) {
        if let Some(Connection { phase, .. }) = self.open.get_mut(&id)
            && let Phase::Response { is_taken: true, .. } = phase
        {
            *phase = Phase::Request { since: now };
        }
    }

    /// Nothing more will be sent.
    pub(super) fn close(&mut self, id: Id, now: Instant) {
        self.set(id, Phase::Close { since: now });
    }

    /// Evicts the connections whose client has taken longer over a response than it may, and returns
    /// when the next one will have, if there is one.
    pub(super) fn evict_overdue(&mut self, now: Instant) -> Option<Instant> {
        let response = self.bounds.response;
        let deadline = |connection: &Connection<T>| match connection.phase {
            Phase::Response { since, .. } | Phase::Close { since } => Some(since + response),
            Phase::Request { .. } | Phase::Answer => None,
        };
        self.open
            .retain(|_, connection| deadline(connection).is_none_or(|deadline| deadline > now));
        self.open.values().filter_map(deadline).min()
    }

    fn set(&mut self, id: Id, phase: Phase) {
        // It is gone if it has been evicted and does not know yet.
        if let Some(connection) = self.open.get_mut(&id) {
            connection.phase = phase;
        }
    }

    fn make_place(&mut self, newcomer: Peer) -> Option<Eviction> {
        let mut held = HashMap::from([(newcomer, 1)]);
        for connection in self.open.values() {
            *held.entry(connection.peer).or_default() += 1;
        }
        let most = held.values().copied().max()?;
        let id = self.slowest(|connection| held[&connection.peer] == most)?;
        let Connection { peer, .. } = self.open.remove(&id)?;
        let held = most - usize::from(peer == newcomer);
        Some(Eviction::Place { peer, held })
    }

    /// Evicts one response if there are too many bytes under way; never one with the `newest` body.
    fn make_room(&mut self, newest: Body) -> Option<Eviction> {
        let mut all = HashMap::new();
        let mut of_peers: HashMap<Peer, HashMap<usize, usize>> = HashMap::new();
        for connection in self.open.values() {
            if let Some(body) = connection.phase.body() {
                all.insert(body.address, body.bytes);
                let of_peer = of_peers.entry(connection.peer).or_default();
                of_peer.insert(body.address, body.bytes);
            }
        }
        let fits = all.values().sum::<usize>() <= self.bounds.body_bytes;
        if fits || all.len() <= ALWAYS_ALLOWED_BODIES {
            return None;
        }
        // Of a connection that may go; the newest body is nobody's burden yet.
        let held = |connection: &Connection<T>| {
            let body = connection.phase.body()?;
            (body != newest).then(|| of_peers[&connection.peer].values().sum::<usize>())
        };
        let most = self.open.values().filter_map(held).max()?;
        let id = self.slowest(|connection| held(connection) == Some(most))?;
        let Connection { peer, .. } = self.open.remove(&id)?;
        Some(Eviction::Bytes { peer, held: most })
    }

    /// The one whose client has kept the server waiting for longest; only then one that waits for
    /// the server.
    fn slowest(&self, may_go: impl Fn(&Connection<T>) -> bool) -> Option<Id> {
        let candidates = self
            .open
            .iter()
            .filter(|(_, connection)| may_go(connection));
        candidates
            .min_by_key(|(id, connection)| {
                let since = connection.phase.since();
                (since.is_none(), since, **id)
            })
            .map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests;
