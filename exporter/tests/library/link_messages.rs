//! Real captures of rtnetlink(7), and what is left of them when bytes are wrong.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

use allocation_counter::AllocationInfo;
use netdrop_exporter::{
    collectors::link::{
        dump_sync::{DumpSync, Step},
        losses::Loss,
        message::{Admin, Carrier, Content, Link, LinkMessage, Parent, messages},
        table::{Departure, Event, Moment, Row, Table},
        transitions::Transition,
    },
    devices::{DeviceFilter, IfIndex},
    kernel::netlink::links::{self, Links},
};
use proptest::prelude::*;

use crate::damage::{arb_damage, cases, cost_of, damaged};

/// The port and the sequence number of the captured dump.
fn asked(dump: &[u8]) -> (u32, u32) {
    let first = messages(dump).next().expect("a message").expect("whole");
    (first.port, first.seq)
}

fn fixture(name: &str) -> Vec<u8> {
    crate::damage::fixture(&format!("netlink/{name}"))
}

fn apply(table: &mut Table, steps: Vec<Step>) -> Vec<Event> {
    let now = Moment {
        wall: SystemTime::now(),
        monotonic: Instant::now(),
    };
    let mut events = Vec::new();
    for step in steps {
        match step {
            Step::DumpBegins => table.begin_dump(),
            Step::Link(message) => events.extend(table.apply(message, None, now)),
            Step::DumpEnds { incomplete } => events.extend(table.end_dump(incomplete, now)),
            Step::Lost(..) => {}
        }
    }
    events
}

/// A table and the dump_sync that filled it from the captured dump.
fn after_the_dump() -> (Table, DumpSync) {
    after_the_dump_of(&fixture("dump.bin"))
}

fn after_the_dump_of(dump: &[u8]) -> (Table, DumpSync) {
    let (port, seq) = asked(dump);
    assert_eq!(seq, 1, "the first request of a dump sync");
    let mut dump_sync = DumpSync::new(port, Instant::now());
    assert_eq!(dump_sync.request(Instant::now()), Some(1));
    let mut table = Table::new(DeviceFilter::All);
    apply(&mut table, dump_sync.datagram(dump, Instant::now()));
    assert!(dump_sync.is_synchronised());
    (table, dump_sync)
}

/// The messages of a capture.
fn split(capture: &mut [u8]) -> Vec<&mut [u8]> {
    split_by(capture, |rest| {
        rest.first_chunk()
            .map(|len| u32::from_ne_bytes(*len) as usize)
    })
}

/// The attributes of a message.
fn split_attributes(message: &mut [u8]) -> Vec<&mut [u8]> {
    split_by(message, |rest| {
        let len = rest.first_chunk()?;
        Some(usize::from(u16::from_ne_bytes(*len)))
    })
}

/// What each is as long as it says, and begins at a multiple of 4.
fn split_by(mut rest: &mut [u8], len: impl Fn(&[u8]) -> Option<usize>) -> Vec<&mut [u8]> {
    let mut parts = Vec::new();
    while let Some(len) = len(rest) {
        let (part, after) = rest.split_at_mut(len.next_multiple_of(4).min(rest.len()));
        parts.push(&mut part[..len]);
        rest = after;
    }
    parts
}

fn names(table: &Table) -> Vec<String> {
    let rows = table.rows().into_iter();
    rows.map(|row| row.link.name.to_string()).collect()
}

fn row(table: &Table, name: &str) -> Row {
    let mut rows = table.rows().into_iter();
    rows.find(|row| row.link.name == name).expect(name)
}

#[test]
fn a_dump_of_the_kernel_is_understood() {
    let (table, _) = after_the_dump();
    assert_eq!(
        names(&table),
        ["br0", "ifb0", "lo", "mac0", "tap0", "va", "vb", "vx0"]
    );
    let kinds: Vec<String> = table
        .rows()
        .iter()
        .map(|row| row.link.kind.to_string())
        .collect();
    assert_eq!(
        kinds,
        [
            "bridge", "ifb", "", "macvlan", "tun", "veth", "veth", "vxlan"
        ]
    );
    let mac = row(&table, "mac0");
    assert_eq!(mac.lower, Some("va".into()));
    assert_eq!((mac.link.admin, mac.link.carrier), (Admin::Up, Carrier::On));
    let tap = row(&table, "tap0");
    assert_eq!(tap.link.operstate.name(), "down");
    assert_eq!((tap.link.carrier_ups, tap.link.carrier_downs), (0, 1));
}

