//! The story this project exists for, replayed: a link loses carrier, connects fail, and nothing else on the
//! host says a word. Here the metrics must name the reason, the function, the state and the device.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::ops::RangeInclusive;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use netdrop_tests::links::{self, Link, Transitions};
use netdrop_tests::netns::Namespace;
use netdrop_tests::tap::Tap;
use netdrop_tests::uplink::without_goodbye;
use netdrop_tests::wait::{SOON, try_poll};
use netdrop_tests::{
    Exporter, Flood, Metrics, Room, Uplink, Witness, poll_for, send, tracefs, wait_until,
};

const DROPPED: &str = "netdrop_dropped_packets_total";
const LINK_DOWN: &str = "netdrop_link_down_dropped_packets_total";
const CATEGORIES: &str = "netdrop_category_dropped_packets_total";
const IPV4: u16 = 0x0800;
/// Where a queue's packets are freed: by a function of their own from 7.1 on and before 6.2.
const AT_THE_QUEUE: [&str; 4] = [
    "__tcf_kfree_skb_list",
    "__dev_queue_xmit",
    "kfree_skb_list_reason",
    "kfree_skb_list",
];
/// A proxy's time for a connect is shorter still; this one spans two SYNs.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(2500);

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn carrier_loss_shows_as_drops_of_connects_and_connections_on_that_device() {
    let _room = Room::enter();
    let story = Uplink::named("card0");
    let exporter = Exporter::launch().namespace(&story.host).start();
    let (client, _accepted) = story.connect();
    let mut client = without_goodbye(client);

    let healthy = exporter.scrape();
    let begin = seconds_since_1970();
    story.lose_carrier();
    let (witness, machine) = (Witness::of_protocol(IPV4), Witness::of_all());
    // Others on the machine drop packets, too, but not in between.
    let before = poll_for("the exporter has seen it", SOON, || {
        machine.forget();
        let metrics = exporter.scrape();
        let seen = links::last_transition(&metrics, &story.cable.a, "carrier_down").is_some();
        (seen && machine.count() == 0).then_some(metrics)
    });
    let loss = begin..=seconds_since_1970();
    client.write_all(b"are you there?").unwrap();
    let connect = thread::spawn({
        let (host, server) = (story.host.handle(), story.server);
        move || host.enter(|| TcpStream::connect_timeout(&server, CONNECT_TIMEOUT).map(drop))
    });

    let queue_drop = |drop: &tracefs::Drop| AT_THE_QUEUE.contains(&drop.function.as_str());
    let dropped = try_poll(SOON, || {
        let drops = witness.drops().into_iter();
        (drops.filter(queue_drop).count() >= 3).then_some(())
    });
    assert!(dropped.is_some(), "not at a queue: {:?}", witness.kinds());
    let error = connect.join().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);

    let kind = witness.drops().into_iter().find(queue_drop).unwrap();
    let device = story.cable.a.as_str();
    let host_drops = |metrics: &Metrics, state| host_drops(metrics, device, &kind, state);
    wait_until("both states are in the metrics", SOON, || {
        let metrics = exporter.scrape();
        let state = |name| host_drops(&metrics, name) > 0.0;
        state("ESTABLISHED") && state("SYN_SENT")
    });
    // Retransmissions go on, so a scrape is compared with the witness where it stood still.
    let (metrics, seen) = poll_for("a moment without drops", SOON, || {
        let seen = || machine.count_of(&kind) as f64;
        let earlier = seen();
        let metrics = exporter.scrape();
        (earlier == seen()).then_some((metrics, earlier))
    });

    let everywhere = [
        ("reason", kind.reason.as_str()),
        ("function", kind.function.as_str()),
    ];
    let grown = |name, labels: &[_]| metrics.sum(name, labels) - before.sum(name, labels);
    // A retransmission can fall into a context in which this kernel runs no BPF program.
    let missed = seen - grown(DROPPED, &everywhere);
    let in_init = machine.count_in_init() as f64;
    assert!(
        (0.0..=in_init).contains(&missed),
        "{missed} of {seen} missed, {in_init} of them in the context of process 1"
    );
    let established = host_drops(&metrics, "ESTABLISHED");
    let syn_sent = host_drops(&metrics, "SYN_SENT");
    assert!(
        syn_sent + missed >= 2.0,
        "two SYNs were sent before the connect timed out"
    );
    let here = metrics.sum(DROPPED, &[("device", device), ("netns", "host")]);
    assert_eq!(
        here,
        established + syn_sent,
        "only these two sockets sent anything"
    );

    for (state, packets) in [("ESTABLISHED", established), ("SYN_SENT", syn_sent)] {
        let labels = [("device", device), ("link", "no_carrier"), ("state", state)];
        assert_eq!(metrics.value(LINK_DOWN, &labels), Some(packets));
    }
    assert_eq!(metrics.sum(LINK_DOWN, &[("link", "admin_down")]), 0.0);
    // Other namespaces' links may be down too, but they are in this category and in no link series.
    let in_category = grown(CATEGORIES, &[("category", "link")]);
    let elsewhere = grown(DROPPED, &[]) - grown(DROPPED, &[("netns", "host")]);
    assert!(
        in_category >= here,
        "{in_category} of category link, {here} at the link"
    );
    assert!(
        in_category <= here + elsewhere,
        "{in_category} of category link, {here} at the link"
    );
    assert_only_carrier_was_lost(&healthy, &metrics, device, &loss);
    assert_nothing_else_tells(&story);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn drops_of_a_device_that_somebody_took_down_are_told_apart() {
    let _room = Room::enter();
    let host = Namespace::new();
    let tap = Tap::new(&host, "tap-down");
    let exporter = Exporter::launch().namespace(&host).start();
    let witness = Witness::of_protocol(send::ETHERTYPE);

    let frame = Flood::over("tap-down", 1).frame();
    for _ in 0..100 {
        tap.receive(&frame).unwrap_err();
    }

    assert_eq!(witness.count(), 100);
    let kind = witness.only_kind();
    let metrics = exporter.scrape();
    let labels = [
        ("reason", kind.reason.as_str()),
        ("function", kind.function.as_str()),
        ("state", ""),
        ("device", "tap-down"),
        ("netns", "host"),
    ];
    assert_eq!(metrics.value(DROPPED, &labels), Some(100.0));
    let link = [
        ("device", "tap-down"),
        ("link", "admin_down"),
        ("state", ""),
    ];
    assert_eq!(metrics.value(LINK_DOWN, &link), Some(100.0));
    assert_eq!(metrics.sum(LINK_DOWN, &[("link", "no_carrier")]), 0.0);
    assert!(!links::served(&metrics)["tap-down"].admin_up);
    assert!(metrics.sum(CATEGORIES, &[("category", "link")]) >= 100.0);
}

