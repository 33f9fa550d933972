//! Drops in an interrupt that hits the BPF program itself. From 6.1 on the kernel does not run a tracing program
//! within itself, and counts those that it left out (`bpf_prog_inc_misses_counter`, `kernel/bpf/syscall.c`).

use std::fs;
use std::thread;

use netdrop_tests::netns::Veth;
use netdrop_tests::{Exporter, Flood, Ledger, Namespace, Room, Witness, send, symbols};

const DROPPED: &str = "netdrop_dropped_packets_total";
const LINK_DOWN: &str = "netdrop_link_down_dropped_packets_total";
const UNATTRIBUTED: &str = "netdrop_unattributed_packets_total";

/// Frames of each of the two floods in one round.
const FRAMES: u64 = 250_000;
/// One round nearly always nests; whether it does is the interrupts' business.
const MOST_ROUNDS: u64 = 8;

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn drops_in_an_interrupt_of_the_program_itself_are_counted_as_nested() {
    let _room = Room::enter();
    let cpus = send::two_cpus();
    let (here, there) = (Namespace::new(), Namespace::new());
    let softirq = Veth::between(&here, &there);
    let process = Veth::between(&here, &there);
    // Frames sent on the first CPU are received in an interrupt of the second (RPS), where a sender drops in
    // its own context: past the qdisc, on a device without carrier.
    let steer = format!("/sys/class/net/{}/queues/rx-0/rps_cpus", softirq.a);
    let mask = format!("{:x}", 1_u64 << cpus[1]);
    here.exec(&["sh", "-c", &format!("echo {mask} > {steer}")]);
    there.ip(&["link", "set", "dev", &process.b, "down"]);
    let exporter = Exporter::launch().namespace(&here).start();
    let ledger = Ledger::open(&exporter);
    let witness = Witness::of_protocol(send::ETHERTYPE);

    let flood = Flood::over(&softirq.b, FRAMES);
    let received = Flood {
        cpu: Some(cpus[0]),
        ..flood.clone()
    };
    let refused = Flood {
        device: process.a.clone(),
        cpu: Some(cpus[1]),
        bypass_qdisc: true,
        ..flood
    };
    for round in 1..=MOST_ROUNDS {
        thread::scope(|scope| {
            scope.spawn(|| there.enter(|| received.send()));
            scope.spawn(|| here.enter(|| refused.send()));
        });
        let sent = round * 2 * FRAMES;
        witness.expect(sent);

        // Before the scrape: what others on the machine drop meanwhile can only add to what is served.
        let misses = recursion_misses(exporter.pid());
        let metrics = ledger.balance();
        // Whatever the reason: RPS also drops what overruns the other CPU's backlog.
        let at = |device: &str| metrics.sum(DROPPED, &[("device", device)]);
        let series = at(&softirq.a) + at(&process.a);
        let nested = metrics.value(UNATTRIBUTED, &[("cause", "nested")]).unwrap();
        println!("round {round}: {series} of {sent} in series, {nested} nested");
        ledger.assert_part(&metrics, series, sent);
        let down = [("device", process.a.as_str()), ("link", "no_carrier")];
        assert_eq!(metrics.sum(LINK_DOWN, &down), at(&process.a));
        assert_eq!(
            metrics.value(UNATTRIBUTED, &[("cause", "map_full")]),
            Some(0.0)
        );
        // Never less than the kernel's own count; more would be inserts refused as busy.
        assert!(nested >= misses as f64, "{nested} nested, {misses} misses");
        if misses > 0 || !kernel_skips_nested_runs() {
            return;
        }
    }
    panic!("no drop fell into the program in {MOST_ROUNDS} rounds");
}

/// What the kernel tells of the exporter's programs in `/proc/<pid>/fdinfo` (5.12 and later).
fn recursion_misses(pid: u32) -> u64 {
    fs::read_dir(format!("/proc/{pid}/fdinfo"))
        .unwrap()
        .filter_map(|entry| {
            let text = fs::read_to_string(entry.unwrap().path()).ok()?;
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("recursion_misses:"))?;
            Some(line.trim().parse::<u64>().unwrap())
        })
        .sum()
}

/// Since the kernel skips, its raw tracepoints call this function from another file, so it has a name of
/// its own among the symbols (`__bpf_trace_run`, `kernel/trace/bpf_trace.c`).
fn kernel_skips_nested_runs() -> bool {
    symbols::is_function("bpf_prog_inc_misses_counter")
}
