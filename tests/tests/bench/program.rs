//! What the BPF program costs per drop, beside the least that any counter by key needs, and beside
//! other ways to learn of drops.
//!
//! The kernel measures each run (`BPF_ENABLE_STATS`). Each program is attached alone, because the
//! one that runs first pays the cache misses for the others, and all take turns over the same
//! packets, so that a machine that slows down slows all of them. What is compared is the best round of each.

use aya::sys::{Stats, enable_stats};
use netdrop_tests::Room;

use crate::{
    contenders::{Contender, Programs},
    scenarios::{Bench, PACKETS, Scenario},
};

/// Turns that each program takes.
const ROUNDS: usize = 7;
/// What the program may cost at most, in bare updates of a per-CPU hash over the same packets, each at the best of its
/// rounds: whoever else is at work on the same processors can only add to a cost.
const LIMITS: [(Scenario, f64); 2] = [(Scenario::NoSocket, 0.9), (Scenario::TwoKeys, 1.3)];
/// How often it may be measured until it costs no more: a machine can be disturbed for all of a measurement.
const ATTEMPTS: usize = 2;

/// What one contender cost in one round.
struct Turn {
    /// Nanoseconds per run, by scenario.
    kernel: [f64; Scenario::ALL.len()],
    user_space: Option<UserSpace>,
}

/// What its part in user space did meanwhile.
#[derive(Clone, Copy)]
struct UserSpace {
    /// Nanoseconds of processor time per drop.
    cost: f64,
    /// The part of the drops that it never heard of.
    lost: f64,
}

#[test]
#[ignore = "needs root and the bench object: run by tests/run.sh bench"]
fn the_program_costs_less_than_a_bare_update() {
    let _room = Room::enter();
    let _stats = enable_stats(Stats::RunTime).unwrap();
    let bench = Bench::new();
    let is_cheap = (0..ATTEMPTS).any(|_| {
        let ratios = ratios_to_a_bare_update(&bench);
        LIMITS
            .iter()
            .all(|(scenario, limit)| ratios[*scenario as usize] <= *limit)
    });
    assert!(
        is_cheap,
        "at most {LIMITS:?} times a bare update is allowed"
    );
}

/// At the best of the rounds, by scenario. Prints all that it measured.
fn ratios_to_a_bare_update(bench: &Bench) -> [f64; Scenario::ALL.len()] {
    let mut programs = Programs::load();
    let rounds: Vec<Vec<Turn>> = (0..ROUNDS)
        .map(|_| {
            Contender::ALL
                .map(|contender| turn(&mut programs, contender, bench))
                .into()
        })
        .collect();

    print_table(&rounds);
    let best = |wanted: Contender, scenario: Scenario| {
        let at = Contender::ALL.iter().position(|c| *c == wanted).unwrap();
        let costs = rounds
            .iter()
            .map(|round| round[at].kernel[scenario as usize]);
        costs.min_by(f64::total_cmp).unwrap()
    };
    let ratios = Scenario::ALL
        .map(|scenario| best(Contender::Netdrop, scenario) / best(Contender::BareUpdate, scenario));
    println!("netdrop-exporter beside a bare update, each at its best: {ratios:.2?}");
    ratios
}

/// Attaches one contender, lets packets be dropped in every way, and detaches it.
fn turn(programs: &mut Programs, contender: Contender, bench: &Bench) -> Turn {
    let attached = programs.attach(contender, &|| bench.drop_one());
    let start = attached.stats();
    let kernel = Scenario::ALL.map(|scenario| {
        let before = attached.stats();
        bench.run(scenario);
        let cost = attached.stats() - before;
        assert!(
            cost.runs >= PACKETS,
            "{contender:?}, {scenario:?}: the program ran only {} times",
            cost.runs
        );
        cost.nanoseconds as f64 / cost.runs as f64
    });
    let runs = (attached.stats() - start).runs as f64;
    let user_space = attached.detach().map(|reader| UserSpace {
        cost: reader.nanoseconds as f64 / runs,
        lost: 1.0 - reader.events as f64 / runs,
    });
    Turn { kernel, user_space }
}

/// Prints the medians as a table that can stand in a README.
fn print_table(rounds: &[Vec<Turn>]) {
    println!("Nanoseconds per drop, median of {ROUNDS} rounds of {PACKETS} packets:\n");
    let scenarios = Scenario::ALL.map(Scenario::title).join(" | ");
    println!("| program | {scenarios} | user space | lost |");
    println!("|---|{}", "--:|".repeat(Scenario::ALL.len() + 2));
    for (at, contender) in Contender::ALL.iter().enumerate() {
        let turns = || rounds.iter().map(|round| &round[at]);
        let kernel = Scenario::ALL.map(|scenario| {
            let cost = median(turns().map(|turn| turn.kernel[scenario as usize]));
            format!("{cost:.0}")
        });
        let of_user_space = |value: fn(UserSpace) -> f64| {
            let values: Vec<_> = turns()
                .filter_map(|turn| turn.user_space.map(value))
                .collect();
            (!values.is_empty()).then(|| median(values.into_iter()))
        };
        let cost = of_user_space(|user_space| user_space.cost);
        let lost = of_user_space(|user_space| user_space.lost * 100.0);
        println!(
            "| {} | {} | {} | {} |",
            contender.title(),
            kernel.join(" | "),
            cost.map_or_else(String::new, |cost| format!("{cost:.0}")),
            lost.map_or_else(String::new, |lost| format!("{lost:.1} %")),
        );
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
