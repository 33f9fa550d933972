//! A packet that is dropped on its way out is counted with the state of the socket that sent it (`skb->sk`),
//! wherever on that way it is dropped.
//!
//! What is dropped are replies, which the host sends in the context of this thread (`tests/src/wire.rs`), and
//! never what it would send again: so the numbers are those of the segments that asked for them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use netdrop_tests::lives::{Life, STATES, lives};
use netdrop_tests::refuse::Place;
use netdrop_tests::segment::{ACK, Family, RST, SYN, Segment};
use netdrop_tests::sockets::tcp_state;
use netdrop_tests::watch::{Dropped, assert_one, by_state, drops};
use netdrop_tests::{Exporter, Room, Wire};

/// Sent once each; every case adds a number of its own, so that no two cases can be mixed up.
const PACKETS: u64 = 10;

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_dropped_acknowledgment_has_the_state_of_the_connection_at_every_place() {
    let _room = Room::enter();
    let wire = Wire::new();
    let exporter = Exporter::launch().namespace(&wire.host).start();
    for family in Family::BOTH {
        let lives = lives(&wire, family);
        // Refused data is acknowledged again, and never too often (tcp_oow_rate_limited); but a connection
        // that is only being asked for is reset.
        let with_replies = &lives[1..];
        assert_eq!(lives[0].state, "SYN_SENT");
        for place in Place::ALL {
            let _refusal = place.refuse_tcp(&wire.host, ACK);
            let mut sent = BTreeMap::new();
            let dropped = drops(&exporter, "host", family.ethertype(), || {
                for (life, packets) in with_replies.iter().zip(PACKETS..) {
                    for _ in 0..packets {
                        wire.send(&life.refused_segment());
                    }
                    sent.insert(life.state.as_str(), packets);
                }
            });
            assert_eq!(sent.len(), STATES.len() - 1);
            // The refused segments themselves were to be received.
            let replies: Vec<Dropped> = dropped
                .into_iter()
                .filter(|drop| !drop.has_receiver)
                .collect();
            assert_eq!(by_state(&replies), sent, "{place:?} {replies:?}");
            for reply in &replies {
                assert_eq!(reply.device, place.device(), "{place:?} {reply:?}");
            }
            with_replies.iter().for_each(|life| stays(&wire, life));
        }
        wire.discard();
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_dropped_answer_to_a_connection_request_has_state_new_syn_recv() {
    let _room = Room::enter();
    let wire = Wire::new();
    let exporter = Exporter::launch().namespace(&wire.host).start();
    for (family, packets) in Family::BOTH.into_iter().zip(PACKETS..) {
        let host = SocketAddr::new(family.host(), 80);
        let far = |port| SocketAddr::new(family.far(), port);
        let listener = wire.listener(host);
        let request = wire.request(host, far(40_000));
        let state = tcp_state(&wire.host, host, Some(request.far));
        assert_eq!(state, "NEW_SYN_RECV");

        // For both families: no answer is sent again (reqsk_timer_handler), whenever that would be.
        let retries = "net.ipv4.tcp_synack_retries=0";
        wire.host.exec(&["sysctl", "-qw", retries]);
        for (place, first_port) in Place::ALL.into_iter().zip([41_000, 42_000, 43_000]) {
            let _refusal = place.refuse_tcp(&wire.host, SYN | ACK);
            let dropped = drops(&exporter, "host", family.ethertype(), || {
                for (_, port) in (0..packets).zip(first_port..) {
                    let ask = Segment {
                        from: far(port),
                        ..request.segment(SYN, b"")
                    };
                    wire.send(&ask.frame());
                }
            });
            assert_one(&dropped, &state, place.device(), packets, false);
        }
        drop(listener);
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_dropped_connection_request_has_state_syn_sent() {
    let _room = Room::enter();
    let wire = Wire::new();
    let exporter = Exporter::launch().namespace(&wire.host).start();
    for (family, packets) in Family::BOTH.into_iter().zip(PACKETS..) {
        let host = |port| SocketAddr::new(family.host(), port);
        let far = SocketAddr::new(family.far(), 80);
        let (_, socket) = wire.connecting(host(7000), far);
        let state = tcp_state(&wire.host, host(7000), Some(far));
        assert_eq!(state, "SYN_SENT");
        drop(socket);
        for (place, first_port) in Place::ALL.into_iter().zip([41_000, 42_000, 43_000]) {
            let _refusal = place.refuse_tcp(&wire.host, SYN);
            let dropped = drops(&exporter, "host", family.ethertype(), || {
                // Closed at once, so that none asks a second time.
                for (_, port) in (0..packets).zip(first_port..) {
                    drop(wire.connect(host(port), far));
                }
            });
            assert_one(&dropped, &state, place.device(), packets, false);
        }
    }
}

/// The kernel sends such a reset by a socket of its own: over IPv4 a raw one for protocol TCP, which the packet
/// keeps (`ip_send_unicast_reply`), over IPv6 one that the packet does not keep (`tcp_v6_send_response`).
#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_dropped_reset_for_a_port_that_nobody_listens_on_has_no_state() {
    let _room = Room::enter();
    let wire = Wire::new();
    let exporter = Exporter::launch().namespace(&wire.host).start();
    for (family, packets) in Family::BOTH.into_iter().zip(PACKETS..) {
        let ask = Segment {
            from: SocketAddr::new(family.far(), 40_000),
            to: SocketAddr::new(family.host(), 80),
            seq: 1,
            ack: 0,
            flags: SYN,
            payload: Vec::new(),
        };
        for place in Place::ALL {
            let netns = match (family, place) {
                // Here the packet has neither a device nor a socket, so nothing tells whose it is.
                (Family::V6, Place::Output) => "",
                _ => "host",
            };
            let _refusal = place.refuse_tcp(&wire.host, RST | ACK);
            let dropped = drops(&exporter, netns, family.ethertype(), || {
                (0..packets).for_each(|_| wire.send(&ask.frame()));
            });
            // What asked for the resets is a drop, too.
            let resets: Vec<Dropped> = dropped
                .into_iter()
                .filter(|drop| drop.kind.reason == "NETFILTER_DROP")
                .collect();
            assert_one(&resets, "", place.device(), packets, false);
        }
    }
}

fn stays(wire: &Wire, life: &Life<'_>) {
    let connection = &life.connection;
    let state = tcp_state(&wire.host, connection.host, Some(connection.far));
    assert_eq!(state, life.state, "the state changed meanwhile");
}
