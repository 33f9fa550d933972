use super::*;
use crate::{
    collectors::link::{message::Carrier, testing::link},
    devices::DevicePattern,
};

mod carrier;
mod departures;
mod topology;

fn at(seconds: u64) -> Moment {
    static START: once_cell::sync::Lazy<Instant> = once_cell::sync::Lazy::new(Instant::now);
    Moment {
        wall: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
        monotonic: *START + Duration::from_secs(seconds),
    }
}

fn apply(table: &mut Table, link: &Link, seconds: u64) -> Vec<Event> {
    table.apply(LinkMessage::Present(link.clone()), None, at(seconds))
}

fn table_with(links: &[&Link]) -> Table {
    let mut table = Table::new(DeviceFilter::All);
    for link in links {
        apply(&mut table, link, 0);
    }
    table
}

fn without_carrier(link: &Link) -> Link {
    Link {
        carrier: Carrier::Off,
        carrier_downs: link.carrier_downs.wrapping_add(1),
        ..link.clone()
    }
}

/// The link, how it went, and how often each transition happened.
fn told(events: &[Event]) -> Vec<(String, Option<Departure>, [u32; 5])> {
    let told = events.iter().filter_map(|event| match event {
        Event::Changed(change) => {
            let happened = Transition::ALL.map(|t| change.happened.get(t));
            Some((change.link.name.to_string(), change.left, happened))
        }
        Event::Named(..) | Event::Gone(_) => None,
    });
    told.collect()
}

fn names(table: &Table) -> Vec<(u32, String)> {
    let rows = table.rows().into_iter();
    rows.map(|row| (row.link.index.0, row.link.name.to_string()))
        .collect()
}

#[test]
fn what_happened_before_a_link_was_seen_is_not_counted() {
    let table = table_with(&[&without_carrier(&link(2, "eth0"))]);
    let row = &table.rows()[0];
    assert_eq!(row.transitions, PerTransition::default());
    assert_eq!(row.last, PerTransition::default());
}