#[test]
fn a_port_is_told_from_virtual_links_by_its_bus_device() {
    let port = fixture("port.bin");
    let message = messages(&port).next().unwrap().unwrap();
    let Content::Link(LinkMessage::Present(port)) = message.content else {
        panic!("{message:?}");
    };
    assert_eq!((&port.name, &port.kind), (&"eth0".into(), &"".into()));
    assert_eq!(*port.address, [0x02, 0xfc, 0, 0, 0, 1]);
    let virtio = Parent::Device {
        bus: "virtio".into(),
        name: "virtio2".into(),
    };
    assert_eq!(port.parent, virtio);

    let (table, _) = after_the_dump();
    for row in table.rows() {
        assert_eq!(row.link.parent, Parent::None, "{:?}", row.link.name);
    }
}

#[test]
fn a_kernel_that_knows_no_parents_does_not_say_that_there_is_none() {
    // A port with another name, as udev gives it, has IFLA_PROP_LIST (52) with NLA_F_NESTED (5.5 and
    // later).
    for older in [0, 0x8000 | 52_u16] {
        let mut dump = fixture("dump.bin");
        // All that is younger than IFLA_PROTO_DOWN_REASON, the last one of 5.10.
        for attribute in split_attributes(&mut split(&mut dump)[0][32..]) {
            if u16::from_ne_bytes([attribute[2], attribute[3]]) > 55 {
                attribute[2..4].copy_from_slice(&older.to_ne_bytes());
            }
        }
        let message = messages(&dump).next().unwrap().unwrap();
        let Content::Link(LinkMessage::Present(link)) = message.content else {
            panic!("{message:?}");
        };
        assert_eq!(link.parent, Parent::Unknown, "{older:#x}");
    }
}

#[test]
fn the_story_of_the_captured_changes_is_told() {
    let (mut table, mut dump_sync) = after_the_dump();
    // Up to each message: datagrams may be cut anywhere between them.
    let mut told = Vec::new();
    for message in split(&mut fixture("changes.bin")) {
        apply(&mut table, dump_sync.datagram(message, Instant::now()));
        for name in ["vc", "ve", "vd"] {
            if names(&table).iter().any(|n| n == name) {
                told.push((name, row(&table, name).transitions));
            }
        }
    }
    let last = |name| {
        let (_, transitions) = told.iter().rev().find(|(n, _)| *n == name).unwrap();
        Transition::ALL.map(|transition| transitions.get(transition))
    };
    // Admin down, admin up, carrier down, carrier up, removed.
    assert_eq!(last("vc"), [1, 1, 1, 2, 0]);
    let same = "the same device by another name";
    assert_eq!(last("ve"), [1, 1, 1, 2, 0], "{same}");
    // The kernel closes a device before it deletes it.
    assert_eq!(last("vd"), [1, 2, 1, 2, 0]);
    assert_eq!(names(&table).len(), 8, "both ends are gone again");
}

#[test]
fn a_device_that_goes_is_told_from_one_that_is_set_down() {
    let capture = fixture("departures.bin");
    let (mut table, mut dump_sync) = after_the_dump_of(&capture);
    // The dump is over: what follows in the capture are the notifications.
    let mut told = BTreeMap::new();
    for event in apply(&mut table, dump_sync.datagram(&capture, Instant::now())) {
        if let Event::Changed(change) = event {
            let (how, admin_downs) = told.entry(change.link.name.to_string()).or_default();
            *admin_downs += change.happened.get(Transition::AdminDown);
            *how = change.left.or(*how);
        }
    }
    let told: Vec<_> = told
        .iter()
        .map(|(name, told)| (name.as_str(), *told))
        .collect();
    let (removed, moved) = (Some(Departure::Removed), Some(Departure::Moved));
    assert_eq!(
        told,
        [
            ("deleted", (removed, 0)),
            ("deleted-x", (removed, 0)),
            ("downed", (removed, 1)),
            ("downed-long", (removed, 1)),
            ("downed-long-x", (removed, 0)),
            ("downed-x", (removed, 0)),
            ("moved", (moved, 0)),
            // Its peer's namespace was deleted later, as that of `peerless`.
            ("moved-x", (removed, 0)),
            ("peerless", (removed, 0)),
            ("was-down", (removed, 0)),
            ("was-down-x", (removed, 0)),
        ]
    );
    assert_eq!(names(&table), ["lo"]);
    assert_eq!(table.deadline(), None, "nothing is undecided");
}

