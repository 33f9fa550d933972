//! Which port carries a link, what it is a member of, and how it is watched.

use super::*;
use crate::collectors::link::{
    message::Parent,
    sysfs::Role,
    watch::Watch::{self, Page, Ticket},
};

const SETTLE: u64 = 60;

fn port(index: u32, name: &str) -> Link {
    Link {
        parent: Parent::Device {
            bus: "pci".into(),
            name: format!("0000:3b:00.{index}").as_str().into(),
        },
        ..link(index, name)
    }
}

fn virtual_(index: u32, name: &str, kind: &str) -> Link {
    Link {
        kind: kind.into(),
        parent: Parent::None,
        ..link(index, name)
    }
}

fn member(link: Link, master: u32) -> Link {
    Link {
        master: Some(IfIndex(master)),
        ..link
    }
}

fn over(link: Link, lower: u32) -> Link {
    Link {
        lower: Some(IfIndex(lower)),
        ..link
    }
}

/// Device, port, bond and watch of each link that this table serves.
fn served(table: &Table) -> Vec<(String, String, String, Watch)> {
    let text = |name: &Option<Name>| name.as_ref().map_or_else(String::new, Name::to_string);
    let rows = table.rows().into_iter();
    rows.map(|row| {
        let (port, bond) = (text(&row.port), text(&row.bond));
        (row.link.name.to_string(), port, bond, row.watch)
    })
    .collect()
}

/// A table in which all links settle, filled in every order of two: a dump lists links by index, and
/// a master may have a higher one.
fn assert_served(links: &[Link], expected: &[(&str, &str, &str, Watch)]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|&(device, port, bond, watch)| (device.into(), port.into(), bond.into(), watch))
        .collect();
    let reversed: Vec<_> = links.iter().rev().cloned().collect();
    for links in [links, &reversed] {
        let table = table_with(&links.iter().collect::<Vec<_>>());
        assert_eq!(served(&table), expected, "{links:#?}");
    }
}

fn settling() -> Table {
    Table::new(DeviceFilter::All).settling(Duration::from_secs(SETTLE))
}

fn watch_of(table: &Table, name: &str) -> (String, Watch) {
    let mut rows = served(table).into_iter();
    let row = rows.find(|row| row.0 == name).expect("the link");
    (row.2, row.3)
}

fn redundant(table: &Table, name: &str) -> Option<bool> {
    let mut rows = table.rows().into_iter();
    rows.find(|row| row.link.name == *name)?.redundant
}

const NONE: Watch = Watch::None;

#[test]
fn a_vlan_on_a_bridge_on_a_bond_is_carried_by_the_bond() {
    assert_served(
        &[
            member(port(2, "eth0"), 4),
            member(port(3, "eth1"), 4),
            member(virtual_(4, "bond0", "bond"), 5),
            virtual_(5, "br0", "bridge"),
            over(virtual_(6, "br0.7", "vlan"), 5),
            over(virtual_(7, "mac0", "macvlan"), 6),
            member(virtual_(8, "vnet0", "tun"), 5),
        ],
        &[
            ("bond0", "bond0", "", Page),
            ("br0", "bond0", "", NONE),
            ("br0.7", "bond0", "", NONE),
            ("eth0", "bond0", "bond0", Ticket),
            ("eth1", "bond0", "bond0", Ticket),
            ("mac0", "bond0", "", NONE),
            ("vnet0", "", "", NONE),
        ],
    );
}

#[test]
fn a_bridge_of_several_ports_has_none() {
    assert_served(
        &[
            member(port(2, "eth0"), 4),
            member(port(3, "eth1"), 4),
            virtual_(4, "br0", "bridge"),
            over(virtual_(5, "br0.7", "vlan"), 4),
            // Both VLANs of one port are that port.
            over(virtual_(6, "eth0.1", "vlan"), 2),
            over(member(virtual_(7, "eth0.2", "vlan"), 9), 2),
            over(member(virtual_(8, "eth0.3", "vlan"), 9), 2),
            virtual_(9, "vrf0", "vrf"),
        ],
        &[
            ("br0", "", "", NONE),
            ("br0.7", "", "", NONE),
            ("eth0", "eth0", "", Page),
            ("eth0.1", "eth0", "", NONE),
            ("eth0.2", "eth0", "", NONE),
            ("eth0.3", "eth0", "", NONE),
            ("eth1", "eth1", "", Page),
            ("vrf0", "eth0", "", NONE),
        ],
    );
}

