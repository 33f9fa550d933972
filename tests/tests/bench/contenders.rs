//! The programs that are compared, each attached alone for its turn.

use std::{
    env, fs,
    os::fd::{AsFd, AsRawFd},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use aya::{
    Btf, Ebpf,
    maps::Map,
    programs::{BtfTracePoint, tp_btf::BtfTracePointLink},
};
use netdrop_exporter::{
    collectors::drops::program::{self, Sizes},
    kernel::btf,
};

use crate::{
    bpftrace::Bpftrace,
    events::{Reader, Report, Source, Wait},
    fdinfo::{self, Stats},
};

/// The sizes of the maps, as by default.
const SIZES: Sizes = Sizes {
    entries: 4096,
    cgroups: Some(1000),
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    Empty,
    BareUpdate,
    Netdrop,
    Bpftrace,
    RingSilent,
    RingEvent,
    PerfEvent,
}

impl Contender {
    pub(crate) const ALL: [Self; 7] = [
        Self::Empty,
        Self::BareUpdate,
        Self::Netdrop,
        Self::Bpftrace,
        Self::RingSilent,
        Self::RingEvent,
        Self::PerfEvent,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Empty => "empty program",
            Self::BareUpdate => "one update of a per-CPU hash",
            Self::Netdrop => "**netdrop-exporter**",
            Self::Bpftrace => "bpftrace, count by reason and location",
            Self::RingSilent => "one event per drop, ring buffer looked at every 10 ms",
            Self::RingEvent => "one event per drop, ring buffer",
            Self::PerfEvent => "one event per drop, perf buffer",
        }
    }

    /// The program in the bench object.
    fn in_object(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::BareUpdate => "bare_update",
            Self::RingSilent => "ring_silent",
            Self::RingEvent => "ring_event",
            Self::PerfEvent => "perf_event",
            Self::Netdrop | Self::Bpftrace => panic!("{self:?} is not in the bench object"),
        }
    }
}

/// All that is needed to attach any of them.
pub(crate) struct Programs {
    /// From the object in `NETDROP_BENCH_OBJECT`, loaded but not attached.
    bench: Ebpf,
    ring: Arc<Mutex<Source>>,
    perf: Arc<Mutex<Source>>,
    kernel: program::Kernel,
}

/// One of them, attached.
pub(crate) enum Attached {
    Bench {
        fdinfo: PathBuf,
        link: BtfTracePointLink,
        reader: Option<Reader>,
    },
    Netdrop {
        program: program::Attached,
        // The program's maps live as long as it does; these are user space's descriptors.
        _maps: Box<dyn Send>,
    },
    Bpftrace(Bpftrace),
}

impl Programs {
    pub(crate) fn load() -> Self {
        let path = env::var("NETDROP_BENCH_OBJECT")
            .expect("NETDROP_BENCH_OBJECT names the object that tests/run.sh bench builds");
        let mut bench = Ebpf::load(&fs::read(path).unwrap()).unwrap();
        let kernel_btf = Btf::from_sys_fs().unwrap();
        for contender in Contender::ALL {
            if !matches!(contender, Contender::Netdrop | Contender::Bpftrace) {
                let program = tracepoint(&mut bench, contender);
                program.load("kfree_skb", &kernel_btf).unwrap();
            }
        }
        let mut map = |name| -> Map { bench.take_map(name).unwrap() };
        let ring = Source::Ring(map("RING").try_into().unwrap());
        let perf = Source::perf(map("PERF").try_into().unwrap());
        let vmlinux = btf::open_vmlinux(Path::new("/sys")).unwrap();
        Self {
            bench,
            ring: Arc::new(Mutex::new(ring)),
            perf: Arc::new(Mutex::new(perf)),
            kernel: program::Kernel::from_btf(&vmlinux).unwrap(),
        }
    }

    /// Attaches one; `drop_one` drops a packet, by which one sees that it works.
    pub(crate) fn attach(&mut self, contender: Contender, drop_one: &dyn Fn()) -> Attached {
        let reader = match contender {
            Contender::Netdrop => {
                let (program, maps) = program::attach(&self.kernel, SIZES).unwrap();
                return Attached::Netdrop {
                    program,
                    _maps: Box::new(maps),
                };
            }
            Contender::Bpftrace => return Attached::Bpftrace(Bpftrace::start(drop_one)),
            Contender::Empty | Contender::BareUpdate => None,
            Contender::RingSilent => Some(Reader::start(&self.ring, Wait::Sleep)),
            Contender::RingEvent => Some(Reader::start(&self.ring, Wait::Notified)),
            Contender::PerfEvent => Some(Reader::start(&self.perf, Wait::Notified)),
        };
        let program = tracepoint(&mut self.bench, contender);
        let id = program.attach().unwrap();
        let fd = program.fd().unwrap().as_fd().as_raw_fd();
        Attached::Bench {
            fdinfo: format!("/proc/self/fdinfo/{fd}").into(),
            link: program.take_link(id).unwrap(),
            reader,
        }
    }
}

impl Attached {
    /// What the kernel counts about its runs.
    pub(crate) fn stats(&self) -> Stats {
        match self {
            Self::Bench { fdinfo, .. } => fdinfo::read(fdinfo).unwrap(),
            Self::Netdrop { program, .. } => {
                let stats = program.run_stats(Path::new("/proc")).unwrap();
                Stats {
                    runs: stats.runs,
                    nanoseconds: stats.run_time.as_nanos() as u64,
                }
            }
            Self::Bpftrace(bpftrace) => bpftrace.stats(),
        }
    }

    /// Detaches it; what its part in user space did, if it is told of each drop.
    pub(crate) fn detach(self) -> Option<Report> {
        match self {
            Self::Bench { link, reader, .. } => {
                drop(link);
                reader.map(Reader::stop)
            }
            Self::Netdrop { .. } | Self::Bpftrace(_) => None,
        }
    }
}

fn tracepoint(bench: &mut Ebpf, contender: Contender) -> &mut BtfTracePoint {
    let program = bench.program_mut(contender.in_object()).unwrap();
    program.try_into().unwrap()
}