#[test]
fn an_outage_is_measured_from_its_first_message() {
    let up = link(2, "eth0");
    let down = without_carrier(&up);
    let again = Link {
        carrier: Carrier::On,
        carrier_ups: up.carrier_ups + 1,
        ..down.clone()
    };
    let mut table = table_with(&[&up]);
    apply(&mut table, &down, 10);
    apply(&mut table, &down, 11);
    let events = apply(&mut table, &again, 13);
    let [Event::Changed(change)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(change.outage, Some(Duration::from_secs(3)));
    let row = &table.rows()[0];
    let down_at = row.last.get(Transition::CarrierDown);
    assert_eq!(down_at, Some(at(10).wall));
}

#[test]
fn a_renamed_device_keeps_its_transitions() {
    let down = without_carrier(&link(2, "eth0"));
    let mut table = table_with(&[&link(2, "eth0"), &down]);
    let renamed = Link {
        name: "wan".into(),
        ..down
    };
    let events = apply(&mut table, &renamed, 1);
    assert_eq!(events, [Event::Named(IfIndex(2), "wan".into())]);
    assert_eq!(names(&table), [(2, "wan".to_owned())]);
    let transitions = table.rows()[0].transitions;
    assert_eq!(transitions.get(Transition::CarrierDown), 1);
}

#[test]
fn a_device_that_is_made_again_starts_at_zero() {
    let up = link(2, "eth0");
    let down = without_carrier(&up);
    let mut table = table_with(&[&up, &down]);
    // The same index, with counts that went back: its end was not heard of.
    apply(&mut table, &up, 1);
    assert_eq!(table.rows()[0].transitions, PerTransition::default());

    apply(&mut table, &down, 2);
    table.apply(LinkMessage::Deleted(IfIndex(2)), None, at(3));
    assert_eq!(names(&table), []);
    apply(&mut table, &link(9, "eth0"), 4);
    assert_eq!(table.rows()[0].transitions, PerTransition::default());
}

#[test]
fn a_device_whose_name_was_taken_is_hidden_until_it_is_heard_of() {
    let mut table = table_with(&[&link(2, "a"), &link(3, "b")]);
    apply(&mut table, &link(3, "a"), 1);
    assert_eq!(names(&table), [(3, "a".to_owned())]);
    apply(&mut table, &link(2, "c"), 2);
    assert_eq!(names(&table), [(3, "a".to_owned()), (2, "c".to_owned())]);
}

#[test]
fn a_dump_ends_what_is_not_in_it_unless_it_is_incomplete() {
    let mut table = table_with(&[&link(2, "a"), &link(3, "b")]);
    for incomplete in [true, false] {
        table.begin_dump();
        apply(&mut table, &link(2, "a"), 1);
        let events = table.end_dump(incomplete, at(2));
        let gone = [("b".to_owned(), Some(Departure::Missing), [0; 5])];
        assert_eq!(told(&events), gone[usize::from(incomplete)..]);
    }
    assert_eq!(names(&table), [(2, "a".to_owned())]);
}

#[test]
fn a_link_that_is_not_shown_still_gives_its_name_to_others() {
    let exclude = DevicePattern::new("bond.*").unwrap();
    let mut table = Table::new(DeviceFilter::Exclude(exclude));
    let port = Link {
        master: Some(IfIndex(3)),
        ..link(2, "eth0")
    };
    for link in [&port, &link(3, "bond0")] {
        apply(&mut table, link, 0);
    }
    assert_eq!(names(&table), [(2, "eth0".to_owned())]);
    assert_eq!(table.rows()[0].master, Some("bond0".into()));
    let events = apply(&mut table, &without_carrier(&link(3, "bond0")), 1);
    assert_eq!(events, []);
}

#[test]
fn the_first_end_of_a_veth_pair_learns_of_the_other_from_it() {
    let veth = |index, name, lower| Link {
        kind: "veth".into(),
        lower,
        ..link(index, name)
    };
    let first = veth(2, "a", None);
    let second = veth(3, "b", Some(IfIndex(2)));
    let mut table = table_with(&[&first, &second, &link(4, "c")]);
    let lower = |table: &Table| -> Vec<_> {
        let rows = table.rows().into_iter();
        rows.map(|row| row.lower.map(|name| name.to_string()))
            .collect()
    };
    let name = |name: &str| Some(name.to_owned());
    assert_eq!(lower(&table), [name("b"), name("a"), None]);
    table.apply(LinkMessage::Deleted(IfIndex(3)), None, at(1));
    assert_eq!(lower(&table), [None, None]);
}

#[test]
fn only_ports_that_are_shown_are_asked_and_each_device_is_another() {
    let exclude = DevicePattern::new("eth1").expect("a pattern");
    let mut table = Table::new(DeviceFilter::Exclude(exclude));
    let (eth0, eth1) = (link(2, "eth0"), link(3, "eth1"));
    let veth = Link {
        kind: "veth".into(),
        ..link(4, "veth0")
    };
    for link in [&eth0, &eth1, &veth] {
        apply(&mut table, link, 0);
    }
    let ports = |table: &Table| {
        let ports = table.port_candidates().into_iter();
        ports
            .map(|port| (port.index.0, port.serial))
            .collect::<Vec<_>>()
    };
    let before = ports(&table);
    assert_eq!((before.len(), before[0].0), (1, 2));
    apply(&mut table, &without_carrier(&eth0), 1);
    assert_eq!(ports(&table), before, "it is the same");
    table.apply(LinkMessage::Moved(eth0.index), None, at(2));
    apply(&mut table, &eth0, 3);
    let after = ports(&table);
    assert_eq!(after[0].0, 2);
    assert_ne!(
        after[0].1, before[0].1,
        "it may have been another meanwhile"
    );
}