#[test]
fn pairs_and_circles_end() {
    assert_served(
        &[
            over(member(virtual_(2, "v0", "veth"), 5), 3),
            over(virtual_(3, "v1", "veth"), 2),
            over(virtual_(4, "odd", "vlan"), 4),
            virtual_(5, "br0", "bridge"),
            over(virtual_(6, "lost", "vlan"), 99),
        ],
        &[
            ("br0", "", "", NONE),
            ("lost", "", "", NONE),
            ("odd", "", "", NONE),
            ("v0", "", "", NONE),
            ("v1", "", "", NONE),
        ],
    );
}

#[test]
fn openvswitch_has_members_but_is_no_bond() {
    let representor = Link {
        is_representor: true,
        ..port(6, "rep0")
    };
    let links = [
        member(port(2, "eth0"), 9),
        member(port(3, "eth1"), 9),
        member(virtual_(4, "bond0", "bond"), 9),
        member(virtual_(5, "vnet0", "tun"), 9),
        member(representor, 9),
        virtual_(9, "ovs-system", "openvswitch"),
    ];
    assert_served(
        &links,
        &[
            ("bond0", "bond0", "", Page),
            ("eth0", "eth0", "", Ticket),
            ("eth1", "eth1", "", Ticket),
            ("ovs-system", "", "", NONE),
            ("rep0", "rep0", "", NONE),
            ("vnet0", "", "", NONE),
        ],
    );
    // What leads into a virtual machine replaces no uplink.
    let mut table = table_with(&links.iter().collect::<Vec<_>>());
    for index in [0, 2] {
        let lost = without_carrier(&links[index]);
        apply(&mut table, &lost, 1);
    }
    assert_eq!(redundant(&table, "eth0"), Some(true));
    assert_eq!(redundant(&table, "eth1"), Some(false));
    assert_eq!(redundant(&table, "vnet0"), None);
}

#[test]
fn a_member_is_redundant_while_another_one_works() {
    let (eth0, eth1) = (member(port(2, "eth0"), 4), member(port(3, "eth1"), 4));
    let bond = virtual_(4, "bond0", "bond");
    let mut table = table_with(&[&eth0, &eth1, &bond]);
    let both = |table: &Table| ["eth0", "eth1", "bond0"].map(|name| redundant(table, name));
    assert_eq!(both(&table), [Some(true), Some(true), Some(false)]);
    apply(&mut table, &without_carrier(&eth1), 1);
    assert_eq!(both(&table), [Some(false), Some(true), Some(false)]);
    let set_down = Link {
        admin: Admin::Down,
        ..eth0
    };
    apply(&mut table, &set_down, 2);
    assert_eq!(both(&table), [Some(false), Some(false), Some(false)]);
}

#[test]
fn a_port_that_its_bond_throws_out_or_leaves_behind_stays_a_member_until_it_works_alone() {
    let (eth0, eth1) = (member(port(2, "eth0"), 4), member(port(3, "eth1"), 4));
    let bond = virtual_(4, "bond0", "bond");
    let thrown_out = Link {
        master: None,
        ..without_carrier(&eth0)
    };
    let alone = Link {
        carrier: Carrier::On,
        carrier_ups: 2,
        ..thrown_out.clone()
    };
    let member_of_bond0 = ("bond0".to_owned(), Ticket);
    let mut table = settling();
    for link in [&eth0, &eth1, &bond] {
        apply(&mut table, link, 0);
    }
    apply(&mut table, &thrown_out, 100);
    assert_eq!(watch_of(&table, "eth0"), member_of_bond0);
    assert_eq!(
        redundant(&table, "eth0"),
        Some(true),
        "eth1 carries the bond"
    );
    table.expire(at(100 + 10 * SETTLE).monotonic);
    assert_eq!(watch_of(&table, "eth0"), member_of_bond0);

    // The bond goes before its member's last message is there.
    table.apply(LinkMessage::Deleted(IfIndex(4)), None, at(1000));
    assert_eq!(watch_of(&table, "eth1"), member_of_bond0);
    assert_eq!(watch_of(&table, "eth0"), member_of_bond0);

    // It works for a while, but not for long enough; then it does.
    apply(&mut table, &alone, 2000);
    assert_eq!(table.deadline(), Some(at(2000 + SETTLE).monotonic));
    apply(&mut table, &without_carrier(&alone), 2010);
    table.expire(at(2000 + SETTLE).monotonic);
    assert_eq!(watch_of(&table, "eth0"), member_of_bond0);
    let again = Link {
        carrier_ups: 3,
        carrier_downs: 3,
        ..alone
    };
    apply(&mut table, &again, 3000);
    let version = table.version();
    table.expire(at(3000 + SETTLE).monotonic);
    assert_eq!(watch_of(&table, "eth0"), (String::new(), Page));
    assert!(table.version() > version);
    assert!(table.pending.is_empty());
}

