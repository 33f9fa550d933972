//! Lines on their way to a descriptor that may take none for a while: a pipe whose reader has stopped
//! (pipe(7)), a terminal that is held, a full disk.
//!
//! `O_NONBLOCK` would be simpler. But it belongs to the open file, which the parent shares, and whoever
//! else logs to the same pipe.

use std::{
    mem,
    os::fd::AsFd,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, write},
};

/// Bytes that wait while as much is being written: some 500 lines, as much as a pipe holds.
const MOST_WAITING: usize = 64 * 1024;

/// What a pipe takes without blocking once poll(2) says that it takes anything (`PIPE_BUF`, pipe(7)).
const PIPE_BUF: usize = 4096;

/// Lines that wait to be written. Adding one never waits for the descriptor.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// Whole lines, but for the first, of which a part may be written.
    waiting: Vec<u8>,
    lost: Lost,
    /// The thread that writes, if there is one by now.
    writer: Option<ThreadId>,
    /// It has taken a block out of `waiting`, and is not through with it.
    writing: bool,
}

/// Lines that were not written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) lines: usize,
    /// Why, if it was not for want of room.
    pub(super) error: Option<Errno>,
}

impl Queue {
    pub(super) const fn new() -> Self {
        Self {
            state: Mutex::new(State {
                waiting: Vec::new(),
                lost: Lost {
                    lines: 0,
                    error: None,
                },
                writer: None,
                writing: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Adds whole lines, or counts them as lost where there is no room.
    pub(super) fn push(&self, lines: &[u8]) {
        let mut state = self.state();
        let fits = state.waiting.len() + lines.len() <= MOST_WAITING;
        // What the writer itself says, about lines that were lost, is one line for each block.
        let of_writer = state.writer == Some(thread::current().id());
        if fits || of_writer || state.waiting.is_empty() {
            state.waiting.extend_from_slice(lines);
            self.changed.notify_all();
        } else {
            state.lost.lines += count(lines);
        }
    }

    /// Writes what `out` takes until then, unless there is a thread that writes.
    pub(super) fn write_until(&self, out: impl AsFd, deadline: Instant) {
        let mut state = self.state();
        while state.writer.is_none() && !state.waiting.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if !is_writable(&out, Some(left)) {
                return;
            }
            let block = state.waiting.len().min(PIPE_BUF);
            match write(&out, &state.waiting[..block]) {
                Ok(written) => drop(state.waiting.drain(..written)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(error) => {
                    let waiting = mem::take(&mut state.waiting);
                    state.lost.add(&waiting, error);
                }
            }
        }
    }

    /// Writes all lines in this thread, for ever. `tell` is called, and may push, after lines were lost
    /// and as soon as others could be written.
    pub(super) fn write_for_ever(&self, out: impl AsFd, tell: impl Fn(Lost)) -> ! {
        self.state().writer = Some(thread::current().id());
        loop {
            let block = self.next_block();
            let outcome = write_all(&out, &block);
            let mut state = self.state();
            let lost = match outcome {
                Ok(()) => mem::take(&mut state.lost),
                Err((rest, error)) => {
                    state.lost.add(rest, error);
                    Lost::default()
                }
            };
            if lost.lines > 0 {
                drop(state);
                tell(lost);
                state = self.state();
            }
            state.writing = false;
            self.changed.notify_all();
        }
    }

    /// Waits until the thread that writes has written everything, but not longer than that.
    pub(super) fn wait_until_written(&self, deadline: Instant) {
        let left = deadline.saturating_duration_since(Instant::now());
        let busy = |state: &mut State| state.writing || !state.waiting.is_empty();
        // Nothing depends on whether it was in time.
        drop(self.changed.wait_timeout_while(self.state(), left, busy));
    }

    fn next_block(&self) -> Vec<u8> {
        let empty = |state: &mut State| state.waiting.is_empty();
        let waited = self.changed.wait_while(self.state(), empty);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.writing = true;
        mem::take(&mut state.waiting)
    }

    /// Nothing here panics in the middle of a change.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lost {
    fn add(&mut self, lines: &[u8], error: Errno) {
        self.lines += count(lines);
        self.error = Some(error);
    }
}

fn count(lines: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', lines).count()
}

/// Blocks for as long as it takes; an error comes with what was not written.
fn write_all(out: impl AsFd, mut bytes: &[u8]) -> Result<(), (&[u8], Errno)> {
    while !bytes.is_empty() {
        match write(&out, bytes) {
            Ok(0) => return Err((bytes, Errno::IO)),
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            // Somebody who shares the open file has set O_NONBLOCK.
            Err(Errno::AGAIN) => drop(is_writable(&out, None)),
            Err(error) => return Err((bytes, error)),
        }
    }
    Ok(())
}

/// Whether a write would not block; or would fail, which is as well. `None` waits for ever.
fn is_writable(out: impl AsFd, wait: Option<Duration>) -> bool {
    let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
    let mut fds = [PollFd::new(&out, PollFlags::OUT)];
    poll(&mut fds, wait.as_ref()).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{BufRead, BufReader, PipeReader, pipe},
        ops::Range,
        sync::{Arc, mpsc},
    };

    use rustix::io::ioctl_fionbio;

    use super::*;

    /// Generous: everything here takes milliseconds.
    const SOON: Duration = Duration::from_secs(20);

    /// Lines of 100 bytes, ten times as much as the queue, a block and a pipe hold together.
    const MANY: usize = 20_000;

    fn soon() -> Instant {
        Instant::now() + SOON
    }

    /// A queue with a thread that writes it, and then says how many lines were lost.
    fn queue_to(out: impl AsFd + Send + 'static) -> Arc<Queue> {
        let queue = Arc::new(Queue::new());
        let written = Arc::clone(&queue);
        thread::spawn(move || {
            written.write_for_ever(out, |lost| {
                written.push(format!("lost {}\n", lost.lines).as_bytes());
            })
        });
        queue
    }

    fn push(queue: &Queue, numbers: Range<usize>) {
        for number in numbers {
            queue.push(format!("{number:099}\n").as_bytes());
        }
    }

    fn lines(reader: PipeReader) -> impl Iterator<Item = String> {
        let lines = BufReader::new(reader).lines();
        lines.map(|line| line.expect("a line"))
    }

    fn is_numbers(lines: &[String], numbers: Range<usize>) -> bool {
        numbers
            .map(|number| format!("{number:099}"))
            .eq(lines.iter().cloned())
    }

    #[test]
    fn what_is_not_read_is_dropped_and_counted_and_that_is_told_when_the_reader_is_back() {
        let (reader, writer) = pipe().expect("a pipe");
        let queue = queue_to(writer);
        push(&queue, 0..MANY);
        // Nobody reads, and still this ends.
        queue.wait_until_written(Instant::now() + Duration::from_millis(1));

        let (line, lines_read) = mpsc::channel();
        thread::spawn(move || lines(reader).try_for_each(|read| line.send(read)));
        let next = || lines_read.recv_timeout(SOON).expect("a line");
        let (mut read, mut lost) = (Vec::new(), 0);
        while read.len() + lost < MANY {
            let line = next();
            match line.strip_prefix("lost ") {
                Some(lines) => lost += lines.parse::<usize>().expect("a number"),
                None => read.push(line.parse::<usize>().expect("a number")),
            }
        }
        assert!(read.is_sorted_by(|one, next| one < next));
        assert!(lost > MANY / 2, "{lost}");
        push(&queue, 7..8);
        assert!(is_numbers(&[next()], 7..8));
    }

    #[test]
    fn what_is_read_is_complete_also_where_somebody_set_o_nonblock() {
        for nonblocking in [false, true] {
            let (reader, writer) = pipe().expect("a pipe");
            ioctl_fionbio(&writer, nonblocking).expect("set O_NONBLOCK");
            let queue = queue_to(writer);
            let reader = thread::spawn(move || lines(reader).take(MANY).collect::<Vec<_>>());
            for first in (0..MANY).step_by(500) {
                push(&queue, first..first + 500);
                queue.wait_until_written(soon());
            }
            let read = reader.join().expect("the reader");
            assert!(is_numbers(&read, 0..MANY));
        }
    }

    #[test]
    fn a_descriptor_that_cannot_be_written_costs_its_lines_and_no_time() {
        let (reader, closed) = pipe().expect("a pipe");
        drop(reader);
        let full = File::options()
            .write(true)
            .open("/dev/full")
            .expect("/dev/full");
        for (out, error) in [(closed.as_fd(), Errno::PIPE), (full.as_fd(), Errno::NOSPC)] {
            let lost = Lost {
                lines: 3,
                error: Some(error),
            };
            let early = Queue::new();
            push(&early, 0..3);
            early.write_until(out, soon());
            assert_eq!(early.state().lost, lost);

            let queue = queue_to(out.try_clone_to_owned().expect("a descriptor"));
            push(&queue, 0..3);
            let before = Instant::now();
            queue.wait_until_written(soon());
            assert!(before.elapsed() < SOON);
            assert_eq!(queue.state().lost, lost);
        }
    }

    #[test]
    fn before_there_is_a_thread_a_line_is_written_if_that_does_not_block() {
        let (reader, writer) = pipe().expect("a pipe");
        let queue = Queue::new();
        let mut pushed = 0;
        while queue.state().waiting.is_empty() {
            push(&queue, pushed..pushed + 1);
            queue.write_until(&writer, Instant::now());
            pushed += 1;
        }
        push(&queue, pushed..pushed + 1);
        let reader = thread::spawn(move || lines(reader).collect::<Vec<_>>());
        queue.write_until(&writer, soon());
        drop(writer);
        assert!(is_numbers(
            &reader.join().expect("the reader"),
            0..pushed + 1
        ));
    }
}
