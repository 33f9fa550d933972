//! Who was it: the cable or somebody's `ip link set down`? Both, in both orders, and devices that change
//! their name or are made anew on the way.

use std::time::{SystemTime, UNIX_EPOCH};

use netdrop_tests::links::{self, Transitions};
use netdrop_tests::netns::Veth;
use netdrop_tests::wait::SOON;
use netdrop_tests::{Namespace, Room, Watched, wait_until};

/// A watched end of a veth pair whose peer is elsewhere, and what has happened to it so far.
struct Story {
    watched: Watched,
    peer: Namespace,
    veth: Veth,
    so_far: Transitions,
}

impl Story {
    fn begin() -> Self {
        let watched = Watched::new();
        let peer = Namespace::new();
        let veth = Veth::between(&watched.host, &peer);
        watched.settled(&veth.a, "up", true, true);
        let so_far = watched.transitions(&veth.a);
        Self {
            watched,
            peer,
            veth,
            so_far,
        }
    }

    /// Pulls the cable, and waits until the kernel has announced it.
    fn lose_carrier(&self) {
        self.set_peer("down");
        self.watched.settled(&self.veth.a, "down", true, false);
    }

    fn set_peer(&self, state: &str) {
        self.peer.ip(&["link", "set", "dev", &self.veth.b, state]);
    }

    fn set(&self, what: &[&str]) {
        self.watched.set(&self.veth.a, what);
    }

