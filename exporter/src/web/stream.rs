//! A client's connection as hyper sees it.
//!
//! It is closed in stages, as RFC 9112, section 9.6 has it: first no more is sent, then the server reads until the
//! client has closed too. A socket that is closed before its client's end has come leaves that end to the
//! kernel, which frees the packet with the socket and counts it as a drop (`sk_stream_kill_queues`,
//! net/core/stream.c). A scrape must not cause the drops that it reports.
//!
//! A socket that is closed with bytes left leaves these to the kernel, too, which keeps them for a client that may
//! never take them. So the client must have them all before its connection is closed; if it is evicted first,
//! the connection is reset.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use log::debug;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::connections::Place;
use super::socket::Socket;
use super::unsent::unsent_bytes;

/// Between two looks at whether the kernel still has something for the client, of which nothing
/// tells. A client that has closed holds its place for no longer than this after its last byte.
const LOOK: Duration = Duration::from_millis(100);

/// A connection that tells its place what became of a response, and whose shutdown also waits for
/// the client.
pub(super) struct ClientStream {
    stream: Socket,
    place: Arc<Place>,
    linger: Duration,
    closing: Option<Closing>,
}

/// Nothing more is sent.
struct Closing {
    /// When a client that has everything need not close any more.
    deadline: Instant,
    client_has_closed: bool,
    looks: Interval,
}

impl ClientStream {
    /// Waits at most `linger` for a client to close that has everything, and for one that has not
    /// until it is evicted from its place.
    pub(super) fn new(stream: Socket, place: Arc<Place>, linger: Duration) -> Self {
        Self {
            stream,
            place,
            linger,
            closing: None,
        }
    }
}

impl Closing {
    fn new(linger: Duration) -> Self {
        let now = Instant::now();
        let mut looks = interval_at(now + LOOK, LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            deadline: now + linger,
            client_has_closed: false,
            looks,
        }
    }

    /// Completes when the connection need not stay; an error if it is broken.
    fn poll(&mut self, cx: &mut Context<'_>, stream: &mut Socket) -> Poll<io::Result<()>> {
        loop {
            if !self.client_has_closed {
                self.client_has_closed = poll_end(cx, stream)?.is_ready();
            }
            let may_end = self.client_has_closed || Instant::now() >= self.deadline;
            // The end itself counts as a byte.
            if may_end && unsent_bytes(&*stream)? <= 1 {
                return Poll::Ready(Ok(()));
            }
            ready!(self.looks.poll_tick(cx));
            // Reading tells no more of a connection that broke after the client's end.
            if let Some(error) = stream.take_error()? {
                return Poll::Ready(Err(error));
            }
        }
    }
}

/// Reads and forgets until the client has closed.
fn poll_end(cx: &mut Context<'_>, stream: &mut Socket) -> Poll<io::Result<()>> {
    let mut bytes = [0; 512];
    loop {
        let mut unwanted = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut unwanted))?;
        if unwanted.filled().is_empty() {
            return Poll::Ready(Ok(()));
        }
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        let end = u32::from(self.closing.is_some());
        let outcome = match unsent_bytes(&self.stream) {
            Ok(unsent) if unsent > end => self.stream.set_zero_linger(),
            outcome => outcome.map(drop),
        };
        if let Err(error) = outcome {
            debug!("cannot reset a connection: {error}");
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    /// hyper flushes when it has written all that it has.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.place.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let closing = match &mut this.closing {
            Some(closing) => closing,
            None => {
                ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
                this.place.close();
                this.closing.insert(Closing::new(this.linger))
            }
        };
        closing.poll(cx, &mut this.stream)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }
}
