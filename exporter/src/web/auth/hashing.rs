//! One thread for bcrypt, which takes some 50 ms for each password.
//!
//! It gives way to all other threads, so that guesses delay guesses and nothing else. While it is busy,
//! the peers that wait take turns; when too many wait, the one that waits most often loses its last.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::Context;
use log::{debug, error};
use rustix::process::setpriority_process;
use tokio::sync::oneshot;

use super::Peer;

/// Passwords that wait: 3 s of work at the usual cost, beyond which most scrapers have given up.
const MAX_WAITING: usize = 64;

/// As much as anybody may give way (nice(2)).
const NICENESS: i32 = 19;

/// The way to the thread, which ends with it.
pub(super) struct Hashing(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Job>,
    /// Whose turn it was.
    last: Option<Peer>,
    is_over: bool,
}

/// A password to be checked. Nobody waits for it any more when `reply` is closed.
struct Job {
    peer: Peer,
    password: Vec<u8>,
    hash: Arc<str>,
    reply: oneshot::Sender<(bool, Vec<u8>)>,
}

impl Hashing {
    pub(super) fn start() -> anyhow::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        thread::Builder::new()
            .name("bcrypt".to_owned())
            .spawn(move || of_thread.work())
            .context("start the thread that checks passwords")?;
        Ok(Self(shared))
    }

    /// Whether the password is that of the hash, and the password again. `None`: too many wait.
    pub(super) async fn verify(
        &self,
        peer: Peer,
        password: Vec<u8>,
        hash: Arc<str>,
    ) -> Option<(bool, Vec<u8>)> {
        let (reply, answer) = oneshot::channel();
        self.0.lock().push(Job {
            peer,
            password,
            hash,
            reply,
        });
        self.0.changed.notify_one();
        answer.await.ok()
    }
}

impl Drop for Hashing {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.changed.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics in the middle of a change.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        // Of this thread only, although it says process: the kernel's processes are threads.
        if let Err(e) = setpriority_process(None, NICENESS) {
            // systemd's @resources has it, which the service may not use.
            debug!("passwords are checked at the usual priority: {e}");
        }
        while let Some(job) = self.next() {
            let checked = bcrypt::verify(&job.password, &job.hash);
            if let Err(e) = &checked {
                error!("cannot check a password: {e}");
            }
            // Who has gone needs no answer.
            job.reply
                .send((checked.unwrap_or(false), job.password))
                .ok();
        }
    }

    /// The next job; `None` when there will be none.
    fn next(&self) -> Option<Job> {
        let is_idle = |queue: &mut Queue| queue.waiting.is_empty() && !queue.is_over;
        let queue = self.changed.wait_while(self.lock(), is_idle);
        let mut queue = queue.unwrap_or_else(PoisonError::into_inner);
        if queue.is_over { None } else { queue.pop() }
    }
}

impl Queue {
    /// Adds a job. If there are too many, that peer loses its last job that has the most of them.
    fn push(&mut self, job: Job) {
        self.waiting.retain(|job| !job.reply.is_closed());
        self.waiting.push_back(job);
        if self.waiting.len() <= MAX_WAITING {
            return;
        }
        let mut held: HashMap<Peer, usize> = HashMap::new();
        for job in &self.waiting {
            *held.entry(job.peer).or_default() += 1;
        }
        let most = held.values().max().copied();
        let last = (self.waiting.iter()).rposition(|job| held.get(&job.peer).copied() == most);
        if let Some(last) = last {
            self.waiting.remove(last);
        }
    }

    /// Takes the oldest job of another peer than the last one, or the oldest of all.
    fn pop(&mut self) -> Option<Job> {
        let of_other = (self.waiting.iter()).position(|job| Some(job.peer) != self.last);
        let job = self.waiting.remove(of_other.unwrap_or(0))?;
        self.last = Some(job.peer);
        Some(job)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    type Answer = oneshot::Receiver<(bool, Vec<u8>)>;

    fn push(queue: &mut Queue, host: u8) -> Answer {
        let (reply, answer) = oneshot::channel();
        queue.push(Job {
            peer: Peer::from(IpAddr::from([192, 0, 2, host])),
            password: Vec::new(),
            hash: "".into(),
            reply,
        });
        answer
    }

    fn hosts(queue: &mut Queue) -> Vec<String> {
        let jobs = std::iter::from_fn(|| queue.pop());
        jobs.map(|job| job.peer.to_string().replace("192.0.2.", ""))
            .collect()
    }

    #[test]
    fn peers_take_turns() {
        let mut queue = Queue::default();
        let _answers = [1, 1, 1, 2, 1, 3].map(|host| push(&mut queue, host));
        assert_eq!(hosts(&mut queue), ["1", "2", "1", "3", "1", "1"]);
    }

    #[test]
    fn who_waits_most_often_loses_its_last_and_who_has_gone_loses_nothing_to_others() {
        let mut queue = Queue::default();
        let gone = push(&mut queue, 9);
        drop(gone);
        let mut answers: Vec<_> = (0..MAX_WAITING).map(|_| push(&mut queue, 1)).collect();
        let mut other = push(&mut queue, 2);
        let is_refused = |answer: &mut Answer| {
            matches!(answer.try_recv(), Err(oneshot::error::TryRecvError::Closed))
        };
        assert!(is_refused(&mut answers[MAX_WAITING - 1]) && !is_refused(&mut other));
        let mut own = push(&mut queue, 1);
        assert!(is_refused(&mut own));
        assert!(!answers[..MAX_WAITING - 1].iter_mut().any(is_refused));
        let order = hosts(&mut queue);
        assert_eq!((order.len(), &*order[1]), (MAX_WAITING, "2"));
    }
}
