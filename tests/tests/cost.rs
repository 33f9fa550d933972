//! What the BPF program costs per drop, beside the least that any counter by key needs.
//!
//! The kernel measures each run (`BPF_ENABLE_STATS`). Each program is attached alone, because the
//! one that runs first pays the cache misses for the others, and all take turns over the same
//! frames, so that a machine that slows down slows all of them. What is compared is the ratio
//! within a round.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed step of a benchmark ends it, with the step's name"
)]

use std::{env, fs, os::fd::AsFd, os::fd::AsRawFd, path::Path};

use aya::{
    Btf, Ebpf,
    programs::BtfTracePoint,
    sys::{Stats, enable_stats},
};
use netdrop_exporter::drops::{btf, program};
use netdrop_tests::{Flood, Namespace, netns::Veth};

/// Frames of one measurement.
const FRAMES: u64 = 100_000;
/// Turns that each program takes.
const ROUNDS: usize = 11;
/// How much more than a bare update the program may cost, at the median.
const LIMIT: f64 = 1.2;

#[test]
#[ignore = "needs root and the bench object: run by tests/run.sh bench"]
fn the_program_costs_at_most_a_fifth_more_than_a_bare_update() {
    let _stats = enable_stats(Stats::RunTime).unwrap();
    let here = Namespace::new();
    let there = Namespace::new();
    let veth = Veth::between(&here, &there);
    let flood = Flood {
        cpu: Some(0),
        ..Flood::over(&veth.a, FRAMES)
    };
    let bench = BenchPrograms::load();
    let kernel = program::Kernel::from_btf(&btf::open_vmlinux(Path::new("/sys")).unwrap()).unwrap();

    let drop_frames = || assert_eq!(here.enter(|| flood.send()), FRAMES);
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let empty = bench.cost("empty", drop_frames);
        let bare = bench.cost("bare_update", drop_frames);
        let (attached, _maps) = program::attach(&kernel, 4096).unwrap();
        drop_frames();
        let stats = attached.run_stats(Path::new("/proc")).unwrap();
        assert!(stats.runs >= FRAMES, "the program ran {} times", stats.runs);
        rounds.push([
            empty,
            bare,
            stats.run_time.as_nanos() as f64 / stats.runs as f64,
        ]);
    }

    let column = |n: usize| median(rounds.iter().map(|round| round[n]));
    let ratio = median(rounds.iter().map(|round| round[2] / round[1]));
    println!("ns per drop, median of {ROUNDS} rounds of {FRAMES} frames:");
    println!("  empty program       {:6.1}", column(0));
    println!("  bare map update     {:6.1}", column(1));
    println!(
        "  netdrop             {:6.1}  ({ratio:.2} times a bare update)",
        column(2)
    );
    assert!(
        ratio <= LIMIT,
        "{ratio:.2} times a bare update, and at most {LIMIT} is allowed"
    );
}

/// The programs to compare with, from the object in `NETDROP_BENCH_OBJECT`.
struct BenchPrograms(Vec<u8>);

impl BenchPrograms {
    fn load() -> Self {
        let path = env::var("NETDROP_BENCH_OBJECT")
            .expect("NETDROP_BENCH_OBJECT names the object that tests/run.sh bench builds");
        Self(fs::read(path).unwrap())
    }

    /// Nanoseconds per run of one program while `work` drops packets.
    fn cost(&self, name: &str, work: impl Fn()) -> f64 {
        let mut ebpf = Ebpf::load(&self.0).unwrap();
        let program: &mut BtfTracePoint = ebpf.program_mut(name).unwrap().try_into().unwrap();
        program
            .load("kfree_skb", &Btf::from_sys_fs().unwrap())
            .unwrap();
        program.attach().unwrap();
        work();
        let fd = program.fd().unwrap().as_fd().as_raw_fd();
        let text = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
        let value = |name: &str| -> f64 {
            text.lines()
                .find_map(|l| l.strip_prefix(name))
                .unwrap()
                .trim()
                .parse()
                .unwrap()
        };
        assert!(value("run_cnt:") >= FRAMES as f64);
        value("run_time_ns:") / value("run_cnt:")
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
