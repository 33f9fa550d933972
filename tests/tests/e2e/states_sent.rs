//! A packet that is dropped on its way out is counted with the state of the socket that sent it (`skb->sk`),
//! wherever on that way it is dropped.
//!
//! What is dropped are replies, which the host sends in the context of this thread (`tests/src/wire.rs`), and
//! never what it would send again: so the numbers are those of the segments that asked for them. Every case adds a
//! number of its own, so that no two cases can be mixed up.

use std::collections::BTreeMap;

use netdrop_tests::lives::{STATES, lives};
use netdrop_tests::packet::{ACK, Family, RST, SYN, Segment};
use netdrop_tests::refuse::Place;
use netdrop_tests::sockets::tcp_state;
use netdrop_tests::tracefs::Drop;
use netdrop_tests::watch::{assert_one, by_state, drops_where};
use netdrop_tests::{Room, Scene};

const PACKETS: u64 = 10;

/// The first of the ports that are asked from at each place.
const PORTS: [u16; 3] = [41_000, 42_000, 43_000];

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_dropped_acknowledgment_has_the_state_of_the_connection_at_every_place() {
    let _room = Room::enter();
    let scene = Scene::new();
    for family in Family::BOTH {
        let lives = lives(&scene, family);
        // Refused data is acknowledged again, and never too often (tcp_oow_rate_limited); but a connection
        // that is only being asked for is reset.
        let with_replies = &lives[1..];
        assert_eq!(lives[0].state, "SYN_SENT");
        for place in Place::ALL {
            let _refusal = place.refuse_tcp(&scene.host, ACK);
            let mut sent = BTreeMap::new();
            let mut replies = scene.drops(|| {
                for (life, packets) in with_replies.iter().zip(PACKETS..) {
                    scene.send(&life.refused_segment(), packets);
                    sent.insert(life.state.as_str(), packets);
                }
            });
            assert_eq!(sent.len(), STATES.len() - 1);
            // The refused segments themselves were to be received.
            replies.retain(|drop| !drop.has_receiver);
            assert_eq!(by_state(&replies), sent, "{place:?} {replies:?}");
            let all_there = replies.iter().all(|drop| drop.device == place.device());
            assert!(all_there, "{place:?} {replies:?}");
            with_replies.iter().for_each(|life| life.stays(&scene));
        }
        scene.discard();
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_dropped_answer_to_a_connection_request_has_state_new_syn_recv() {
    let _room = Room::enter();
    let scene = Scene::new();
    // For both families: no answer is sent again (reqsk_timer_handler), whenever that would be.
    scene.sysctl("ipv4/tcp_synack_retries", "0");
    for (family, packets) in Family::BOTH.into_iter().zip(PACKETS..) {
        let host = family.host(80);
        let _listener = scene.listener(host);
        let request = scene.request(host, family.far(40_000));
        let state = tcp_state(&scene.host, host, Some(request.far));
        assert_eq!(state, "NEW_SYN_RECV");
        for (place, first_port) in Place::ALL.into_iter().zip(PORTS) {
            let _refusal = place.refuse_tcp(&scene.host, SYN | ACK);
            let dropped = scene.drops(|| {
                for (_, port) in (0..packets).zip(first_port..) {
                    let ask = Segment {
                        from: family.far(port),
                        ..request.segment(SYN, b"")
                    };
                    scene.send(&ask.frame(), 1);
                }
            });
            assert_one(&dropped, &state, place.device(), packets, false);
        }
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_dropped_connection_request_has_state_syn_sent() {
    let _room = Room::enter();
    let scene = Scene::new();
    for (family, packets) in Family::BOTH.into_iter().zip(PACKETS..) {
        let (host, far) = (family.host(7000), family.far(80));
        let (_, socket) = scene.connecting(host, far);
        assert_eq!(tcp_state(&scene.host, host, Some(far)), "SYN_SENT");
        drop(socket);
        for (place, first_port) in Place::ALL.into_iter().zip(PORTS) {
            let _refusal = place.refuse_tcp(&scene.host, SYN);
            let dropped = scene.drops(|| {
                // Closed at once, so that none asks a second time.
                for (_, port) in (0..packets).zip(first_port..) {
                    drop(scene.connect(family.host(port), far));
                }
            });
            assert_one(&dropped, "SYN_SENT", place.device(), packets, false);
        }
    }
}

/// The kernel sends such a reset by a socket of its own: over IPv4 a raw one for protocol TCP, which the packet
/// keeps (`ip_send_unicast_reply`), over IPv6 one that the packet does not keep (`tcp_v6_send_response`).
#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_dropped_reset_for_a_port_that_nobody_listens_on_has_no_state() {
    let _room = Room::enter();
    let scene = Scene::new();
    for (family, packets) in Family::BOTH.into_iter().zip(PACKETS..) {
        let ask = Segment {
            from: family.far(40_000),
            to: family.host(80),
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
            let _refusal = place.refuse_tcp(&scene.host, RST | ACK);
            // What asked for the resets is a drop, too.
            let refused = |kind: &Drop| kind.reason == "NETFILTER_DROP";
            let resets = drops_where(refused, &scene.exporter, netns, &scene.witness, || {
                scene.send(&ask.frame(), packets)
            });
            assert_one(&resets, "", place.device(), packets, false);
        }
    }
}
