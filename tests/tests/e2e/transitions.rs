//! Who was it: the cable or somebody's `ip link set down`? Both, in both orders, and devices that change
//! their name or are made anew on the way.

use std::time::{SystemTime, UNIX_EPOCH};

use netdrop_tests::links::{self, Transitions};
use netdrop_tests::netns::Veth;
use netdrop_tests::wait::SOON;
use netdrop_tests::{Namespace, Pair, Room, Watched, wait_until};

/// A pair, and what has happened to its link so far.
struct Story {
    pair: Pair,
    so_far: Transitions,
}

impl Story {
    fn begin() -> Self {
        let pair = Pair::new();
        pair.regain_carrier();
        Self {
            so_far: pair.transitions_here(),
            pair,
        }
    }

    /// `ip link set dev` of the host's end.
    fn set(&self, what: &str) {
        let words: Vec<_> = what.split(' ').collect();
        self.pair.set(&self.pair.veth.a, &words);
    }

    /// Asserts what has happened since the last look: each of these once, and nothing else.
    fn expect(&mut self, new: &[&str]) {
        let add = |sum: Transitions, transition: &&str| sum.and(transition, 1);
        self.so_far = new.iter().fold(self.so_far, add);
        assert_eq!(self.pair.transitions_here(), self.so_far);
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn carrier_first_then_admin_down_is_one_of_each() {
    let _room = Room::enter();
    let mut story = Story::begin();
    story.pair.lose_carrier();
    story.expect(&["carrier_down"]);
    story.set("down");
    story.expect(&["admin_down"]);
    // Up again, but nothing is at the other end yet.
    story.set("up");
    story.expect(&["admin_up"]);
    story.pair.regain_carrier();
    story.expect(&["carrier_up"]);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn what_happens_to_the_carrier_of_a_link_that_is_down_is_no_loss() {
    let _room = Room::enter();
    let mut story = Story::begin();
    story.set("down");
    story.expect(&["admin_down"]);
    story.pair.set_peer("down");
    story.pair.set_peer("up");
    story.expect(&[]);
    story.set("up");
    story.pair.settled(&story.pair.veth.a, "up", true, true);
    story.expect(&["admin_up", "carrier_up"]);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_macvlan_that_is_down_when_its_lower_device_loses_carrier_has_lost_nothing() {
    let _room = Room::enter();
    let pair = Pair::new();
    let macvlan = ["link", "add", "mv", "link", &pair.veth.a, "type", "macvlan"];
    pair.host.ip(&macvlan);
    pair.set("mv", &["up"]);
    pair.settled("mv", "up", true, true);
    let before = pair.transitions("mv");
    let downs = links::carrier_counts(&pair.host, "mv").1;
    pair.set("mv", &["down"]);
    // The kernel does not announce the loss of a link that is down, only counts it (linkwatch_do_dev).
    pair.set_peer("down");
    wait_until("the macvlan has lost it", SOON, || {
        links::carrier_counts(&pair.host, "mv").1 == downs + 1
    });
    pair.set("mv", &["up"]);
    let expected = before.and("admin_down", 1).and("admin_up", 1);
    assert_eq!(pair.transitions("mv"), expected);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_transition_says_when_it_was() {
    let _room = Room::enter();
    let pair = Pair::new();
    let scrape = || pair.same_with_scrape().1;
    let when = |metrics: &_, what| links::last_transition(metrics, &pair.veth.a, what);
    assert_eq!(when(&scrape(), "carrier_down"), None);

    let begin = now();
    pair.lose_carrier();
    let end = now();
    let lost = scrape();
    let down = when(&lost, "carrier_down").unwrap();
    assert!((begin..=end).contains(&down), "{begin} {down} {end}");
    assert_eq!(when(&lost, "admin_down"), None);

    pair.regain_carrier();
    let back = scrape();
    assert_eq!(when(&back, "carrier_down"), Some(down));
    assert!(when(&back, "carrier_up").unwrap() >= end);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_link_renamed_while_it_is_lost_goes_on_under_its_new_name() {
    let _room = Room::enter();
    let mut story = Story::begin();
    story.pair.lose_carrier();
    story.set("down");
    story.set("name renamed");
    let former = std::mem::replace(&mut story.pair.veth.a, "renamed".to_owned());
    let (links, metrics) = story.pair.same_with_scrape();
    assert!(!links.contains_key(&former));
    assert!(!links::devices_with_series(&metrics).contains(&former));

    // The kernel's counts go on as well.
    story.expect(&["carrier_down", "admin_down"]);
    story.set("up");
    story.pair.regain_carrier();
    story.expect(&["admin_up", "carrier_up"]);
    story.pair.lose_carrier();
    story.expect(&["carrier_down"]);
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
        let expected = begin.and("carrier_down", 3).and("carrier_up", 3);
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
    let device = story.pair.veth.a.clone();
    story.set(&format!("netns {}", away.name()));
    assert!(!story.pair.same().contains_key(&device));

    // What happens elsewhere is not ours.
    away.ip(&["link", "set", "dev", &device, "up"]);
    away.wait_for_carrier(&device);
    let back = [
        "link",
        "set",
        "dev",
        &device,
        "netns",
        story.pair.host.name(),
    ];
    away.ip(&back);
    story.pair.settled(&device, "down", false, false);
    story.so_far = story.pair.transitions_here();
    story.set("up");
    story.pair.settled(&device, "up", true, true);
    story.pair.lose_carrier();
    story.expect(&["admin_up", "carrier_up", "carrier_down"]);
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs_f64()
}
