//! The places for connections, of all listeners together.
//!
//! A client that reads slowly, or not at all, costs a place, the memory of its response, and what
//! the kernel buffers. All three are bounded. Where a bound is reached, the peer that has the most
//! loses what it is slowest with, so that who behaves is served whatever others do.

mod peer;
mod table;

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::body::Bytes;
use log::{Level, log};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};

pub(super) use peer::Peer;
pub(super) use table::Bounds;
use table::{Body, Eviction, Id, Table};

/// Between two warnings: an attack must not fill the log.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// The places. Clones are the same places.
#[derive(Clone)]
pub(super) struct Connections {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// A response is under way, so there is a deadline.
    responds: Notify,
}

struct State {
    table: Table<Ticket>,
    warned: Option<Instant>,
}

/// Is dropped when the connection is to end; nothing is ever sent.
type Ticket = oneshot::Sender<Infallible>;

/// A connection's place, until it is dropped.
pub(super) struct Place {
    id: Id,
    connections: Connections,
}

/// Completes when the connection has lost its place.
pub(super) struct Evicted(oneshot::Receiver<Infallible>);

impl Connections {
    pub(super) fn new(bounds: Bounds) -> Self {
        let state = State {
            table: Table::new(bounds),
            warned: None,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                responds: Notify::new(),
            }),
        }
    }

    /// A place for a connection of this peer, if need be at the expense of another.
    pub(super) fn admit(&self, peer: Peer) -> (Arc<Place>, Evicted) {
        let (ticket, evicted) = oneshot::channel();
        let mut state = self.lock();
        let (id, eviction) = state.table.admit(peer, now(), ticket);
        state.report(eviction);
        drop(state);
        let place = Place {
            id,
            connections: self.clone(),
        };
        (Arc::new(place), Evicted(evicted))
    }

    /// Evicts, for as long as it is polled, those whose client takes too long over a response.
    pub(super) async fn enforce_deadlines(&self) -> Infallible {
        loop {
            let next = self.lock().table.evict_overdue(now());
            match next {
                Some(next) => sleep_until(next.into()).await,
                None => self.shared.responds.notified().await,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No change to the table can stop half-way.
        let state = self.shared.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn report(&mut self, evictions: impl IntoIterator<Item = Eviction>) {
        for eviction in evictions {
            let now = Instant::now();
            let is_due = self
                .warned
                .is_none_or(|warned| now - warned >= WARNING_INTERVAL);
            let level = if is_due { Level::Warn } else { Level::Debug };
            if is_due {
                self.warned = Some(now);
            }
            log!(level, "{eviction}");
        }
    }
}

impl Place {
    /// A request is there.
    pub(super) fn answer(&self) {
        self.connections.lock().table.answer(self.id);
    }

    /// The response is there, with this body.
    pub(super) fn respond(&self, body: &Bytes) {
        let body = Body {
            address: body.as_ptr().addr(),
            bytes: body.len(),
        };
        let mut state = self.connections.lock();
        let evictions = state.table.respond(self.id, body, now());
        state.report(evictions);
        self.connections.shared.responds.notify_one();
    }

    /// The server has put all of the body into its buffers.
    pub(super) fn body_taken(&self) {
        self.connections.lock().table.body_taken(self.id);
    }

    /// The server's buffers are empty.
    pub(super) fn flushed(&self) {
        self.connections.lock().table.flushed(self.id, now());
    }

    /// Nothing more will be sent.
    pub(super) fn close(&self) {
        self.connections.lock().table.close(self.id, now());
        self.connections.shared.responds.notify_one();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.lock().table.leave(self.id);
    }
}

impl Evicted {
    pub(super) async fn wait(self) {
        // An error: the ticket is gone.
        self.0.await.ok();
    }
}

impl fmt::Display for Eviction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Place { peer, held } => write!(
                f,
                "all connections are taken, {held} of them by {peer}: closing its slowest one"
            ),
            Self::Bytes { peer, held } => write!(
                f,
                "{peer} leaves responses of {held} bytes unread: closing its slowest connection"
            ),
        }
    }
}

/// Of tokio's clock.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}
