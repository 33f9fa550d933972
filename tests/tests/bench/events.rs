//! The part in user space of a program that sends an event for each drop: it waits, and reads what comes.

use std::{
    os::fd::AsFd,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use aya::maps::{
    MapData, PerfEventArray, RingBuf,
    perf::{PerfEvent, PerfEventArrayBuffer},
};
use netdrop_tests::send;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    time::{ClockId, clock_gettime},
};

/// Pages of each CPU's perf buffer: 4 MiB, room for all that one measurement sends.
const PERF_PAGES: usize = 1024;
/// How long a reader waits before it looks by itself: for events, and whether it shall end.
const LOOK: Duration = Duration::from_millis(10);

/// Where events come from.
pub(crate) enum Source {
    Ring(RingBuf<MapData>),
    Perf(Vec<PerfEventArrayBuffer<MapData>>),
}

/// How a reader waits for events.
#[derive(Clone, Copy)]
pub(crate) enum Wait {
    /// Until it is told of one.
    Notified,
    /// For [`LOOK`].
    Sleep,
}

/// What a reader has done.
pub(crate) struct Report {
    pub(crate) events: u64,
    /// Time on a processor.
    pub(crate) nanoseconds: u64,
}

/// A thread that reads events until it is stopped.
pub(crate) struct Reader {
    end: Arc<AtomicBool>,
    thread: JoinHandle<Report>,
}

impl Source {
    pub(crate) fn perf(mut map: PerfEventArray<MapData>) -> Self {
        let open = |cpu| map.open(cpu as u32, Some(PERF_PAGES)).unwrap();
        Self::Perf(send::cpus().into_iter().map(open).collect())
    }

    /// Reads all there is.
    fn read(&mut self) -> u64 {
        let mut events = 0;
        match self {
            Self::Ring(ring) => {
                while ring.next().is_some() {
                    events += 1;
                }
            }
            Self::Perf(buffers) => {
                for buffer in buffers {
                    buffer.for_each(|event| {
                        events += u64::from(matches!(event, PerfEvent::Sample { .. }));
                    });
                }
            }
        }
        events
    }

    fn wait_until_notified(&self) {
        let mut fds = match self {
            Self::Ring(ring) => vec![PollFd::from_borrowed_fd(ring.as_fd(), PollFlags::IN)],
            Self::Perf(buffers) => buffers
                .iter()
                .map(|buffer| PollFd::from_borrowed_fd(buffer.as_fd(), PollFlags::IN))
                .collect(),
        };
        let timeout = Timespec::try_from(LOOK).unwrap();
        poll(&mut fds, Some(&timeout)).unwrap();
    }
}

impl Reader {
    pub(crate) fn start(source: &Arc<Mutex<Source>>, wait: Wait) -> Self {
        let source = Arc::clone(source);
        let end = Arc::new(AtomicBool::new(false));
        let shall_end = Arc::clone(&end);
        let thread = thread::spawn(move || {
            let mut source = source.lock().unwrap();
            let mut events = 0;
            while !shall_end.load(Ordering::Relaxed) {
                match wait {
                    Wait::Notified => source.wait_until_notified(),
                    Wait::Sleep => thread::sleep(LOOK),
                }
                events += source.read();
            }
            events += source.read();
            let time = clock_gettime(ClockId::ThreadCPUTime);
            Report {
                events,
                nanoseconds: (time.tv_sec * 1_000_000_000 + time.tv_nsec) as u64,
            }
        });
        Self { end, thread }
    }

    /// Reads what is left, and ends.
    pub(crate) fn stop(self) -> Report {
        self.end.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
