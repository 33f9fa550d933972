//! What an operator who greps the journal finds about a link.

use netdrop_tests::launch::Launch;
use netdrop_tests::links;
use netdrop_tests::netns::Veth;
use netdrop_tests::wait::SOON;
use netdrop_tests::{Exporter, Flood, Namespace, Pair, Room, wait_until};

const FRAMES: u64 = 7;
/// The bound on lines of links of a kind in 10 s (`exporter/src/collectors/link/journal.rs`).
const MOST_LINES: usize = 30;

/// With a log that tells of virtual links, too: a namespace of a test has no others.
fn with_virtual_links() -> Launch {
    Exporter::launch().arguments(&["--log.level=debug"])
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn an_outage_is_a_line_for_its_begin_and_one_that_says_how_long_and_what_it_cost() {
    let _room = Room::enter();
    let cable = Pair::with(with_virtual_links());
    // The lines about the host's end of the cable, without their time.
    let lines = || -> Vec<String> {
        let log = cable.exporter.log();
        let about = format!("{}: ", cable.veth.a);
        let lines = log.lines().filter_map(|line| line.split_once(&about));
        lines.map(|(_, text)| text.to_owned()).collect()
    };
    cable.set_peer("down");
    wait_until("the loss is in the log", SOON, || lines().len() == 1);
    cable.host.enter(|| {
        let flood = Flood {
            bypass_qdisc: true,
            ..Flood::over(&cable.veth.a, FRAMES)
        };
        flood.send();
    });
    cable.set_peer("up");
    wait_until("the end is in the log", SOON, || lines().len() == 2);

    let lines = lines();
    assert_eq!(lines[0], "carrier down (driver veth, speed unknown)");
    let begin = "carrier up (driver veth, speed unknown), after ";
    let end = format!(" s, {FRAMES} packets dropped");
    let seconds = lines[1]
        .strip_prefix(begin)
        .and_then(|rest| rest.strip_suffix(&end));
    let seconds: f64 = seconds
        .unwrap_or_else(|| panic!("{lines:?}"))
        .parse()
        .unwrap();
    assert!(seconds > 0.0 && seconds < SOON.as_secs_f64(), "{lines:?}");
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_switch_that_dies_does_not_fill_the_journal_and_what_was_held_back_is_said() {
    const PORTS: usize = MOST_LINES + 7;
    let _room = Room::enter();
    let (host, switch) = (Namespace::new(), Namespace::new());
    let cables: Vec<_> = (0..PORTS).map(|_| Veth::between(&host, &switch)).collect();
    let ports: Vec<_> = cables.iter().map(|cable| cable.a.as_str()).collect();
    let exporter = with_virtual_links().namespace(&host).start();
    let dies = cables
        .iter()
        .map(|cable| format!("link set {} down\n", cable.b));
    switch.ip_batch(&dies.collect::<String>());

    let held_back = "held back 7 more lines about transitions of virtual links";
    let log = exporter.wait_for_log(held_back);
    let lines = log.lines().filter(|line| line.contains(": carrier down ("));
    assert_eq!(lines.count(), MOST_LINES);
    let metrics = exporter.scrape();
    for port in ports {
        assert_eq!(links::transitions(&metrics, port).carrier_down, 1);
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_link_that_goes_is_told_from_one_that_is_set_down() {
    let _room = Room::enter();
    let (host, switch) = (Namespace::new(), Namespace::new());
    let stories = [
        ("deleted", "link del deleted", "removed"),
        (
            "moved",
            "link set moved netns ",
            "moved to another network namespace",
        ),
        (
            "downed",
            "link set downed down\nlink del downed",
            "admin down, removed",
        ),
        ("peerless", "", "removed"),
    ];
    for (name, ..) in stories {
        let peer = format!("{name}-x");
        let veth = ["link", "add", name, "type", "veth", "peer", "name", &peer];
        host.ip(&[&veth[..], &["netns", switch.name()]].concat());
        host.ip(&["link", "set", name, "up"]);
        switch.ip(&["link", "set", &peer, "up"]);
        host.wait_for_carrier(name);
    }
    let exporter = with_virtual_links().namespace(&host).start();
    let away = Namespace::new();
    for (name, story, _) in stories {
        let netns = if name == "moved" { away.name() } else { "" };
        host.ip_batch(&format!("{story}{netns}\n"));
    }
    drop(switch);

    let unknown = " (driver veth, speed unknown)";
    let told = |name: &str| {
        let log = exporter.log();
        let about = format!("{name}: ");
        let lines = log.lines().filter_map(|line| line.split_once(&about));
        let lines: Vec<_> = lines.map(|(_, text)| text.replace(unknown, "")).collect();
        lines.join(", ")
    };
    for (name, _, expected) in stories {
        wait_until("it has gone", SOON, || told(name).ends_with(expected));
        assert_eq!(told(name), expected, "{name}");
    }
}
