//! One scrape for all who wait for one.
//!
//! A scrape empties kernel maps, so two at a time would only wait for each other. A request gets a
//! scrape that began after the request arrived, and so every drop up to its arrival: while one
//! scrape runs, new requests gather for the next and share it.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use log::error;
use tokio::sync::{mpsc, oneshot};
use tokio::task;
use tokio::time::Instant;

use super::encoding::{Coding, gzip};
use super::page;
use crate::metrics::{Exposition, Selection};

/// How many requests can wait in the queue; more wait outside of it, none is refused. A client that
/// gave up leaves its place only when the running scrape ends, which is why there is a bound.
const QUEUE: usize = 64;

/// The way to a scrape. Clones share the scrapes.
#[derive(Clone)]
pub(super) struct Scraper {
    queue: mpsc::Sender<Waiting>,
}

/// What becomes of a scrape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Metrics of some collectors.
    Metrics(Selection),
    /// The page for people.
    People,
}

/// What is wanted of a scrape.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) output: Output,
    pub(super) coding: Coding,
    /// When the client gives up, if it says so.
    pub(super) deadline: Option<Instant>,
}

/// Why there is no page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPage {
    /// The scrape panicked.
    Failed,
    /// It would have been too late.
    TooLate,
}

/// A request for the next scrape. The client is gone when `reply` is closed.
struct Waiting {
    wanted: Wanted,
    reply: oneshot::Sender<Result<Bytes, NoPage>>,
}

impl Scraper {
    /// Starts the task that scrapes; it ends with the last clone.
    pub(super) fn start(exposition: Arc<Exposition>, people: page::Page) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let scrapes = Scrapes {
            exposition,
            people: Arc::new(people),
            took: Duration::ZERO,
        };
        task::spawn(scrapes.serve(waiting));
        Self { queue }
    }

    /// The metrics of a scrape that begins after this call.
    pub(super) async fn scrape(&self, wanted: Wanted) -> Result<Bytes, NoPage> {
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting { wanted, reply };
        self.queue
            .send(waiting)
            .await
            .map_err(|_gone| NoPage::Failed)?;
        answer.await.unwrap_or(Err(NoPage::Failed))
    }
}

/// All scrapes, one after the other.
struct Scrapes {
    exposition: Arc<Exposition>,
    people: Arc<page::Page>,
    /// How long the last one of all collectors took. The next one may well take as long.
    took: Duration,
}

impl Scrapes {
    async fn serve(mut self, mut queue: mpsc::Receiver<Waiting>) {
        let mut waiting = Vec::new();
        while queue.recv_many(&mut waiting, QUEUE).await > 0 {
            while let Some(first) = waiting.first() {
                let output = first.wanted.output.clone();
                let (same, others) = mem::take(&mut waiting)
                    .into_iter()
                    .partition(|other: &Waiting| other.wanted.output == output);
                waiting = others;
                self.serve_output(output, same).await;
            }
        }
    }

    /// One scrape for all who want the same.
    async fn serve_output(&mut self, output: Output, mut waiting: Vec<Waiting>) {
        waiting.retain(|request| !request.reply.is_closed());
        let is_all = output == Output::Metrics(Selection::ALL);
        let waiting = self.refuse_late(is_all, waiting);
        if waiting.is_empty() {
            return;
        }
        let is_wanted = |coding| {
            waiting
                .iter()
                .any(|request| request.wanted.coding == coding)
        };
        let codings = [Coding::Identity, Coding::Gzip].map(is_wanted);
        let (exposition, people) = (Arc::clone(&self.exposition), Arc::clone(&self.people));
        let began = Instant::now();
        let render = move || {
            let text = match output {
                Output::Metrics(selection) => exposition.scrape_some(&selection),
                Output::People => people.render(&exposition.families()),
            };
            Bodies::new(text, codings)
        };
        match task::spawn_blocking(render).await {
            Ok(bodies) => {
                if is_all {
                    self.took = began.elapsed();
                }
                for Waiting { wanted, reply } in waiting {
                    // A client that went away meanwhile needs no answer.
                    reply.send(Ok(bodies.coded(wanted.coding))).ok();
                }
            }
            // Dropping the senders is the answer.
            Err(error) => error!("the scrape failed: {error}"),
        }
    }

    /// Refuses those whose page would come too late, and gives back the others.
    fn refuse_late(&mut self, is_all: bool, waiting: Vec<Waiting>) -> Vec<Waiting> {
        let takes = if is_all { self.took } else { Duration::ZERO };
        let would_end = Instant::now() + takes;
        let (late, in_time): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|request| request.wanted.deadline.is_some_and(|end| end <= would_end));
        if in_time.is_empty() {
            // It may have been slow for once: so the next ones are tried sooner or later.
            self.took /= 2;
        }
        for request in late {
            request.reply.send(Err(NoPage::TooLate)).ok();
        }
        in_time
    }
}

/// The result of one scrape, in the codings that are wanted, once for all who want it so.
struct Bodies {
    plain: Bytes,
    gzip: Bytes,
}

impl Bodies {
    fn new(text: String, [wants_plain, wants_gzip]: [bool; 2]) -> Self {
        let mut bodies = Self {
            plain: Bytes::new(),
            gzip: Bytes::new(),
        };
        if wants_gzip {
            // Without the spare capacity, which would stay as long as the slowest client.
            bodies.gzip = gzip(text.as_bytes()).into_boxed_slice().into();
        }
        if wants_plain {
            bodies.plain = text.into();
        }
        bodies
    }

    fn coded(&self, coding: Coding) -> Bytes {
        match coding {
            Coding::Identity => self.plain.clone(),
            Coding::Gzip => self.gzip.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
