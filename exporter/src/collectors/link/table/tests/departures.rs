//! Devices that go: removed, moved, or only set down.

use super::*;
use crate::collectors::link::message::Parent;

fn close(table: &mut Table, link: &Link, seconds: u64) -> Vec<Event> {
    table.apply(LinkMessage::Closed(closed(link)), None, at(seconds))
}

fn delete(table: &mut Table, index: u32, seconds: u64) -> Vec<Event> {
    table.apply(LinkMessage::Deleted(IfIndex(index)), None, at(seconds))
}

/// A port with a bus device.
fn port(index: u32, name: &str) -> Link {
    Link {
        parent: Parent::Device {
            bus: "virtio".into(),
            name: "virtio2".into(),
        },
        ..link(index, name)
    }
}

/// As the kernel leaves a device that it closes.
fn closed(link: &Link) -> Link {
    Link {
        admin: Admin::Down,
        ..without_carrier(link)
    }
}

/// The removals that are served, with their seconds: of devices that are there, and of others.
fn removals(table: &Table) -> Vec<(String, u64, Option<u64>)> {
    let seconds = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let rows = table.rows().into_iter();
    let rows = rows.filter(|row| row.has(Transition::Removed));
    let rows = rows.map(|row| {
        let times = row.transitions.get(Transition::Removed);
        let last = row.last.get(Transition::Removed);
        (row.link.name.to_string(), times, last.map(seconds))
    });
    let gone = table.removed().into_iter();
    let gone = gone.map(|gone| (gone.name.to_string(), gone.times, Some(seconds(gone.last))));
    rows.chain(gone).collect()
}

fn admin_downs(table: &Table, name: &str) -> u64 {
    let mut rows = table.rows().into_iter();
    let row = rows.find(|row| row.link.name == *name).unwrap();
    row.transitions.get(Transition::AdminDown)
}

const REMOVED: [u32; 5] = [0, 0, 0, 0, 1];
const ADMIN_DOWN: [u32; 5] = [1, 0, 0, 0, 0];

#[test]
fn a_port_that_the_kernel_closes_and_deletes_was_removed_and_not_set_down() {
    let eth0 = port(2, "eth0");
    let mut table = table_with(&[&eth0]);
    assert_eq!(removals(&table), [("eth0".to_owned(), 0, None)], "at 0");
    assert_eq!(told(&close(&mut table, &eth0, 10)), []);
    assert_eq!(table.rows()[0].link.admin, Admin::Down, "it is down");
    assert_eq!(table.expire(at(14).monotonic), [], "not yet decided");
    let name = || "eth0".to_owned();
    let events = delete(&mut table, 2, 14);
    assert_eq!(events[0], Event::Gone(IfIndex(2)));
    assert_eq!(told(&events), [(name(), Some(Departure::Removed), REMOVED)]);
    assert_eq!(removals(&table), [(name(), 1, Some(14))]);
    assert_eq!(table.expire(at(20).monotonic), []);

    // Another device comes, which udev gives the name a moment later.
    apply(&mut table, &port(7, "eth1"), 30);
    assert_eq!(removals(&table)[0], ("eth1".to_owned(), 0, None));
    apply(&mut table, &port(7, "eth0"), 31);
    assert_eq!(removals(&table), [(name(), 1, Some(14))]);
    assert_eq!(table.deadline(), None, "as long as it is there");
    delete(&mut table, 7, 4000);
    assert_eq!(removals(&table), [(name(), 2, Some(4000))]);
    assert_eq!(table.deadline(), Some(at(7600).monotonic));
    let version = table.version();
    table.expire(at(7600).monotonic);
    assert_eq!(removals(&table), []);
    assert!(table.version() > version);
}

#[test]
fn a_port_that_is_closed_and_stays_was_set_down_when_it_was_closed() {
    let eth0 = port(2, "eth0");
    let mut table = table_with(&[&eth0]);
    close(&mut table, &eth0, 10);
    // What leaves it down decides nothing, and the wait is not longer for it.
    let enslaved = Link {
        master: Some(IfIndex(9)),
        ..closed(&eth0)
    };
    apply(&mut table, &enslaved, 12);
    close(&mut table, &eth0, 13);
    assert_eq!(table.deadline(), Some(at(15).monotonic));
    let events = table.expire(at(15).monotonic);
    assert_eq!(told(&events), [("eth0".to_owned(), None, ADMIN_DOWN)]);
    let row = &table.rows()[0];
    assert_eq!(row.last.get(Transition::AdminDown), Some(at(10).wall));
    assert_eq!(table.deadline(), None);

    // Or it is set up again before.
    let up = |carrier_downs| Link {
        carrier_downs,
        ..eth0.clone()
    };
    apply(&mut table, &up(2), 20);
    close(&mut table, &up(2), 21);
    let events = apply(&mut table, &up(3), 22);
    let happened: Vec<_> = told(&events).into_iter().map(|(.., t)| t).collect();
    assert_eq!(happened, [ADMIN_DOWN, [0, 1, 0, 0, 0]]);
    assert_eq!(admin_downs(&table, "eth0"), 2);
}

