//! The ports as metric families. Pure.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus::proto::{Metric, MetricFamily};

use super::{counters::Counter, table::Port};
use crate::{
    kernel::netlink::{
        bond::Bonding,
        ethtool::link_modes::{Duplex, LinkModes},
    },
    metrics::{counter, gauge, sample},
};

/// Appends the families of all ports.
pub(super) fn append(ports: &[&Port], families: &mut Vec<MetricFamily>) {
    let is_port = |port: &&Port| port.is_port == Some(true);
    let read: Vec<_> = ports.iter().copied().filter(is_port).collect();
    families.extend([
        info(&read),
        last_read(&read),
        failures(&read),
        down_reason(&read),
    ]);
    families.extend(link_gauges(&read));
    families.extend(counters(&read));
    families.extend([bonds(ports), members(ports), member_counts(ports)]);
}

fn info(ports: &[&Port]) -> MetricFamily {
    gauge(
        "netdrop_port_info",
        "The port's type (tp, fibre, da, ...) and the driver's and firmware's version; always 1.",
        ports.iter().filter_map(|port| {
            let facts = port.facts.as_ref()?;
            let labels = [
                ("device", &*port.link.name.label()),
                ("driver_version", &*facts.driver.version.label()),
                ("firmware_version", &*facts.driver.firmware.label()),
                (
                    "port",
                    facts.connector.map_or("", |connector| connector.name()),
                ),
            ];
            Some(sample(&labels, 1.0))
        }),
    )
}

fn last_read(ports: &[&Port]) -> MetricFamily {
    gauge(
        "netdrop_port_last_read_timestamp_seconds",
        "Unix time at which the port was last read completely; its counters are from then.",
        ports
            .iter()
            .filter_map(|port| Some(of_device(port, seconds(port.read_at?)))),
    )
}

fn failures(ports: &[&Port]) -> MetricFamily {
    counter(
        "netdrop_port_read_failures_total",
        "Reads that the driver answered with an error; what they would have told is absent meanwhile.",
        ports
            .iter()
            .map(|port| of_device(port, port.failures as f64)),
    )
}

fn down_reason(ports: &[&Port]) -> MetricFamily {
    gauge(
        "netdrop_link_down_reason_info",
        "Why the link is down, according to its driver; 1 while it is down, absent if the driver does not say.",
        ports.iter().filter_map(|port| {
            let reason = port.down_reason().known()?;
            let labels = [
                ("detail", &*reason.detail()),
                ("device", &*port.link.name.label()),
                ("reason", &*reason.reason()),
            ];
            Some(sample(&labels, 1.0))
        }),
    )
}

fn link_gauges(ports: &[&Port]) -> [MetricFamily; 5] {
    let of_modes = |name: &str, help: &str, value: fn(&LinkModes) -> Option<f64>| {
        let samples = ports.iter().filter_map(|port| {
            let value = value(port.modes.as_ref()?)?;
            Some(of_device(port, value))
        });
        gauge(name, help, samples)
    };
    [
        of_modes(
            "netdrop_link_speed_bits_per_second",
            "Speed the link runs at.",
            |modes| modes.speed.map(bits_per_second),
        ),
        of_modes(
            "netdrop_link_max_speed_bits_per_second",
            "Speed of the fastest mode both ends advertise, or this end if its partner advertises nothing.",
            |modes| modes.max_speed.map(bits_per_second),
        ),
        of_modes(
            "netdrop_link_full_duplex",
            "Whether the link runs in full duplex.",
            |modes| {
                modes
                    .duplex
                    .map(|duplex| f64::from(u8::from(duplex == Duplex::Full)))
            },
        ),
        of_modes("netdrop_link_lanes", "Lanes the link runs over.", |modes| {
            modes.lanes.map(f64::from)
        }),
        gauge(
            "netdrop_link_sqi",
            "Signal quality index of automotive and industrial Ethernet, from 0 (worst) to usually 7.",
            ports.iter().filter_map(|port| {
                let sqi = port.state?.sqi?;
                Some(of_device(port, f64::from(sqi.value)))
            }),
        ),
    ]
}

