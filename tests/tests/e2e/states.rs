//! A packet that a TCP socket was to receive is counted with the state of that socket, at each step of a
//! connection's life.
//!
//! The state is the kernel's as ss(8) shows it. Sending to the wire drops in the context of this thread, so
//! the numbers are those that were sent (`tests/src/wire.rs`). Every case adds a number of its own, so that no two
//! cases can be mixed up.

use std::collections::BTreeMap;

use netdrop_tests::lives::{STATES, lives, time_wait};
use netdrop_tests::packet::{ACK, FIN, Family, SYN, Segment, corrupted};
use netdrop_tests::sockets::tcp_state;
use netdrop_tests::watch::{Dropped, assert_one, by_state, drops};
use netdrop_tests::wire::DEVICE;
use netdrop_tests::{Exporter, Namespace, Room, Scene, Wire, Witness};

const PACKETS: u64 = 10;

/// Drops a segment at a connection in each state, and returns what `drops` says to that.
fn refuse_in_each_state(
    wire: &Wire,
    family: Family,
    drops: impl FnOnce(&mut dyn FnMut()) -> Vec<Dropped>,
) -> Vec<Dropped> {
    let lives = lives(wire, family);
    let mut sent = BTreeMap::new();
    let dropped = drops(&mut || {
        for (life, packets) in lives.iter().zip(PACKETS..) {
            wire.send(&life.refused_segment(), packets);
            sent.insert(life.state.as_str(), packets);
        }
    });
    assert_eq!(sent.len(), STATES.len());
    assert_eq!(by_state(&dropped), sent, "{dropped:?}");
    assert!(dropped.iter().all(|drop| drop.device == DEVICE));
    lives.iter().for_each(|life| life.stays(wire));
    wire.discard();
    dropped
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_segment_that_a_connection_refuses_has_the_state_of_the_connection() {
    let _room = Room::enter();
    let scene = Scene::new();
    for family in Family::BOTH {
        let dropped = refuse_in_each_state(&scene, family, |work| scene.drops(work));
        assert!(dropped.iter().all(|drop| drop.has_receiver), "{dropped:?}");
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn sockets_of_other_namespaces_have_their_state_too() {
    let _room = Room::enter();
    let (wire, elsewhere) = (Wire::new(), Namespace::new());
    let exporter = Exporter::launch()
        .namespace(&elsewhere)
        .arguments(&["--collector.drops.all-netns"])
        .start();
    let witness = Witness::of_all();
    for family in Family::BOTH {
        refuse_in_each_state(&wire, family, |work| {
            drops(&exporter, wire.host.name(), &witness, work)
        });
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_corrupt_segment_has_the_state_of_the_socket_that_was_found_before_its_checksum_was_looked_at()
{
    let _room = Room::enter();
    let scene = Scene::new();
    for family in Family::BOTH {
        let far = family.far(40_000);
        let _listener = scene.listener(family.host(81));
        let (established, _stream) = scene.establish(family.host(80), far);
        let cases = [
            (established, "ESTABLISHED"),
            (scene.request(family.host(81), far), "NEW_SYN_RECV"),
            (time_wait(&scene, family.host(82), far), "TIME_WAIT"),
        ];
        for ((connection, state), packets) in cases.iter().zip(PACKETS..) {
            let shown = || tcp_state(&scene.host, connection.host, Some(far));
            assert_eq!(shown(), *state);
            let frame = corrupted(connection.segment(ACK, b"data").frame());
            let dropped = scene.drops(|| scene.send(&frame, packets));
            // The socket is in skb->sk (tcp_v4_early_demux), and not yet an argument of the tracepoint.
            assert_one(&dropped, state, DEVICE, packets, false);
            assert_eq!(shown(), *state, "the state changed meanwhile");
        }
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn what_a_listening_socket_refuses_has_state_listen() {
    let _room = Room::enter();
    let scene = Scene::new();
    for family in Family::BOTH {
        let host = family.host(80);
        let _listener = scene.listener(host);
        assert_eq!(tcp_state(&scene.host, host, None), "LISTEN");
        let request = scene.request(host, family.far(41_000));
        // A segment for a connection request is the listening socket's to judge (tcp_check_req).
        let mut old = request.segment(ACK, b"data");
        old.seq -= 100;
        let refused = [segment(family, SYN | FIN), segment(family, ACK), old];
        for (segment, packets) in refused.iter().zip(PACKETS..) {
            let frame = segment.frame();
            let dropped = scene.drops(|| scene.send(&frame, packets));
            assert_one(&dropped, "LISTEN", DEVICE, packets, true);
        }
        scene.discard();
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_segment_for_a_port_that_nobody_listens_on_has_no_state() {
    let _room = Room::enter();
    let scene = Scene::new();
    for (family, packets) in Family::BOTH.into_iter().zip(PACKETS..) {
        let whole = segment(family, SYN).frame();
        // The checksum is looked at before a listening socket is looked for, so there is none either.
        for frame in [corrupted(whole.clone()), whole] {
            let dropped = scene.drops(|| scene.send(&frame, packets));
            assert_one(&dropped, "", DEVICE, packets, false);
        }
        scene.discard();
    }
}

fn segment(family: Family, flags: u8) -> Segment {
    Segment {
        from: family.far(40_000),
        to: family.host(80),
        seq: 1,
        ack: 0,
        flags,
        payload: Vec::new(),
    }
}