#[test]
fn what_is_set_down_first_was_set_down_whatever_becomes_of_it() {
    let eth0 = port(2, "eth0");
    let mut table = table_with(&[&eth0]);
    let events = apply(&mut table, &closed(&eth0), 1);
    assert_eq!(told(&events), [("eth0".to_owned(), None, ADMIN_DOWN)]);
    let events = delete(&mut table, 2, 1);
    let removed = ("eth0".to_owned(), Some(Departure::Removed), REMOVED);
    assert_eq!(told(&events), [removed]);
}

#[test]
fn a_loss_of_carrier_before_the_removal_is_counted() {
    let eth0 = port(2, "eth0");
    let mut table = table_with(&[&eth0]);
    let lost = without_carrier(&without_carrier(&closed(&eth0)));
    let events = table.apply(LinkMessage::Closed(lost), None, at(1));
    assert_eq!(told(&events), [("eth0".to_owned(), None, [0, 0, 2, 0, 0])]);
}

#[test]
fn a_port_that_moves_was_neither_removed_nor_set_down() {
    let eth0 = port(2, "eth0");
    let mut table = table_with(&[&eth0]);
    close(&mut table, &eth0, 1);
    let events = table.apply(LinkMessage::Moved(IfIndex(2)), None, at(1));
    let moved = ("eth0".to_owned(), Some(Departure::Moved), [0; 5]);
    assert_eq!(told(&events), [moved]);
    assert_eq!(removals(&table), []);
    assert_eq!(table.expire(at(100).monotonic), []);
}

#[test]
fn a_port_that_a_dump_lacks_is_gone_and_nobody_says_how() {
    let eth0 = port(2, "eth0");
    let missing = ("eth0".to_owned(), Some(Departure::Missing), [0; 5]);
    let mut table = table_with(&[&eth0]);
    close(&mut table, &eth0, 1);
    table.begin_dump();
    let events = table.end_dump(false, at(2));
    assert_eq!(told(&events), std::slice::from_ref(&missing));
    assert_eq!((removals(&table), table.deadline()), (vec![], None));
    // Nor is a successor with its index the one that was closed.
    let mut table = table_with(&[&eth0]);
    close(&mut table, &eth0, 1);
    let events = apply(&mut table, &eth0, 2);
    assert_eq!(told(&events), [missing]);
    assert_eq!(table.expire(at(100).monotonic), []);
}

#[test]
fn removals_are_counted_of_ports_bonds_and_teams_that_are_shown() {
    let exclude = DevicePattern::new("hidden").unwrap();
    for (kind, name, parent, served) in [
        ("", "eth0", port(2, "").parent, true),
        ("bond", "bond0", Parent::None, true),
        ("team", "team0", Parent::None, true),
        ("veth", "eth0", Parent::None, false),
        ("vlan", "bond0.7", Parent::None, false),
        ("", "hidden", port(2, "").parent, false),
    ] {
        let mut table = Table::new(DeviceFilter::Exclude(exclude.clone()));
        let link = Link {
            kind: kind.into(),
            parent,
            ..link(2, name)
        };
        apply(&mut table, &link, 0);
        assert_eq!(removals(&table).len(), usize::from(served), "{link:?}");
        delete(&mut table, 2, 1);
        assert_eq!(removals(&table).len(), usize::from(served), "{link:?}");
    }
}

#[test]
fn a_virtual_link_that_takes_a_removed_ports_name_does_not_hide_the_removal() {
    let mut table = table_with(&[&port(2, "eth0")]);
    delete(&mut table, 2, 10);
    let veth = Link {
        kind: "veth".into(),
        parent: Parent::None,
        ..link(3, "eth0")
    };
    apply(&mut table, &veth, 20);
    assert_eq!(removals(&table), [("eth0".to_owned(), 1, Some(10))]);
    assert_eq!(table.deadline(), Some(at(3610).monotonic));
}
