use std::net::IpAddr;

use super::*;

const BOUNDS: Bounds = Bounds {
    connections: 4,
    body_bytes: 1000,
    response: Duration::from_secs(30),
};

/// A table, and a clock that moves on by a second with each event.
struct Scene {
    table: Table<()>,
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        Self {
            table: Table::new(BOUNDS),
            now: Instant::now(),
        }
    }

    fn tick(&mut self) -> Instant {
        self.now += Duration::from_secs(1);
        self.now
    }

    fn admit(&mut self, address: &str) -> Id {
        self.admit_at_cost(address).0
    }

    fn admit_at_cost(&mut self, address: &str) -> (Id, Option<Eviction>) {
        let now = self.tick();
        self.table.admit(peer(address), now, ())
    }

    /// A connection of this peer with so many bytes under way, and what that cost.
    fn respond(&mut self, address: &str, body: Body) -> (Id, Vec<Eviction>) {
        let id = self.admit(address);
        (id, self.respond_again(id, body))
    }

    fn respond_again(&mut self, id: Id, body: Body) -> Vec<Eviction> {
        let now = self.tick();
        self.table.respond(id, body, now)
    }

    fn flush(&mut self, id: Id) {
        let now = self.tick();
        self.table.body_taken(id);
        self.table.flushed(id, now);
    }

    fn has(&self, id: Id) -> bool {
        self.table.open.contains_key(&id)
    }
}

fn peer(address: &str) -> Peer {
    Peer::from(address.parse::<IpAddr>().expect("an address"))
}

fn body(address: usize, bytes: usize) -> Body {
    Body { address, bytes }
}

#[test]
fn nobody_is_evicted_while_there_are_places() {
    let mut scene = Scene::new();
    let ids: Vec<_> = (0..4).map(|_| scene.admit("192.0.2.1")).collect();
    assert!(ids.iter().all(|&id| scene.has(id)));
    scene.table.leave(ids[1]);
    assert_eq!(scene.admit_at_cost("192.0.2.1").1, None);
}

#[test]
fn a_newcomer_evicts_the_slowest_of_the_peer_that_has_the_most() {
    let mut scene = Scene::new();
    let old = scene.admit("192.0.2.2");
    let [first, second, third] = [(); 3].map(|()| scene.admit("192.0.2.1"));
    // The first has been answered since, so the second waits for longer.
    scene.respond_again(first, body(1, 1));
    let (newcomer, eviction) = scene.admit_at_cost("192.0.2.3");
    let expected = Eviction::Place {
        peer: peer("192.0.2.1"),
        held: 3,
    };
    assert_eq!(eviction, Some(expected));
    assert!(!scene.has(second));
    assert!(
        [old, first, third, newcomer]
            .iter()
            .all(|&id| scene.has(id))
    );
}

#[test]
fn a_newcomer_counts_for_its_peer() {
    let mut scene = Scene::new();
    let others = [(); 2].map(|()| scene.admit("192.0.2.1"));
    let own = [(); 2].map(|()| scene.admit("192.0.2.2"));
    let (_, eviction) = scene.admit_at_cost("192.0.2.2");
    let expected = Eviction::Place {
        peer: peer("192.0.2.2"),
        held: 2,
    };
    assert_eq!(eviction, Some(expected));
    assert!(others.iter().all(|&id| scene.has(id)));
    assert!(!scene.has(own[0]) && scene.has(own[1]));
}

#[test]
fn where_all_have_as_many_the_slowest_of_all_goes() {
    let mut scene = Scene::new();
    let ids = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"].map(|a| scene.admit(a));
    scene.flush(ids[0]);
    scene.respond_again(ids[0], body(1, 1));
    scene.admit("192.0.2.5");
    assert!(!scene.has(ids[1]));
    assert!(scene.has(ids[0]));
}

#[test]
fn who_waits_for_the_server_is_evicted_last() {
    let mut scene = Scene::new();
    let ids = [(); 4].map(|()| scene.admit("192.0.2.1"));
    scene.table.answer(ids[0]);
    scene.table.answer(ids[1]);
    scene.admit("192.0.2.2");
    scene.admit("192.0.2.3");
    assert!(scene.has(ids[0]) && scene.has(ids[1]));
    // Of the two, the older one.
    scene.admit("192.0.2.4");
    assert!(!scene.has(ids[0]) && scene.has(ids[1]));
}

#[test]
fn addresses_of_one_ipv6_network_are_one_peer() {
    let mut scene = Scene::new();
    let other = scene.admit("2001:db8::1");
    let ids = [1, 2, 3].map(|n| scene.admit(&format!("2001:db8:0:1::{n}")));
    scene.admit("192.0.2.1");
    assert!(scene.has(other) && !scene.has(ids[0]));
}