    /// Asserts what has happened since the last look.
    fn expect(&mut self, new: Transitions) {
        let expected = Transitions {
            carrier_up: self.so_far.carrier_up + new.carrier_up,
            carrier_down: self.so_far.carrier_down + new.carrier_down,
            admin_up: self.so_far.admin_up + new.admin_up,
            admin_down: self.so_far.admin_down + new.admin_down,
        };
        assert_eq!(self.watched.transitions(&self.veth.a), expected);
        self.so_far = expected;
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn carrier_first_then_admin_down_is_one_of_each() {
    let _room = Room::enter();
    let mut story = Story::begin();
    story.lose_carrier();
    story.expect(Transitions {
        carrier_down: 1,
        ..Transitions::default()
    });
    story.set(&["down"]);
    story.expect(Transitions {
        admin_down: 1,
        ..Transitions::default()
    });
    // Up again, but nothing is at the other end yet.
    story.set(&["up"]);
    story.expect(Transitions {
        admin_up: 1,
        ..Transitions::default()
    });
    story.set_peer("up");
    story.watched.settled(&story.veth.a, "up", true, true);
    story.expect(Transitions {
        carrier_up: 1,
        ..Transitions::default()
    });
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn what_happens_to_the_carrier_of_a_link_that_is_down_is_no_loss() {
    let _room = Room::enter();
    let mut story = Story::begin();
    story.set(&["down"]);
    story.expect(Transitions {
        admin_down: 1,
        ..Transitions::default()
    });
    story.set_peer("down");
    story.set_peer("up");
    story.expect(Transitions::default());
    story.set(&["up"]);
    story.watched.settled(&story.veth.a, "up", true, true);
    story.expect(Transitions {
        admin_up: 1,
        carrier_up: 1,
        ..Transitions::default()
    });
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_macvlan_that_is_down_when_its_lower_device_loses_carrier_has_lost_nothing() {
    let _room = Room::enter();
    let story = Story::begin();
    let watched = &story.watched;
    let macvlan = ["link", "add", "mv", "link", &story.veth.a];
    watched
        .host
        .ip(&[&macvlan[..], &["type", "macvlan"]].concat());
    watched.set("mv", &["up"]);
    watched.settled("mv", "up", true, true);
    let before = watched.transitions("mv");
    let downs = links::carrier_counts(&watched.host, "mv").1;
    watched.set("mv", &["down"]);
    // The kernel does not announce the loss of a link that is down, only counts it (linkwatch_do_dev).
    story.set_peer("down");
    wait_until("the macvlan has lost it", SOON, || {
        links::carrier_counts(&watched.host, "mv").1 == downs + 1
    });
    watched.set("mv", &["up"]);
    let after = watched.transitions("mv");
    let expected = Transitions {
        admin_down: before.admin_down + 1,
        admin_up: before.admin_up + 1,
        ..before
    };
    assert_eq!(after, expected);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_transition_says_when_it_was() {
    let _room = Room::enter();
    let story = Story::begin();
    let scrape = || story.watched.same_with_scrape().1;
    let when = |metrics: &_, what| links::last_transition(metrics, &story.veth.a, what);
    assert_eq!(when(&scrape(), "carrier_down"), None);

    let begin = now();
    story.lose_carrier();
    let end = now();
    let lost = scrape();
    let down = when(&lost, "carrier_down").unwrap();
    assert!((begin..=end).contains(&down), "{begin} {down} {end}");
    assert_eq!(when(&lost, "admin_down"), None);

    story.set_peer("up");
    story.watched.settled(&story.veth.a, "up", true, true);
    let back = scrape();
    assert_eq!(when(&back, "carrier_down"), Some(down));
    assert!(when(&back, "carrier_up").unwrap() >= end);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_link_renamed_while_it_is_lost_goes_on_under_its_new_name() {
    let _room = Room::enter();
    let mut story = Story::begin();
    story.lose_carrier();
    story.set(&["down"]);
    story.set(&["name", "renamed"]);
    let former = std::mem::replace(&mut story.veth.a, "renamed".to_owned());
    let (links, metrics) = story.watched.same_with_scrape();
    assert!(!links.contains_key(&former));
    assert!(!links::devices_with_series(&metrics).contains(&former));

    // The kernel's counts go on as well.
    story.expect(Transitions {
        carrier_down: 1,
        admin_down: 1,
        ..Transitions::default()
    });
    story.set(&["up"]);
    story.set_peer("up");
    story.watched.settled("renamed", "up", true, true);
    story.expect(Transitions {
        admin_up: 1,
        carrier_up: 1,
        ..Transitions::default()
    });
    story.lose_carrier();
    story.expect(Transitions {
        carrier_down: 1,
        ..Transitions::default()
    });
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_device_made_anew_under_the_same_name_or_number_is_followed_from_its_first_count() {
    let _room = Room::enter();
    let watched = Watched::new();
    let peer = Namespace::new();
    // The same name with another number, the same number with another name, and both the same.
    for (name, ifindex) in [("one", 4001), ("one", 4002), ("two", 4002), ("two", 4002)] {
        let veth = Veth::named(&watched.host, name, &peer, "far", Some(ifindex));
        watched.settled(name, "up", true, true);
        let begin = watched.transitions(name);
        for _ in 0..3 {
            peer.ip(&["link", "set", "dev", "far", "down"]);
            watched.settled(name, "down", true, false);
            peer.ip(&["link", "set", "dev", "far", "up"]);
            watched.settled(name, "up", true, true);
        }
        let expected = Transitions {
            carrier_down: begin.carrier_down + 3,
            carrier_up: begin.carrier_up + 3,
            ..begin
        };
        assert_eq!(watched.transitions(name), expected);
        drop(veth);
        assert!(!watched.same().contains_key(name));
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_device_that_moves_to_another_namespace_and_back_is_followed_again() {
    let _room = Room::enter();
    let mut story = Story::begin();
    let away = Namespace::new();
    story.set(&["netns", away.name()]);
    assert!(!story.watched.same().contains_key(&story.veth.a));

    // What happens elsewhere is not ours.
    away.ip(&["link", "set", "dev", &story.veth.a, "up"]);
    away.wait_for_carrier(&story.veth.a);
    let back = ["link", "set", "dev", &story.veth.a, "netns"];
    away.ip(&[&back[..], &[story.watched.host.name()]].concat());
    story.watched.settled(&story.veth.a, "down", false, false);
    story.so_far = story.watched.transitions(&story.veth.a);
    story.set(&["up"]);
    story.watched.settled(&story.veth.a, "up", true, true);
    story.lose_carrier();
    story.expect(Transitions {
        admin_up: 1,
        carrier_up: 1,
        carrier_down: 1,
        ..Transitions::default()
    });
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
}
