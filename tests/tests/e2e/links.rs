//! Every kind of link that this kernel has, in every state that the kind can have: what the exporter serves
//! is what `ip -d link`, sysfs and rtnetlink say.

use std::fs;
use std::path::PathBuf;

use netdrop_tests::links;
use netdrop_tests::netns::Veth;
use netdrop_tests::tap::Tap;
use netdrop_tests::wait::SOON;
use netdrop_tests::{Exporter, Namespace, Pair, Room, Watched, wait_until};

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_veth_is_followed_up_down_and_without_its_peer() {
    let _room = Room::enter();
    let pair = Pair::new();
    let link = pair.settled(&pair.veth.a, "up", true, true);
    assert_eq!(link.kind, "veth");
    assert_eq!(link.lower, "", "its peer is elsewhere");

    let lost = pair.lose_carrier();
    assert_eq!(lost.carrier_downs, link.carrier_downs + 1);
    pair.set(&pair.veth.a, &["down"]);
    pair.settled(&pair.veth.a, "down", false, false);
    pair.set(&pair.veth.a, &["up"]);
    let back = pair.regain_carrier();
    assert_eq!(back.carrier_ups, link.carrier_ups + 1);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn the_two_ends_of_a_veth_in_one_namespace_are_each_others_lower_device() {
    let _room = Room::enter();
    let watched = Watched::new();
    // Announced once each, the first before there is the second.
    let add = "link add first type veth peer name second";
    watched.host.ip(&add.split(' ').collect::<Vec<_>>());
    assert_eq!(
        watched.settled("first", "down", false, false).lower,
        "second"
    );
    let veth = Veth::between(&watched.host, &watched.host);
    let link = watched.settled(&veth.a, "up", true, true);
    assert_eq!(link.lower, veth.b);
    watched.set(&veth.b, &["down"]);
    watched.settled(&veth.a, "lowerlayerdown", true, false);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_link_in_mode_dormant_comes_up_dormant() {
    let _room = Room::enter();
    let pair = Pair::new();
    let device = &pair.veth.a;
    pair.set(device, &["mode", "dormant"]);
    // The mode counts when carrier comes (rfc2863_policy, net/core/link_watch.c).
    pair.lose_carrier();
    pair.set_peer("up");
    pair.settled(device, "dormant", true, true);
    for what in [&["mode", "default"][..], &["down"], &["up"]] {
        pair.set(device, what);
    }
    pair.settled(device, "up", true, true);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_macvlan_and_a_macvtap_follow_the_device_they_sit_on() {
    let _room = Room::enter();
    let pair = Pair::new();
    for kind in ["macvlan", "macvtap"] {
        let name = format!("my-{kind}");
        let link = ["link", "add", &name, "link", &pair.veth.a, "type", kind];
        pair.host.ip(&link);
        let down = pair.settled(&name, "down", false, true);
        assert_eq!((down.kind.as_str(), &down.lower), (kind, &pair.veth.a));
        pair.set(&name, &["up"]);
        let up = pair.settled(&name, "up", true, true);
        pair.set_peer("down");
        let lost = pair.settled(&name, "lowerlayerdown", true, false);
        assert_eq!(lost.carrier_downs, up.carrier_downs + 1);
        pair.set_peer("up");
        pair.settled(&name, "up", true, true);
        pair.set(&name, &["down"]);
        pair.settled(&name, "down", false, true);
        // While it is down, the kernel tells nobody what becomes of its carrier.
        pair.host.ip(&["link", "del", &name]);
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_bridge_has_carrier_as_long_as_one_of_its_ports() {
    let _room = Room::enter();
    let watched = Watched::new();
    let other = Namespace::new();
    let veths = [(); 2].map(|()| Veth::between(&watched.host, &other));
    watched
        .host
        .ip(&["link", "add", "switch", "type", "bridge"]);
    watched.set("switch", &["up"]);
    let alone = watched.settled("switch", "unknown", true, true);
    assert_eq!(alone.kind, "bridge");
    for veth in &veths {
        watched.set(&veth.a, &["master", "switch"]);
    }
    watched.settled("switch", "up", true, true);
    assert_eq!(watched.same()[&veths[0].a].master, "switch");

    other.ip(&["link", "set", "dev", &veths[0].b, "down"]);
    watched.settled(&veths[0].a, "down", true, false);
    watched.settled("switch", "up", true, true);
    other.ip(&["link", "set", "dev", &veths[1].b, "down"]);
    watched.settled("switch", "down", true, false);
    watched.set(&veths[1].a, &["nomaster"]);
    assert_eq!(watched.same()[&veths[1].a].master, "");
    watched.set("switch", &["name", "switch-new"]);
    assert_eq!(watched.same()[&veths[0].a].master, "switch-new");
    watched.set("switch-new", &["down"]);
    watched.settled("switch-new", "down", false, false);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn links_without_operstate_are_unknown_up_and_down() {
    let _room = Room::enter();
    let watched = Watched::new();
    let veth = Veth::between(&watched.host, &watched.host);
    let vxlan = [
        "link", "add", "vx", "type", "vxlan", "id", "42", "dstport", "4789", "dev", &veth.a,
    ];
    watched.host.ip(&vxlan);
    watched.host.ip(&["link", "add", "ifb", "type", "ifb"]);
    for (name, kind) in [("vx", "vxlan"), ("ifb", "ifb")] {
        watched.set(name, &["up"]);
        let up = watched.settled(name, "unknown", true, true);
        assert_eq!(up.kind, kind);
        watched.set(name, &["down"]);
        watched.settled(name, "down", false, true);
    }
    // It stays up: the exporter is asked over it.
    assert_eq!(watched.settled("lo", "unknown", true, true).kind, "");
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_tap_has_carrier_while_a_program_holds_it() {
    let _room = Room::enter();
    let watched = Watched::new();
    let tap = Tap::new(&watched.host, "tap");
    assert_eq!(watched.same()["tap"].kind, "tun");
    watched.set("tap", &["up"]);
    watched.settled("tap", "unknown", true, true);
    drop(tap);
    wait_until("the tap is gone", SOON, || {
        !watched.same().contains_key("tap")
    });

    // Nobody holds these.
    for mode in ["tun", "tap"] {
        let name = format!("my-{mode}");
        watched
            .host
            .ip(&["tuntap", "add", "dev", &name, "mode", mode]);
        watched.set(&name, &["up"]);
        assert_eq!(watched.settled(&name, "down", true, false).kind, "tun");
        watched.set(&name, &["down"]);
        watched.settled(&name, "down", false, false);
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn links_that_are_there_at_the_start_are_the_same_as_new_ones() {
    let _room = Room::enter();
    let host = Namespace::new();
    let other = Namespace::new();
    let veth = Veth::between(&host, &other);
    for link in ["switch type bridge", "ifb type ifb", "odd\"\\name type ifb"] {
        let words: Vec<_> = link.split(' ').collect();
        host.ip(&[&["link", "add"], &words[..]].concat());
    }
    host.ip(&["link", "set", "dev", &veth.a, "master", "switch"]);
    other.ip(&["link", "set", "dev", &veth.b, "down"]);
    let watched = Watched::over(host);
    watched.settled(&veth.a, "down", true, false);
    let (all, metrics) = watched.same_with_scrape();
    assert_eq!(all.len(), 5);
    // Nothing that was so before the start is a transition.
    for device in links::devices_with_series(&metrics) {
        assert_eq!(
            links::transitions(&metrics, &device),
            links::Transitions::default()
        );
        for transition in ["carrier_up", "carrier_down", "admin_up", "admin_down"] {
            assert_eq!(links::last_transition(&metrics, &device, transition), None);
        }
    }
}

/// A container often has an `eth0` with the index of the host's, and with a macvlan also its address. Where the
/// host's sysfs is mounted there, that tells of the host's port.
#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_containers_link_is_no_port_for_what_the_hosts_sysfs_says_of_its_namesake() {
    let _room = Room::enter();
    let is_port = |path: &PathBuf| path.join("device/driver").exists();
    let mut all = fs::read_dir("/sys/class/net")
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let port = all.find(is_port).expect("this machine has a port");
    let name = port.file_name().unwrap().to_str().unwrap();
    let [index, address] = ["ifindex", "address"].map(|file| {
        let text = fs::read_to_string(port.join(file)).unwrap();
        text.trim().to_owned()
    });
    let container = Namespace::new();
    let veth = format!(
        "link add {name} index {index} address {address} up type veth peer name far index 4711"
    );
    container.ip(&veth.split(' ').collect::<Vec<_>>());
    // `ip netns exec` mounts a sysfs of the namespace; this goes back to the host's.
    let back = format!("--mount=/proc/{}/ns/mnt", std::process::id());
    let exporter = Exporter::launch()
        .namespace(&container)
        .wrapper(&["nsenter", &back])
        .start();
    let served = &links::served(&exporter.scrape())[name];
    assert_eq!((served.kind.as_str(), served.driver.as_str()), ("veth", ""));
    assert!(!served.physical);
    // The host's own exporter knows it.
    let served = &links::served(&Exporter::start(&[]).scrape())[name];
    assert!(served.physical && !served.driver.is_empty());
}
