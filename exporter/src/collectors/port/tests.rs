//! The table of ports, and the page it makes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{
    counters::{Counter, Readings},
    families,
    table::{Facts, Port, Table},
};
use crate::{
    collectors::{Answer, FollowedLink},
    devices::IfIndex,
    kernel::{
        driver_info::DriverInfo,
        netlink::{
            bond::{Bond, BondMember, Bonding},
            ethtool::{
                down_reason::DownReason,
                fec::Fec,
                groups::Groups,
                link_info::Connector,
                link_modes::{Duplex, LinkModes},
                link_state::{LinkState, Sqi},
                pause::Pause,
            },
            netdev::QStats,
            stats64::Stats64,
        },
    },
    metrics::testing::assert_golden,
};

fn link(index: u32, name: &str) -> FollowedLink {
    FollowedLink {
        index: IfIndex(index),
        serial: u64::from(index),
        name: name.into(),
        driver: "mlx5_core".into(),
        physical: true,
        is_bond: false,
        bond: None,
    }
}

fn down(state: u8, substate: Option<u8>) -> LinkState {
    LinkState {
        down_reason: Some(DownReason { state, substate }),
        down_events: Some(3),
        sqi: Some(Sqi { value: 2, max: 7 }),
    }
}

/// Of a port that tells all there is.
fn readings() -> Readings {
    Readings {
        link_state: Some(down(4, None)),
        fec: Some(Fec {
            corrected_blocks: Some(9000),
            uncorrectable_blocks: Some(17),
        }),
        groups: Some(Groups {
            fcs: Some(12),
            symbol: Some(34),
            ..Groups::default()
        }),
        pause: Some(Pause {
            sent: Some(1),
            received: Some(2),
        }),
        qstats: Some(QStats {
            rx_drops: Some(10),
            rx_overruns: Some(7),
            ..QStats::default()
        }),
        stats64: Some(Stats64 {
            rx_dropped: 5,
            ..Stats64::default()
        }),
        tx_timeouts: vec![(11, 1)],
    }
}

fn read_at(second: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(second)
}

/// One port that tells everything, one of a driver that tells nothing, and two members of a bond.
fn table() -> Table {
    let mut table = Table::default();
    let member = |index, name| FollowedLink {
        physical: false,
        bond: Some("bond0".into()),
        ..link(index, name)
    };
    table.set_links(vec![
        link(2, "eth0"),
        FollowedLink {
            driver: "virtio_net".into(),
            ..link(3, "eth1")
        },
        member(4, "veth0"),
        member(5, "veth1"),
        FollowedLink {
            physical: false,
            is_bond: true,
            ..link(7, "bond0")
        },
    ]);
    table.update(IfIndex(2), |port| {
        port.take_state(Some(down(0, Some(1))), 0);
        let modes = LinkModes {
            speed: Some(25_000),
            duplex: Some(Duplex::Full),
            lanes: Some(1),
            max_speed: Some(100_000),
        };
        port.take_modes(Some(modes), 0);
        port.facts = Some(Facts {
            driver: DriverInfo {
                version: "6.12.95".into(),
                firmware: "22.31.1014 (MT_0000000436)".into(),
            },
            connector: Some(Connector(3)),
        });
        port.failures = 1;
        port.count(&readings(), read_at(1000));
    });
    table.update(IfIndex(3), |port| {
        let nothing = Readings {
            groups: Some(Groups::default()),
            qstats: Some(QStats::default()),
            stats64: Some(Stats64::default()),
            ..Readings::default()
        };
        port.count(&nothing, read_at(1001));
    });
    table.update(IfIndex(7), |port| {
        port.bonding = Bonding::Bond(Bond::new(4, 100, 0, &[0x02, 0, 0, 0, 0, 0x2a]));
    });
    for (index, lacp) in [(4, 0x3d), (5, 0x45)] {
        table.update(IfIndex(index), |port| {
            port.bonding = Bonding::Member(BondMember::new(0, 0, Some(lacp)));
        });
    }
    table
}

#[test]
fn ports_are_served_as_in_the_golden_page() {
    let mut families = Vec::new();
    families::append(&table().by_name(), &mut families);
    assert_golden("ports", families);
}

fn port(table: &Table) -> &Port {
    table.get(IfIndex(2)).expect("it is there")
}

fn fcs(table: &Table) -> Option<u64> {
    let mut counters = port(table).counters();
    counters.find_map(|(counter, count)| (counter == Counter::Error("fcs")).then_some(count))
}

#[test]
fn a_renamed_port_goes_on_and_one_that_has_gone_begins_anew() {
    let mut table = table();
    let before = table.version();
    table.set_links(vec![link(2, "eth9")]);
    assert!(table.version() > before);
    assert_eq!(
        (port(&table).link.name == *"eth9", fcs(&table)),
        (true, Some(12))
    );
    let before = table.version();
    table.set_links(vec![link(2, "eth9")]);
    assert_eq!(table.version(), before, "nothing else would be served");
    table.set_links(Vec::new());
    table.set_links(vec![link(2, "eth0")]);
    assert_eq!(fcs(&table), None);
}

#[test]
fn what_cannot_be_read_is_absent_until_it_can_and_then_goes_on() {
    let mut table = table();
    table.update(IfIndex(2), Port::forget);
    let told = (fcs(&table), port(&table).down_reason());
    assert_eq!(told, (None, Answer::Unknown), "nobody waits for it");
    // The driver began anew meanwhile.
    let mut anew = readings();
    for (fcs_now, served) in [(1, 12), (2, 14), (5, 17)] {
        anew.groups = Some(Groups {
            fcs: Some(fcs_now),
            ..Groups::default()
        });
        table.update(IfIndex(2), |port| port.count(&anew, read_at(2000)));
        assert_eq!(fcs(&table), Some(served));
    }
}

