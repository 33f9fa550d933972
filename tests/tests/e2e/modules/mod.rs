//! Links, queues and drop reasons that come in modules. `tests/kernels/run.sh` boots kernels that have them.

pub(crate) mod removals;

use std::path::Path;

use netdrop_exporter::kernel::{btf, reasons};
use netdrop_tests::bpftool::Types;
use netdrop_tests::netns::{Veth, run};
use netdrop_tests::wait::SOON;
use netdrop_tests::watch::drops;
use netdrop_tests::{
    Exporter, Flood, Namespace, Room, Watched, Witness, send, symbols, wait_until,
};

const DROPPED: &str = "netdrop_dropped_packets_total";

#[test]
#[ignore = "needs root and modules: run by tests/run.sh kernels"]
fn links_of_every_kind_are_what_the_kernel_says_they_are() {
    let _room = Room::enter();
    let watched = Watched::new();
    let other = Namespace::new();
    let veth = Veth::between(&watched.host, &other);
    let below = veth.a.as_str();
    for (kind, name, add) in [
        ("dummy", "dummy7", "type dummy".to_owned()),
        ("vlan", "vlan7", format!("link {below} type vlan id 7")),
        ("ipvlan", "ipvlan7", format!("link {below} type ipvlan")),
        (
            "gre",
            "gre7",
            "type gre local 192.0.2.1 remote 192.0.2.2".to_owned(),
        ),
        (
            "vxlan",
            "vxlan7",
            format!("type vxlan id 7 dstport 4789 dev {below}"),
        ),
    ] {
        let words = format!("link add {name} {add}");
        watched.host.ip(&words.split(' ').collect::<Vec<_>>());
        watched.set(name, &["up"]);
        let links = watched.same();
        assert_eq!(links[name].kind, kind);
        assert!(links[name].admin_up);
        let sits_on = if add.starts_with("link ") { below } else { "" };
        let lower = &links[name].lower;
        assert!(
            lower == sits_on || kind == "vxlan",
            "{name} sits on {lower:?}"
        );
    }
    // What sits on the link loses its carrier with it.
    other.ip(&["link", "set", "dev", &veth.b, "down"]);
    let vlan = watched.settled("vlan7", "lowerlayerdown", true, false);
    assert_eq!(
        watched.transitions("vlan7").carrier_down,
        vlan.carrier_downs
    );
    assert_eq!(watched.transitions("dummy7").carrier_down, 0);
}

#[test]
#[ignore = "needs root and modules: run by tests/run.sh kernels"]
fn a_bond_has_carrier_until_its_last_member_has_lost_it() {
    let _room = Room::enter();
    let watched = Watched::new();
    let other = Namespace::new();
    let members = [(); 2].map(|()| Veth::between(&watched.host, &other));
    let bond = "link add bond7 type bond mode active-backup miimon 20";
    watched.host.ip(&bond.split(' ').collect::<Vec<_>>());
    for member in &members {
        // The kernel takes only devices that are down.
        watched.set(&member.a, &["down"]);
        watched.set(&member.a, &["master", "bond7"]);
    }
    watched.set("bond7", &["up"]);
    let whole = watched.settled("bond7", "up", true, true);
    assert_eq!(whole.kind, "bond");
    assert_eq!(watched.same()[&members[0].a].master, "bond7");
    let before = watched.transitions("bond7");

    other.ip(&["link", "set", "dev", &members[0].b, "down"]);
    watched.settled(&members[0].a, "down", true, false);
    assert_eq!(watched.transitions("bond7"), before, "one member is left");
    let redundant = |device: &str| {
        let metrics = watched.exporter.scrape();
        metrics.value("netdrop_link_redundant", &[("device", device)])
    };
    assert_eq!(redundant(&members[0].a), Some(1.0));
    assert_eq!(redundant(&members[1].a), Some(0.0));
    other.ip(&["link", "set", "dev", &members[1].b, "down"]);
    watched.settled("bond7", "down", true, false);
    let after = watched.transitions("bond7");
    assert_eq!(after.carrier_down, before.carrier_down + 1);
    assert_eq!(after.admin_down, before.admin_down);
}

#[test]
#[ignore = "needs root and modules: run by tests/run.sh kernels"]
fn a_vlan_on_a_bridge_on_a_bond_is_carried_by_the_bond_and_so_is_a_member_it_throws_out() {
    let _room = Room::enter();
    let watched = Watched::new();
    let other = Namespace::new();
    let veth = Veth::between(&watched.host, &other);
    let member = veth.a.as_str();
    watched.host.ip_batch(&format!(
        "link add bond7 type bond mode active-backup miimon 20\nlink set dev {member} down\n\
         link set dev {member} master bond7\nlink add br7 type bridge\n\
         link set dev bond7 master br7\nlink add link br7 name vlan7 type vlan id 7\n"
    ));
    // Device, master, port, bond and watch.
    let served = |[device, master, port, bond, watch]: [&str; 5]| {
        let labels = [
            ("device", device),
            ("master", master),
            ("port", port),
            ("bond", bond),
            ("watch", watch),
        ];
        wait_until(&format!("it serves {labels:?}"), SOON, || {
            let metrics = watched.exporter.scrape();
            metrics.value("netdrop_link_info", &labels) == Some(1.0)
        });
    };
    served([member, "bond7", "bond7", "bond7", "ticket"]);
    served(["bond7", "br7", "bond7", "", "page"]);
    served(["br7", "", "bond7", "", "none"]);
    served(["vlan7", "", "bond7", "", "none"]);
    watched.set(member, &["nomaster"]);
    served([member, "", "bond7", "bond7", "ticket"]);
    watched.host.ip(&["link", "del", "bond7"]);
    served(["br7", "", "", "", "none"]);
    served([member, "", "bond7", "bond7", "ticket"]);
}

