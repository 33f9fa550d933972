//! A packet that a TCP socket was to receive is counted with the state of that socket, at each step of a
//! connection's life.
//!
//! The state is the kernel's as ss(8) shows it. Sending to the wire drops in the context of this thread, so
//! the numbers are those that were sent (`tests/src/wire.rs`).

use std::collections::BTreeMap;
use std::net::SocketAddr;

use netdrop_tests::lives::{STATES, lives, time_wait};
use netdrop_tests::segment::{ACK, FIN, Family, SYN, Segment, corrupted};
use netdrop_tests::sockets::tcp_state;
use netdrop_tests::watch::{assert_one, by_state, drops};
use netdrop_tests::wire::DEVICE;
use netdrop_tests::{Exporter, Namespace, Room, Wire};

/// Sent once each; every case adds a number of its own, so that no two cases can be mixed up.
const PACKETS: u64 = 10;

fn host(family: Family) -> SocketAddr {
    SocketAddr::new(family.host(), 80)
}

fn far(family: Family) -> SocketAddr {
    SocketAddr::new(family.far(), 40_000)
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_segment_that_a_connection_refuses_has_the_state_of_the_connection() {
    let _room = Room::enter();
    let wire = Wire::new();
    let exporter = Exporter::launch().namespace(&wire.host).start();
    for family in Family::BOTH {
        let lives = lives(&wire, family);
        let mut sent = BTreeMap::new();
        let dropped = drops(&exporter, "host", family.ethertype(), || {
            for (life, packets) in lives.iter().zip(PACKETS..) {
                send_times(&wire, &life.refused_segment(), packets);
                sent.insert(life.state.as_str(), packets);
            }
        });
        assert_eq!(sent.len(), STATES.len());
        assert_eq!(by_state(&dropped), sent, "{dropped:?}");
        for drop in &dropped {
            assert_eq!(drop.device, DEVICE, "{drop:?}");
            assert!(drop.has_receiver, "{drop:?}");
        }
        for life in &lives {
            let connection = &life.connection;
            let state = tcp_state(&wire.host, connection.host, Some(connection.far));
            assert_eq!(state, life.state, "the state changed meanwhile");
        }
        wire.discard();
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_corrupt_segment_has_the_state_of_the_socket_that_was_found_before_its_checksum_was_looked_at()
{
    let _room = Room::enter();
    let wire = Wire::new();
    let exporter = Exporter::launch().namespace(&wire.host).start();
    for family in Family::BOTH {
        let port = |port| SocketAddr::new(family.host(), port);
        let listener = wire.listener(port(81));
        let (established, _stream) = wire.establish(port(80), far(family));
        let cases = [
            (established, "ESTABLISHED"),
            (wire.request(port(81), far(family)), "NEW_SYN_RECV"),
            (time_wait(&wire, port(82), far(family)), "TIME_WAIT"),
        ];
        for ((connection, state), packets) in cases.iter().zip(PACKETS..) {
            let shown = || tcp_state(&wire.host, connection.host, Some(connection.far));
            assert_eq!(shown(), *state);
            let frame = corrupted(connection.segment(ACK, b"data").frame());
            let dropped = drops(&exporter, "host", family.ethertype(), || {
                send_times(&wire, &frame, packets);
            });
            // The socket is in skb->sk (tcp_v4_early_demux), and not yet an argument of the tracepoint.
            assert_one(&dropped, state, DEVICE, packets, false);
            assert_eq!(shown(), *state, "the state changed meanwhile");
        }
        drop(listener);
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn what_a_listening_socket_refuses_has_state_listen() {
    let _room = Room::enter();
    let wire = Wire::new();
    let exporter = Exporter::launch().namespace(&wire.host).start();
    for family in Family::BOTH {
        let listener = wire.listener(host(family));
        let state = tcp_state(&wire.host, host(family), None);
        assert_eq!(state, "LISTEN");
        let refused = |flags| segment(family, flags).frame();
        for (flags, packets) in [SYN | FIN, ACK].into_iter().zip(PACKETS..) {
            let dropped = drops(&exporter, "host", family.ethertype(), || {
                send_times(&wire, &refused(flags), packets);
            });
            assert_one(&dropped, &state, DEVICE, packets, true);
        }

        // A segment for a connection request is the listening socket's to judge (tcp_check_req).
        let request = wire.request(host(family), far(family));
        let mut old = request.segment(ACK, b"data");
        old.seq -= 100;
        let dropped = drops(&exporter, "host", family.ethertype(), || {
            send_times(&wire, &old.frame(), PACKETS);
        });
        assert_one(&dropped, &state, DEVICE, PACKETS, true);
        wire.discard();
        drop(listener);
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_segment_for_a_port_that_nobody_listens_on_has_no_state() {
    let _room = Room::enter();
    let wire = Wire::new();
    let exporter = Exporter::launch().namespace(&wire.host).start();
    for (family, packets) in Family::BOTH.into_iter().zip(PACKETS..) {
        let whole = segment(family, SYN).frame();
        // The checksum is looked at before a listening socket is looked for, so there is none either.
        for frame in [corrupted(whole.clone()), whole] {
            let dropped = drops(&exporter, "host", family.ethertype(), || {
                send_times(&wire, &frame, packets);
            });
            assert_one(&dropped, "", DEVICE, packets, false);
        }
        wire.discard();
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
    for family in Family::BOTH {
        let lives = lives(&wire, family);
        let mut sent = BTreeMap::new();
        let dropped = drops(&exporter, wire.host.name(), family.ethertype(), || {
            for (life, packets) in lives.iter().zip(PACKETS..) {
                send_times(&wire, &life.refused_segment(), packets);
                sent.insert(life.state.as_str(), packets);
            }
        });
        assert_eq!(by_state(&dropped), sent, "{dropped:?}");
        assert!(
            dropped.iter().all(|drop| drop.device == DEVICE),
            "{dropped:?}"
        );
        wire.discard();
    }
}

fn segment(family: Family, flags: u8) -> Segment {
    Segment {
        from: far(family),
        to: host(family),
        seq: 1,
        ack: 0,
        flags,
        payload: Vec::new(),
    }
}

fn send_times(wire: &Wire, frame: &[u8], times: u64) {
    for _ in 0..times {
        wire.send(frame);
    }
}
