//! What a flood that a filter drops loses by a program on its drops: two senders on the loopback device, each on a
//! processor of its own, and a rule of nftables that drops what they send.

use std::{
    net::UdpSocket,
    thread,
    time::{Duration, Instant},
};

use netdrop_tests::{Namespace, Room, send};

use crate::contenders::{Contender, Programs};

/// Turns that each program takes, and that none takes.
const ROUNDS: usize = 11;
/// How long one takes.
const TURN: Duration = Duration::from_millis(300);
/// Datagrams between two looks at the clock.
const BURST: u64 = 100;

const PROGRAMS: [Contender; 3] = [Contender::Empty, Contender::BareUpdate, Contender::Netdrop];

#[test]
#[ignore = "needs root and the bench object: run by tests/run.sh bench"]
fn a_flood_that_nftables_drops_loses_some_of_its_pace_by_a_program() {
    let _room = Room::enter();
    let host = Namespace::new();
    for words in [
        "add table inet flood",
        "add chain inet flood input { type filter hook input priority 0; }",
        "add rule inet flood input udp dport 9 drop",
    ] {
        host.exec(&["nft", words]);
    }
    let mut programs = Programs::load();
    let mut lost = [const { Vec::new() }; PROGRAMS.len()];
    for _ in 0..ROUNDS {
        for (lost, program) in lost.iter_mut().zip(PROGRAMS) {
            // Beside its own turn without any, since the machine changes its mind in a round.
            let without = pace(&host);
            let attached = programs.attach(program, &|| panic!("it needs no drop"));
            let with = pace(&host);
            attached.detach();
            lost.push(100.0 * (1.0 - with / without));
        }
    }
    println!("\n| a flood that nftables drops | lost, median of {ROUNDS} |");
    println!("|---|--:|");
    for (lost, program) in lost.iter_mut().zip(PROGRAMS) {
        lost.sort_by(f64::total_cmp);
        println!("| {} | {:.1} % |", program.title(), lost[ROUNDS / 2]);
    }
}

/// Datagrams a second, of both senders.
fn pace(host: &Namespace) -> f64 {
    thread::scope(|scope| {
        let senders = send::two_cpus().map(|cpu| {
            scope.spawn(move || {
                host.enter(|| {
                    send::pin_to(cpu);
                    send_for(TURN)
                })
            })
        });
        let paces = senders.map(|sender| sender.join().unwrap());
        paces.into_iter().sum()
    })
}

fn send_for(time: Duration) -> f64 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect("127.0.0.1:9").unwrap();
    let begin = Instant::now();
    let mut sent = 0;
    while begin.elapsed() < time {
        for _ in 0..BURST {
            socket.send(b"x").unwrap();
        }
        sent += BURST;
    }
    sent as f64 / begin.elapsed().as_secs_f64()
}
