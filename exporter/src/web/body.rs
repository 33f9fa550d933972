//! A response's body on its way to a client.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame, SizeHint};

use super::connections::Place;

/// A body in one piece, which hyper sends without copying it. It is dropped when hyper has taken
/// the piece, or does not want it, as for HEAD; the place is told then.
pub(super) struct WholeBody {
    bytes: Full<Bytes>,
    place: Arc<Place>,
}

impl WholeBody {
    /// A response for the client at `place`.
    pub(super) fn new(bytes: Bytes, place: Arc<Place>) -> Self {
        place.respond(&bytes);
        Self {
            bytes: Full::new(bytes),
            place,
        }
    }
}

impl Drop for WholeBody {
    fn drop(&mut self) {
        self.place.body_taken();
    }
}

impl Body for WholeBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.bytes).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.bytes.size_hint()
    }
}