/// The families of counters. Each takes those it knows: the labels that a series has beside its device.
fn counters(ports: &[&Port]) -> [MetricFamily; 7] {
    type Labels = Vec<(&'static str, Cow<'static, str>)>;
    let of = |name: &str, help: &str, labels: fn(Counter) -> Option<Labels>| {
        let samples = ports.iter().flat_map(|port| {
            port.counters().filter_map(move |(counter, count)| {
                let own = labels(counter)?;
                let device = port.link.name.label();
                let mut all = vec![("device", &*device)];
                all.extend(own.iter().map(|(name, value)| (*name, &**value)));
                Some(sample(&all, count as f64))
            })
        });
        counter(name, help, samples)
    };
    [
        of(
            "netdrop_link_down_events_total",
            "Times the link went down, by the card's own count.",
            |counter| (counter == Counter::DownEvents).then(Vec::new),
        ),
        of(
            "netdrop_link_fec_corrected_blocks_total",
            "Received blocks that forward error correction repaired.",
            |counter| (counter == Counter::FecCorrected).then(Vec::new),
        ),
        of(
            "netdrop_link_fec_uncorrectable_blocks_total",
            "Received blocks that forward error correction could not repair.",
            |counter| (counter == Counter::FecUncorrectable).then(Vec::new),
        ),
        of(
            "netdrop_link_errors_total",
            "Frames with an error. One frame can count under several errors, so do not add them up.",
            |counter| match counter {
                Counter::Error(error) => Some(vec![("error", error.into())]),
                _ => None,
            },
        ),
        of(
            "netdrop_link_pause_frames_total",
            "Pause frames; received ones made this end wait.",
            |counter| match counter {
                Counter::Pause(direction) => Some(vec![("direction", direction.label().into())]),
                _ => None,
            },
        ),
        of(
            "netdrop_port_lost_packets_total",
            "Packets the card or its driver lost. None of them is in netdrop_dropped_packets_total, except that cause=\"driver\" can overlap with it.",
            |counter| match counter {
                Counter::Lost(direction, cause) => Some(vec![
                    ("cause", cause.into()),
                    ("direction", direction.label().into()),
                ]),
                _ => None,
            },
        ),
        of(
            "netdrop_link_tx_timeouts_total",
            "Times a transmit queue hung; only for queues that ever did.",
            |counter| match counter {
                Counter::TxTimeouts(queue) => Some(vec![("queue", queue.to_string().into())]),
                _ => None,
            },
        ),
    ]
}

fn bonds(ports: &[&Port]) -> MetricFamily {
    gauge(
        "netdrop_bond_info",
        "A bond's mode, how it monitors its members (\"none\": it never notices a lost link), and its LACP partner; always 1.",
        ports.iter().filter_map(|port| {
            let Bonding::Bond(bond) = &port.bonding else {
                return None;
            };
            let labels = [
                ("bond", &*port.link.name.label()),
                ("mode", bond.mode()),
                ("monitor", bond.monitor()),
                ("partner", &*bond.partner()),
            ];
            Some(sample(&labels, 1.0))
        }),
    )
}

fn members(ports: &[&Port]) -> MetricFamily {
    gauge(
        "netdrop_bond_member_info",
        "The state of a bond's member, as the bond sees it; always 1.",
        ports.iter().filter_map(|port| {
            let (bond, member) = port.membership()?;
            let labels = [
                ("bond", &*bond.label()),
                ("device", &*port.link.name.label()),
                ("state", member.state()),
            ];
            Some(sample(&labels, 1.0))
        }),
    )
}

fn member_counts(ports: &[&Port]) -> MetricFamily {
    let mut counts: BTreeMap<(Cow<'_, str>, &str), u32> = BTreeMap::new();
    for (bond, member) in ports.iter().filter_map(|port| port.membership()) {
        for &state in member.states() {
            let is_it = state == member.state();
            *counts.entry((bond.label(), state)).or_default() += u32::from(is_it);
        }
    }
    gauge(
        "netdrop_bond_members",
        "Members of the bond in each state.",
        counts.into_iter().map(|((bond, state), count)| {
            sample(&[("bond", &*bond), ("state", state)], f64::from(count))
        }),
    )
}

fn of_device(port: &Port, value: f64) -> Metric {
    sample(&[("device", &*port.link.name.label())], value)
}

fn bits_per_second(mbit: u32) -> f64 {
    f64::from(mbit) * 1e6
}

fn seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
