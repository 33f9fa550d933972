//! One connection, from its accept to its end.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use log::debug;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::Limits;
use super::body::WholeBody;
use super::connections::{Peer, Place};
use super::gate::{Access, Client, Gate};
use super::socket::Socket;
use super::stream::ClientStream;
use super::tls::Tls;

/// The head of a request. Proxies add a few kilobytes at most; hyper wants 8 KiB or more.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// One connection, until either side closes it.
pub(super) struct Connection {
    pub(super) gate: Arc<Gate>,
    pub(super) limits: Limits,
    pub(super) peer: Peer,
    pub(super) place: Arc<Place>,
    pub(super) graceful: Watcher,
}

/// How a connection to a server with TLS begins.
enum Handshake {
    Done(Box<TlsStream<ClientStream>>),
    NotTls(ClientStream),
}

impl Connection {
    /// Shakes hands if need be, and answers requests.
    pub(super) async fn serve(self, stream: Socket, mut stopped: watch::Receiver<()>) {
        let active = self.gate.config.current();
        let mut client = Client {
            peer: self.peer,
            access: Access::All,
            generation: active.generation,
        };
        let Some(tls) = &active.tls else {
            let stream = ClientStream::new(stream, Arc::clone(&self.place), self.limits.linger);
            return self.speak_http(stream, client).await;
        };
        let handshake = tokio::select! {
            handshake = timeout(self.limits.handshake_timeout, self.shake_hands(tls, stream)) => handshake,
            // Nothing is under way yet.
            _gone = stopped.changed() => return,
        };
        let handshake = handshake.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()));
        match handshake {
            Ok(Handshake::Done(stream)) => {
                if tls.is_probe(&stream) {
                    client.access = Access::Probes;
                }
                // Another version may come into force while the connection stays.
                drop(active);
                self.speak_http(*stream, client).await;
            }
            Ok(Handshake::NotTls(stream)) => {
                client.access = Access::None;
                self.speak_http(stream, client).await;
            }
            Err(error) => debug!("a handshake with {} failed: {error}", self.peer),
        }
    }

    async fn shake_hands(&self, tls: &Tls, stream: Socket) -> io::Result<Handshake> {
        let is_tls = speaks_tls(&stream).await?;
        let stream = ClientStream::new(stream, Arc::clone(&self.place), self.limits.linger);
        if !is_tls {
            return Ok(Handshake::NotTls(stream));
        }
        match tls.accept(stream).await {
            Ok(stream) => Ok(Handshake::Done(Box::new(stream))),
            Err((error, mut stream)) => {
                // A connection that is closed while the client still sends is reset, and the alert lost.
                poll_fn(|cx| Pin::new(&mut stream).poll_shutdown(cx)).await?;
                Err(error)
            }
        }
    }

    /// Answers the requests that come by a stream.
    async fn speak_http<S>(self, stream: S, client: Client)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (gate, place) = (self.gate, self.place);
        let answer = service_fn(move |request| {
            let (gate, place) = (Arc::clone(&gate), Arc::clone(&place));
            async move {
                place.answer();
                // Who sends request after request waits for its turn after each.
                yield_now().await;
                let response = gate.answer(client, request).await;
                Ok::<_, Infallible>(response.map(|body| WholeBody::new(body, place)))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // RFC 9112, section 9.6: who sends no more may still want an answer.
            .half_close(true)
            .header_read_timeout(self.limits.header_timeout)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), answer);
        if let Err(error) = self.graceful.watch(connection).await {
            // The client's doing; nothing for an operator.
            debug!("a connection ended: {error}");
        }
    }
}

/// Whether the client begins as TLS does. Who begins with a letter asks by plain HTTP, and is told.
async fn speaks_tls(stream: &Socket) -> io::Result<bool> {
    let first = stream.peek().await?;
    Ok(!first.is_some_and(|byte| byte.is_ascii_uppercase()))
}
