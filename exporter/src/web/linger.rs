//! Closing a connection in stages, as RFC 9112, section 9.6 has it: first no more is sent, then the server
//! reads until the client has closed too.
//!
//! A socket that is closed before its client's end has come leaves that end to the kernel, which frees the
//! packet with the socket and counts it as a drop (`sk_stream_kill_queues`, net/core/stream.c). A scrape
//! must not cause the drops that it reports.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// A connection whose shutdown also waits for the client's, within a bound.
pub(super) struct Lingering {
    stream: TcpStream,
    bound: Duration,
    /// Runs since nothing more is sent.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Lingering {
    /// Waits at most `bound` for the client to close.
    pub(super) fn new(stream: TcpStream, bound: Duration) -> Self {
        Self {
            stream,
            bound,
            deadline: None,
        }
    }

    /// Reads and forgets until the client has closed, or can no longer.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; 512];
        loop {
            let mut unwanted = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut unwanted)) {
                Ok(()) if !unwanted.filled().is_empty() => {}
                _ended => return Poll::Ready(()),
            }
        }
    }
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.deadline.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        }
        let deadline = this
            .deadline
            .get_or_insert_with(|| Box::pin(sleep(this.bound)));
        if deadline.as_mut().poll(cx).is_ready() || this.poll_end(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
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