#[test]
fn a_driver_that_stops_to_tell_while_it_resets_counts_nothing_twice() {
    let mut table = table();
    let read = |groups| Readings {
        groups: Some(groups),
        ..readings()
    };
    let told = |fcs| Groups {
        fcs: Some(fcs),
        ..Groups::default()
    };
    // Not the old counters, which are others.
    let silent = Groups::default();
    for (groups, served) in [
        (silent, None),
        (silent, None),
        (told(12), Some(12)),
        (told(13), Some(13)),
    ] {
        let readings = read(groups);
        table.update(IfIndex(2), |port| port.count(&readings, read_at(2000)));
        assert_eq!(fcs(&table), served);
    }
}

#[test]
fn a_driver_that_tells_more_when_it_is_set_up_goes_on_from_the_old_counters() {
    let mut table = Table::default();
    table.set_links(vec![link(2, "eth0")]);
    let read = |crc, groups| Readings {
        stats64: Some(Stats64 {
            rx_crc: crc,
            ..Stats64::default()
        }),
        groups: Some(groups),
        ..Readings::default()
    };
    let told = |fcs| Groups {
        fcs: Some(fcs),
        ..Groups::default()
    };
    for (readings, served) in [
        (read(9, Groups::default()), 9),
        (read(9, told(2)), 9),
        (read(9, told(3)), 10),
    ] {
        table.update(IfIndex(2), |port| port.count(&readings, read_at(2000)));
        assert_eq!(fcs(&table), Some(served));
    }
}

#[test]
fn a_changed_carrier_takes_reason_and_speed_with_it_until_the_driver_is_asked_again() {
    let mut table = table();
    let told = |table: &Table| (port(table).down_reason(), port(table).speed());
    let state = down(0, Some(1));
    let reason = state.down_reason.map_or(Answer::Unknown, Answer::Known);
    assert_eq!(told(&table), (reason, Answer::Known(25_000)));
    let changes = port(&table).carrier_changes();
    assert!(table.update(IfIndex(2), Port::carrier_changed));
    assert_eq!(told(&table), (Answer::Awaited, Answer::Awaited));
    let modes = port(&table).modes.expect("it was read");
    assert_eq!((modes.speed, modes.max_speed), (None, Some(100_000)));

    // Answers to what was asked before.
    let answered = table.update(IfIndex(2), |port| {
        port.take_state(Some(state), changes);
        port.take_modes(Some(modes), changes);
    });
    assert_eq!(
        (answered, told(&table)),
        (false, (Answer::Awaited, Answer::Awaited))
    );
    let changes = port(&table).carrier_changes();
    let answer = |port: &mut Port| port.take_state(None, changes);
    assert!(table.update(IfIndex(2), answer), "news, though it is none");
    assert_eq!(port(&table).down_reason(), Answer::Unknown);
    assert!(!table.update(IfIndex(2), answer));
}

#[test]
fn another_device_with_the_index_and_the_name_of_one_that_has_gone_begins_anew() {
    let mut table = table();
    let successor = FollowedLink {
        serial: 77,
        ..link(2, "eth0")
    };
    assert_eq!(table.set_links(vec![successor]), [IfIndex(2)]);
    assert_eq!((fcs(&table), port(&table).failures), (None, 0));
    assert_eq!(port(&table).down_reason(), Answer::Awaited);
}

#[test]
fn a_link_that_turns_out_to_have_a_bus_device_is_a_port() {
    let mut table = Table::default();
    let virtual_ = FollowedLink {
        physical: false,
        ..link(2, "eth0")
    };
    table.set_links(vec![virtual_]);
    table.update(IfIndex(2), |port| port.is_port = Some(false));
    table.set_links(vec![link(2, "eth0")]);
    assert_eq!(port(&table).is_port, Some(true));
}

#[test]
fn a_bond_says_how_it_works() {
    let bond = |mode, miimon, arp, partner: &[u8]| {
        let bond = Bond::new(mode, miimon, arp, partner);
        (bond.mode(), bond.monitor(), bond.partner())
    };
    let none = String::new;
    assert_eq!(
        bond(4, 100, 0, &[2, 0, 0, 0, 0, 1]),
        ("802.3ad", "mii", "02:00:00:00:00:01".into())
    );
    assert_eq!(bond(4, 100, 0, &[0; 6]), ("802.3ad", "mii", none()));
    assert_eq!(bond(1, 0, 1000, &[]), ("active-backup", "arp", none()));
    assert_eq!(bond(9, 0, 0, &[]), ("", "none", none()));
}

#[test]
fn a_member_of_a_bond_is_in_one_state() {
    let states = [
        ((0, 0, None), "active"),
        ((1, 0, None), "backup"),
        ((1, 2, None), "down"),
        ((0, 1, Some(0x3f)), "failing"),
        ((0, 3, Some(0x3f)), "recovering"),
        ((0, 0, Some(0x3f)), "distributing"),
        ((0, 0, Some(0x1f)), "collecting"),
        ((0, 0, Some(0x0f)), "synchronized"),
        ((0, 0, Some(0x07)), "negotiating"),
        ((0, 0, Some(0xff)), "no_partner"),
        ((0, 0, Some(0xbf)), "partner_expired"),
        // What a later kernel says of its link.
        ((0, 9, Some(0x3f)), "down"),
    ];
    for ((role, link, lacp), expected) in states {
        let member = BondMember::new(role, link, lacp);
        assert_eq!(member.state(), expected, "{member:?}");
        assert!(member.states().contains(&expected));
    }
}
