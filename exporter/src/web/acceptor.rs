//! Accepting connections.

use std::mem;
use std::time::Duration;

use log::{info, warn};
use tokio::time::sleep;

use super::connections::Peer;
use super::socket::{Listener, Socket};

/// The pause after an accept that failed for want of something, such as file descriptors: short for
/// a scraper that waits, long for a CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Accepts, come what may.
pub(super) struct Acceptor {
    listener: Listener,
    failing: bool,
}

impl Acceptor {
    pub(super) fn new(listener: Listener) -> Self {
        Self {
            listener,
            failing: false,
        }
    }

    /// The next connection. Cancelling this loses none.
    pub(super) async fn accept(&mut self) -> (Socket, Peer) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => {
                    if mem::take(&mut self.failing) {
                        info!("connections are accepted again");
                    }
                    return accepted;
                }
                Err(error) => {
                    if !mem::replace(&mut self.failing, true) {
                        warn!("cannot accept connections: {error}");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}