/// The same scrape that has the drops says which link it was, that nobody took it down, and when it was.
fn assert_only_carrier_was_lost(
    healthy: &Metrics,
    metrics: &Metrics,
    device: &str,
    loss: &RangeInclusive<f64>,
) {
    let (was, is) = (links::served(healthy), links::served(metrics));
    let expected = Link {
        carrier: false,
        operstate: "down".to_owned(),
        carrier_downs: was[device].carrier_downs + 1,
        ..was[device].clone()
    };
    assert!(expected.admin_up);
    assert_eq!(is[device], expected);
    assert_eq!(is["lo"], was["lo"], "another link has changed");
    let before = links::transitions(healthy, device);
    let expected = Transitions {
        carrier_down: before.carrier_down + 1,
        ..before
    };
    assert_eq!(links::transitions(metrics, device), expected);
    let when = links::last_transition(metrics, device, "carrier_down").unwrap();
    assert!(loss.contains(&when), "{when} is not in {loss:?}");
    assert_eq!(links::last_transition(metrics, device, "admin_down"), None);
}

fn seconds_since_1970() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
}

fn host_drops(metrics: &Metrics, device: &str, kind: &tracefs::Drop, state: &str) -> f64 {
    let labels = [
        ("reason", kind.reason.as_str()),
        ("function", kind.function.as_str()),
        ("state", state),
        ("device", device),
        ("netns", "host"),
    ];
    metrics.sum(DROPPED, &labels)
}

/// The point of the story: the queue's own count of drops stays at nothing.
fn assert_nothing_else_tells(story: &Uplink) {
    let queue = story
        .host
        .exec(&["tc", "-s", "qdisc", "show", "dev", &story.cable.a]);
    assert!(queue.contains("dropped 0,"), "{queue}");
}
