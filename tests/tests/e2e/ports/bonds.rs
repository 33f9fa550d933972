//! Bonds and their members, over pairs of veths.

use std::fs;
use std::time::Duration;

use netdrop_tests::testport::run;
use netdrop_tests::wait::try_poll;
use netdrop_tests::{Exporter, Room};

use super::PORTS_ONLY;

#[test]
#[ignore = "needs bonding and dummy: run by tests/kernels/run.sh"]
fn members_of_bonds_are_in_the_state_that_lacp_gives_them() {
    let _room = Room::enter();
    let ip = |words: &str| {
        run("ip", &words.split(' ').collect::<Vec<_>>());
    };
    let add = |bond: &str, options: &str| ip(&format!("link add {bond} type bond {options}"));
    // Two ends of LACP, over one pair of veths; a third member has nobody at the other end, and a fourth
    // is down. A bond without LACP does not look at its members (miimon): it sends over a dead one.
    add("left", "mode 802.3ad miimon 100 lacp_rate fast");
    add("right", "mode 802.3ad miimon 100 lacp_rate fast");
    add("plain", "mode active-backup");
    let members = [
        ("left", "l0"),
        ("left", "l1"),
        ("left", "l2"),
        ("right", "r0"),
        ("plain", "p0"),
        ("plain", "p1"),
    ];
    ip("link add l0 type veth peer name r0");
    ip("link add l1 type veth peer name nobody");
    ip("link add l2 type veth peer name dead");
    ip("link add p0 type veth peer name q0");
    ip("link add p1 type veth peer name q1");
    for (bond, member) in members {
        ip(&format!("link set {member} master {bond}"));
        ip(&format!("link set {member} up"));
    }
    for device in ["nobody", "q1", "left", "right", "plain"] {
        ip(&format!("link set {device} up"));
    }
    let exporter = Exporter::start(&PORTS_ONLY);
    let expected = [
        ("l0", "left", "distributing"),
        ("l1", "left", "no_partner"),
        ("l2", "left", "down"),
        ("p0", "plain", "active"),
        ("p1", "plain", "backup"),
        ("r0", "right", "distributing"),
    ];
    let mut served = Vec::new();
    let is_settled = try_poll(Duration::from_secs(90), || {
        let metrics = exporter.scrape();
        served = metrics
            .series("netdrop_bond_member_info", &[])
            .map(|it| {
                [
                    it.labels["device"].clone(),
                    it.labels["bond"].clone(),
                    it.labels["state"].clone(),
                ]
            })
            .collect();
        served.sort();
        let count = |state| {
            metrics.value(
                "netdrop_bond_members",
                &[("bond", "left"), ("state", state)],
            )
        };
        let counts = [
            count("distributing"),
            count("no_partner"),
            count("down"),
            count("collecting"),
        ];
        let is_it = served.len() == expected.len()
            && served
                .iter()
                .zip(&expected)
                .all(|(it, &(device, bond, state))| *it == [device, bond, state]);
        (is_it && counts == [1.0, 1.0, 1.0, 0.0].map(Some)).then_some(())
    });
    let metrics = exporter.scrape();
    let dead = metrics.value("netdrop_link_carrier", &[("device", "p0")]);
    let info = |bond: &str| {
        let found = metrics
            .series("netdrop_bond_info", &[("bond", bond)])
            .next();
        found.map(|it| ["mode", "monitor", "partner"].map(|label| it.labels[label].clone()))
    };
    let bonds = [info("left"), info("plain")];
    let address = fs::read_to_string("/sys/class/net/right/address").unwrap();
    for device in ["left", "right", "plain", "l0", "l1", "l2", "p0", "p1"] {
        ip(&format!("link del {device}"));
    }
    assert!(is_settled.is_some(), "{served:?}");
    assert_eq!(dead, Some(0.0));
    let expected = [
        ["802.3ad", "mii", address.trim()],
        ["active-backup", "none", ""],
    ];
    assert_eq!(bonds, expected.map(|it| Some(it.map(str::to_owned))));
}