#[test]
fn a_body_counts_once_however_many_get_it() {
    let mut scene = Scene::new();
    for n in 0..3 {
        let (_, evictions) = scene.respond(&format!("192.0.2.{n}"), body(1, 800));
        assert_eq!(evictions, []);
    }
    let (_, evictions) = scene.respond("192.0.2.9", body(2, 200));
    assert_eq!(evictions, []);
}

#[test]
fn the_peer_with_the_most_bytes_loses_its_slowest_responses() {
    let mut scene = Scene::new();
    let (behaves, _) = scene.respond("192.0.2.2", body(1, 300));
    let (slowest, _) = scene.respond("192.0.2.1", body(2, 300));
    let (slow, _) = scene.respond("192.0.2.1", body(3, 300));
    let (newest, evictions) = scene.respond("192.0.2.3", body(4, 400));
    let of = |held| Eviction::Bytes {
        peer: peer("192.0.2.1"),
        held,
    };
    assert_eq!(evictions, [of(600)]);
    assert!(!scene.has(slowest));
    assert!([behaves, slow, newest].iter().all(|&id| scene.has(id)));
}

#[test]
fn the_newest_body_stays_even_if_its_peer_has_the_most() {
    let mut scene = Scene::new();
    let (first, _) = scene.respond("192.0.2.1", body(1, 400));
    let (second, _) = scene.respond("192.0.2.1", body(2, 400));
    let (shares, _) = scene.respond("192.0.2.1", body(3, 100));
    scene.respond_again(shares, body(3, 100));
    let (newest, evictions) = scene.respond("192.0.2.1", body(3, 100));
    assert_eq!(evictions, []);
    assert_eq!(scene.respond_again(newest, body(4, 300)).len(), 1);
    assert!(!scene.has(first) && scene.has(second) && scene.has(newest));
}

#[test]
fn two_bodies_are_allowed_whatever_their_size() {
    let mut scene = Scene::new();
    let (first, _) = scene.respond("192.0.2.1", body(1, 5000));
    let (second, evictions) = scene.respond("192.0.2.2", body(2, 10));
    assert_eq!(evictions, []);
    let (third, evictions) = scene.respond("192.0.2.3", body(3, 5000));
    assert_eq!(evictions.len(), 1);
    assert!(!scene.has(first) && scene.has(second) && scene.has(third));
}

#[test]
fn a_response_that_was_sent_takes_no_more_room() {
    let mut scene = Scene::new();
    let (first, _) = scene.respond("192.0.2.1", body(1, 900));
    scene.respond("192.0.2.2", body(2, 50));
    // Buffers were empty, but the body was not in them yet.
    scene.table.flushed(first, scene.now);
    let (_, evictions) = scene.respond("192.0.2.3", body(3, 50));
    assert_eq!(evictions, []);
    scene.flush(first);
    let (_, evictions) = scene.respond("192.0.2.4", body(4, 900));
    assert_eq!(evictions, []);
    assert!(scene.has(first));
}

#[test]
fn responses_and_ends_have_a_deadline_and_nothing_else_has() {
    let mut scene = Scene::new();
    let idle = scene.admit("192.0.2.1");
    let answered = scene.admit("192.0.2.1");
    scene.table.answer(answered);
    assert_eq!(
        scene.table.evict_overdue(scene.now + BOUNDS.response * 2),
        None
    );

    let (slow, _) = scene.respond("192.0.2.1", body(1, 1));
    let slow_deadline = scene.now + BOUNDS.response;
    let closes = scene.admit("192.0.2.1");
    let now = scene.tick();
    scene.table.close(closes, now);
    assert_eq!(scene.table.evict_overdue(now), Some(slow_deadline));
    let closes_deadline = now + BOUNDS.response;
    assert_eq!(
        scene.table.evict_overdue(slow_deadline),
        Some(closes_deadline)
    );
    assert!(!scene.has(slow) && scene.has(closes));
    assert_eq!(scene.table.evict_overdue(closes_deadline), None);
    assert!(scene.has(idle) && scene.has(answered) && !scene.has(closes));
}

#[test]
fn what_an_evicted_connection_still_does_changes_nothing() {
    let mut scene = Scene::new();
    let gone = scene.admit("192.0.2.1");
    scene.table.leave(gone);
    scene.table.answer(gone);
    assert_eq!(scene.respond_again(gone, body(1, 1)), []);
    scene.flush(gone);
    scene.table.close(gone, scene.now);
    scene.table.leave(gone);
    assert!(!scene.has(gone));
}