#[test]
#[ignore = "needs root and modules: run by tests/run.sh kernels"]
fn what_netem_loses_is_counted_at_its_device() {
    let _room = Room::enter();
    let (host, other) = (Namespace::new(), Namespace::new());
    let veth = Veth::between(&host, &other);
    let netem = [
        "tc", "qdisc", "add", "dev", &veth.a, "root", "netem", "loss", "100%",
    ];
    host.exec(&netem);
    let exporter = Exporter::launch().namespace(&host).start();
    let dropped = drops(&exporter, "host", &Witness::of_all(), || {
        host.enter(|| Flood::over(&veth.a, 700).send());
    });
    let found: Vec<_> = dropped
        .iter()
        .map(|drop| (drop.device.as_str(), drop.packets))
        .collect();
    assert_eq!(found, [(veth.a.as_str(), 700)], "{dropped:?}");
    let queue = host.exec(&["tc", "-s", "qdisc", "show", "dev", &veth.a]);
    assert!(queue.contains("(dropped 700,"), "{queue}");
}

#[test]
#[ignore = "needs root and modules: run by tests/run.sh kernels"]
fn reasons_of_a_module_have_its_names() {
    let _room = Room::enter();
    run(&["modprobe", "openvswitch"]);
    let kernel = btf::open_vmlinux(Path::new("/sys")).unwrap();
    let served = reasons::module_reason_names(&kernel, Path::new("/sys/kernel/btf"));
    let module = Types::of_module("openvswitch").enumerators(|name| name == "ovs_drop_reason");
    for (name, number) in &module {
        if !name.starts_with("__") && !name.ends_with("_MAX") {
            assert_eq!(served.label(*number), name.as_str());
        }
    }
    println!("FEATURE module_reasons {}", module.len());

    // A switch that drops whatever comes in at its only port.
    let (host, other) = (Namespace::new(), Namespace::new());
    let veth = Veth::between(&host, &other);
    let switch = |words: &[&str]| host.exec(&[&["ovs-dpctl"], words].concat());
    switch(&["add-dp", "dp7"]);
    switch(&["add-if", "dp7", &veth.a]);
    // No action is to drop; the action that is called so has another number in the kernel.
    switch(&["add-flow", "dp7", "in_port(1),eth(),eth_type(0x88b5)", ""]);
    let exporter = Exporter::launch().namespace(&host).start();
    let witness = Witness::of_protocol(send::ETHERTYPE);
    let sent = other.enter(|| Flood::over(&veth.b, 600).send());
    let received = format!("/sys/class/net/{}/statistics/rx_packets", veth.a);
    wait_until("the switch has received all", SOON, || {
        host.exec(&["cat", &received]).trim() == sent.to_string()
    });
    let metrics = exporter.scrape();
    let at_port = [("device", veth.a.as_str())];
    let mut series = metrics.series(DROPPED, &at_port);
    if module.is_empty() {
        // Before 6.6 that is no drop (do_execute_actions, net/openvswitch/actions.c).
        assert_eq!((witness.count(), series.next()), (0, None));
    } else {
        let dropped = series.next().unwrap();
        let reason = &dropped.labels["reason"];
        assert_eq!(
            (witness.count(), dropped.value, series.next()),
            (sent, sent as f64, None)
        );
        // The trace has names for the kernel's own reasons only.
        let number = witness.only_kind().reason;
        assert_eq!(number, format!("{:#x}", module[reason]), "{reason}");
    }
    switch(&["del-dp", "dp7"]);
}

#[test]
#[ignore = "needs root and modules: run by tests/run.sh kernels"]
fn drops_of_a_module_that_is_unloaded_before_the_read_have_its_function() {
    let _room = Room::enter();
    let (host, other) = (Namespace::new(), Namespace::new());
    let veth = Veth::between(&host, &other);
    host.ip(&["link", "add", "br7", "up", "type", "bridge"]);
    host.ip(&["link", "set", &veth.a, "master", "br7"]);
    let exporter = Exporter::launch().namespace(&host).start();
    let witness = Witness::of_protocol(send::ETHERTYPE);
    // A group sends nothing, so the bridge drops this (br_handle_frame, net/bridge/br_input.c).
    let mut frame = Flood::over(&veth.b, 1).frame();
    frame[6] |= 1;
    other.enter(|| send::send_frames(&veth.b, &vec![frame; 40]));
    witness.expect(40);
    let kind = witness.only_kind();
    host.ip(&["link", "del", "br7"]);
    run(&["modprobe", "--remove", "bridge"]);
    assert!(!symbols::is_function(&kind.function), "{kind:?}");
    let metrics = exporter.scrape();
    let kernel_writes_names = symbols::is_function("bpf_snprintf");
    let mut labels = vec![("device", veth.a.as_str())];
    // Otherwise it depends on when the exporter last read its maps.
    if kernel_writes_names {
        labels.push(("function", &kind.function));
    }
    assert_eq!(metrics.sum(DROPPED, &labels), 40.0, "{kind:?}");
    println!("FEATURE module_functions {kernel_writes_names}");
}