#[test]
fn a_port_that_leaves_its_bridge_is_not_gone() {
    const AF_BRIDGE: u8 = 7;
    const RTM_DELLINK: u16 = 17;
    let mut left = 0;
    for message in split(&mut fixture("changes.bin")) {
        let kind = u16::from_ne_bytes([message[4], message[5]]);
        if (kind, message[16]) == (RTM_DELLINK, AF_BRIDGE) {
            let parsed = messages(message).next().unwrap().unwrap();
            assert_eq!(parsed.content, Content::Other);
            left += 1;
        }
    }
    assert_eq!(left, 1);
}

#[test]
fn the_request_is_what_the_kernel_takes() {
    let request = links::request(Links::All, 7).unwrap();
    let mut expected = Vec::new();
    // Length, RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, sequence number, port.
    expected.extend(40_u32.to_ne_bytes());
    expected.extend(18_u16.to_ne_bytes());
    expected.extend(0x301_u16.to_ne_bytes());
    expected.extend(7_u32.to_ne_bytes());
    expected.extend([0; 4 + 16]);
    // IFLA_EXT_MASK: RTEXT_FILTER_SKIP_STATS.
    expected.extend(8_u16.to_ne_bytes());
    expected.extend(29_u16.to_ne_bytes());
    expected.extend(8_u32.to_ne_bytes());
    assert_eq!(request, expected);
}

#[test]
fn an_attribute_that_runs_over_the_end_is_refused() {
    let mut dump = fixture("dump.bin");
    // The first attribute of the first link.
    dump[32..34].copy_from_slice(&u16::MAX.to_ne_bytes());
    let mut parsed = messages(&dump);
    assert!(parsed.next().unwrap().is_err());
    assert!(parsed.next().unwrap().is_ok(), "the next message is whole");
}

/// The captured dump as the answer to another request.
fn dump_for(seq: u32) -> Vec<u8> {
    let mut dump = fixture("dump.bin");
    for message in split(&mut dump) {
        message[8..12].copy_from_slice(&seq.to_ne_bytes());
    }
    dump
}

fn links(table: &Table) -> Vec<Link> {
    let rows = table.rows().into_iter();
    rows.map(|row| row.link).collect()
}

/// The captures take some 7,000 pieces of memory, 0.1 MiB at once.
fn assert_bounded(cost: &AllocationInfo) {
    assert!(cost.count_total < 100_000, "too much work: {cost:?}");
    assert!(cost.bytes_max < 4 << 20, "too much memory: {cost:?}");
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn the_next_dump_makes_good_what_damaged_messages_did(
        damage in arb_damage(),
        capture in prop::sample::select(&["dump.bin", "changes.bin"][..]),
    ) {
        let (mut table, mut dump_sync) = after_the_dump();
        let expected = links(&table);
        let bytes = damaged(fixture(capture), &damage);
        assert_bounded(&cost_of(|| {
            apply(&mut table, dump_sync.datagram(&bytes, Instant::now()));
        }));
        let names = names(&table);
        let mut unique = names.clone();
        unique.dedup();
        prop_assert_eq!(unique, names);

        let now = Instant::now();
        dump_sync.lost(Loss::Overrun, now);
        dump_sync.drained();
        let seq = dump_sync.request(now + Duration::from_secs(1)).expect("it is due");
        apply(&mut table, dump_sync.datagram(&dump_for(seq), now));
        prop_assert_eq!(links(&table), expected);
        prop_assert!(dump_sync.is_synchronised());
    }

    #[test]
    fn a_damaged_dump_is_complete_only_if_all_of_it_was_read(damage in arb_damage()) {
        let now = Instant::now();
        let whole = fixture("dump.bin");
        let mut dump_sync = DumpSync::new(asked(&whole).0, now);
        prop_assert_eq!(dump_sync.request(now), Some(1));
        let steps = dump_sync.datagram(&damaged(whole, &damage), now);
        let end = steps.iter().position(|step| matches!(step, Step::DumpEnds { .. }));
        if let Some(end) = end {
            let lost = steps[..end].iter().any(|step| matches!(step, Step::Lost(..)));
            prop_assert_eq!(&steps[end], &Step::DumpEnds { incomplete: lost });
        }
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for message in messages(&bytes).flatten() {
            if let Content::Link(LinkMessage::Deleted(IfIndex(index))) = message.content {
                prop_assert_ne!(index, 0);
            }
        }
    }
}
