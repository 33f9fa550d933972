//! A thousand flaps between two scrapes: none is missed, whatever became of the kernel's messages.

use std::time::Duration;

use netdrop_tests::links::{self, Transitions};
use netdrop_tests::pair::down_and_up;
use netdrop_tests::strace::{Fault, Strace};
use netdrop_tests::wait::SOON;
use netdrop_tests::{Metrics, Pair, Room, Watched, wait_until};

const FLAPS: u64 = 1000;
const OVERRUNS: &str = "netdrop_netlink_overruns_total";
const ERRORS: &str = "netdrop_netlink_errors_total";
const RESYNCS: &str = "netdrop_netlink_resyncs_total";

/// A pair, and what the kernel and the exporter have counted of it when its link has settled.
struct Story {
    pair: Pair,
    kernel: (u64, u64),
    transitions: Transitions,
}

impl Story {
    fn begin() -> Self {
        let pair = Pair::new();
        pair.regain_carrier();
        Self {
            kernel: pair.carrier_counts(),
            transitions: pair.transitions_here(),
            pair,
        }
    }

    /// Asserts that the link got and lost its carrier so often since, by the kernel's count and the exporter's.
    fn assert_carrier(&self, ups: u64, downs: u64) -> Transitions {
        let kernel = (self.kernel.0 + ups, self.kernel.1 + downs);
        assert_eq!(self.pair.carrier_counts(), kernel);
        let expected = self.transitions.and("carrier_up", ups);
        let expected = expected.and("carrier_down", downs);
        assert_eq!(self.pair.transitions_here(), expected);
        expected
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_thousand_flaps_are_a_thousand_losses_and_admin_flaps_are_none() {
    let _room = Room::enter();
    let story = Story::begin();
    let pair = &story.pair;
    pair.flap(FLAPS as usize);
    let flapped = story.assert_carrier(FLAPS, FLAPS);

    let (ups, downs) = pair.carrier_counts();
    pair.host.ip_batch(&down_and_up(&pair.veth.a, 50));
    let after = pair.transitions_here();
    let expected = flapped.and("admin_up", 50).and("admin_down", 50);
    // Each time the link comes up it gets its carrier back.
    let regained = pair.carrier_counts().0 - ups;
    assert_eq!(after, expected.and("carrier_up", regained));
    assert_eq!(pair.carrier_counts(), (ups + 50, downs + 50));
    assert_eq!(pair.counter(OVERRUNS), 0.0, "then it proves nothing");
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn flaps_whose_messages_are_lost_are_counted_all_the_same() {
    let _room = Room::enter();
    let story = Story::begin();
    let pair = &story.pair;
    pair.host.ip(&["link", "add", "spare", "type", "ifb"]);
    assert_eq!(pair.counter(OVERRUNS), 0.0);
    let resyncs = pair.counter(RESYNCS);
    pair.overrun("spare", || pair.flap(FLAPS as usize / 2));
    story.assert_carrier(FLAPS, FLAPS);
    assert!(pair.counter(OVERRUNS) > 0.0);
    assert!(pair.counter(RESYNCS) > resyncs);

    // And it follows on as before.
    pair.flap(10);
    story.assert_carrier(FLAPS + 10, FLAPS + 10);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn while_nobody_can_follow_the_links_their_states_are_not_served_and_no_flap_is_missed() {
    const STATES: [&str; 4] = [
        "netdrop_link_admin_up",
        "netdrop_link_carrier",
        "netdrop_link_info",
        "netdrop_link_operstate",
    ];
    let _room = Room::enter();
    let story = Story::begin();
    let pair = &story.pair;
    let exporter = &pair.exporter;
    let link = [("device", pair.veth.a.as_str())];
    let works = |metrics: &Metrics| metrics.success("link") == Some(true);
    let fault = Fault {
        call: "recvfrom",
        error: "EIO",
        first: 1,
        every: Some(1),
    };
    let strace = Strace::attach_to_thread(exporter.pid(), "links", fault);
    pair.flap(FLAPS as usize);
    pair.set_peer("down");
    let errors = |metrics: &Metrics| metrics.value(ERRORS, &[("cause", "socket_error")]).unwrap();
    let mut metrics = exporter.scrape();
    wait_until("it has lost its third socket", SOON, || {
        metrics = exporter.scrape();
        errors(&metrics) >= 3.0
    });
    assert!(!works(&metrics));
    for state in STATES {
        assert_eq!(metrics.series(state, &[]).next(), None, "{state} is old");
    }
    // Counters are true as far as they go.
    assert_eq!(
        links::transitions(&metrics, &pair.veth.a),
        story.transitions
    );
    for counter in ["up", "down"] {
        let counter = format!("netdrop_link_carrier_{counter}_changes_total");
        assert!(metrics.value(&counter, &link).is_some());
    }

    drop(strace);
    wait_until("it follows the links again", SOON, || {
        works(&exporter.scrape())
    });
    pair.settled(&pair.veth.a, "down", true, false);
    story.assert_carrier(FLAPS, FLAPS + 1);
    assert_eq!(pair.counter(OVERRUNS), 0.0, "the kernel lost nothing");
    let log = exporter.wait_for_log("links are followed again, after");
    let lines = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!(lines("WARN"), 1, "{log}");
    assert_eq!(
        lines("links cannot be followed for now: read the netlink socket"),
        1
    );
    assert_eq!(lines("links are followed again, after"), 1, "{log}");
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn an_overrun_while_links_come_go_and_change_names_ends_in_what_there_is() {
    let _room = Room::enter();
    let pair = Pair::new();
    pair.regain_carrier();
    let host = &pair.host;
    host.ip_batch(
        "link add spare type ifb\nlink add going type ifb\n\
         link add index 4001 again type ifb\nlink add index 4002 former type ifb\n",
    );
    // Other counts than those of the devices that follow under the same names and numbers.
    let counted = "link set dev again up\nlink set dev again down\n";
    host.ip_batch(&counted.repeat(5));
    pair.same();
    let before = pair.transitions_here();

    let once = std::cell::Cell::new(true);
    pair.overrun("spare", || {
        if once.take() {
            return;
        }
        // All of it is lost: the socket is full.
        host.ip_batch(
            "link del going\nlink del again\nlink add index 4001 again type bridge\n\
             link set dev former name later\nlink add index 4003 former type ifb\n\
             link add coming type ifb\n",
        );
        pair.flap(7);
    });

    let (links, metrics) = pair.same_with_scrape();
    let names: Vec<_> = links.keys().map(String::as_str).collect();
    let mut expected = vec![
        "again",
        "coming",
        "former",
        "later",
        "lo",
        "spare",
        &pair.veth.a,
    ];
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert_eq!(links["again"].kind, "bridge");
    assert!(metrics.value(OVERRUNS, &[]).unwrap() > 0.0);
    let after = links::transitions(&metrics, &pair.veth.a);
    assert_eq!(after.carrier_down, before.carrier_down + 7);
}

/// After an overrun the kernel drops notifications, and reports none of them, until the socket was read
/// empty (`NETLINK_S_CONGESTED`, `net/netlink/af_netlink.c`). Each link changes once in that time.
#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn what_happens_while_the_exporter_catches_up_after_an_overrun_is_seen() {
    // They fit into one part of a dump.
    const LINKS: u64 = 10;
    let _room = Room::enter();
    let watched = Watched::new();
    watched.host.ip(&["link", "add", "spare", "type", "ifb"]);
    for n in 0..LINKS {
        watched
            .host
            .ip(&["link", "add", &format!("silent{n}"), "type", "ifb"]);
    }
    watched.same();

    // Then it takes seconds to read what waits in a full socket, much longer than the pause before a
    // dump.
    let pid = watched.exporter.pid();
    let slow = Strace::slow_down(pid, "recvfrom", Duration::from_millis(2));
    watched.overrun("spare", || {});
    let (host, full) = (&watched.host, links::waiting_messages(&watched.host, pid));
    let dropped = (0..LINKS).filter(|n| {
        wait_until("it has read its share", SOON, || {
            links::waiting_messages(host, pid) * LINKS <= full * (LINKS - n)
        });
        let before = links::lost_messages(host, pid);
        watched.set(&format!("silent{n}"), &["up"]);
        links::lost_messages(host, pid) > before
    });
    let dropped = dropped.count();
    drop(slow);
    assert!(dropped >= 3, "only {dropped}, which proves little");
    watched.same();
}