#[test]
fn a_port_that_changes_its_bond_is_a_member_of_the_new_one_at_once() {
    let eth0 = member(port(2, "eth0"), 4);
    let bonds = [virtual_(4, "bond0", "bond"), virtual_(5, "bond1", "bond")];
    let mut table = settling();
    for link in [&eth0, &bonds[0], &bonds[1]] {
        apply(&mut table, link, 0);
    }
    apply(
        &mut table,
        &Link {
            master: None,
            ..eth0.clone()
        },
        1,
    );
    apply(&mut table, &member(eth0.clone(), 5), 2);
    assert_eq!(watch_of(&table, "eth0"), ("bond1".to_owned(), Ticket));
    // A bridge is none, and the port has not worked alone for long.
    apply(&mut table, &virtual_(6, "br0", "bridge"), 3);
    apply(&mut table, &member(eth0, 6), 3);
    assert_eq!(watch_of(&table, "eth0"), ("bond1".to_owned(), Ticket));
    table.expire(at(3 + SETTLE).monotonic);
    assert_eq!(watch_of(&table, "eth0"), (String::new(), Page));
}

#[test]
fn a_card_that_is_reset_stays_what_it_was() {
    let representor = Link {
        is_representor: true,
        ..port(2, "rep0")
    };
    let silent = Link {
        is_representor: false,
        ..without_carrier(&representor)
    };
    let table = table_with(&[&representor, &silent]);
    assert_eq!(watch_of(&table, "rep0").1, NONE);
    // The facts are those of the first message that had some.
    let mut table = Table::new(DeviceFilter::All);
    let facts = Facts {
        driver: "virtio_net".into(),
        role: Role::Port,
        physical: true,
        ..Facts::default()
    };
    table.apply(LinkMessage::Present(port(2, "eth0")), Some(facts), at(0));
    apply(&mut table, &without_carrier(&port(2, "eth0")), 1);
    assert_eq!(watch_of(&table, "eth0").1, Ticket);
}

#[test]
fn the_function_below_a_virtual_machines_port_is_not_watched() {
    let netvsc = Facts {
        driver: "hv_netvsc".into(),
        physical: true,
        ..Facts::default()
    };
    let mut table = settling();
    table.apply(LinkMessage::Present(port(2, "eth0")), Some(netvsc), at(0));
    apply(&mut table, &member(port(3, "enP1s1"), 2), 0);
    assert_eq!(watch_of(&table, "eth0").1, Ticket);
    assert_eq!(watch_of(&table, "enP1s1").1, NONE);
}

#[test]
fn only_links_that_may_page_do() {
    let pattern = DevicePattern::new("eth0|bond0").expect("an expression");
    let links = [
        port(2, "eth0"),
        port(3, "eth1"),
        virtual_(4, "bond0", "bond"),
    ];
    for (filter, expected) in [
        (DeviceFilter::Include(pattern.clone()), [Page, Page, Ticket]),
        (DeviceFilter::Exclude(pattern), [Ticket, Ticket, Page]),
    ] {
        let mut table = Table::new(DeviceFilter::All).paging(filter);
        for link in &links {
            apply(&mut table, link, 0);
        }
        let watched = ["bond0", "eth0", "eth1"].map(|name| watch_of(&table, name).1);
        assert_eq!(watched, expected);
    }
}
