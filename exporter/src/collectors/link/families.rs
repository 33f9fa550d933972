//! The table as metric families.

use std::{
    borrow::Cow,
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus::proto::{Metric, MetricFamily};

use super::{
    losses::Loss,
    message::{Admin, Carrier},
    sysfs::{bus_address, is_physical},
    table::{Removed, Row},
    transitions::Transition,
};
use crate::{
    kernel::name::Name,
    metrics::{counter, gauge, sample},
};

/// Appends what all links are now.
pub(super) fn append_states(rows: &[Row], families: &mut Vec<MetricFamily>) {
    families.extend([
        info(rows),
        admin_up(rows),
        carrier(rows),
        carrier_lost(rows),
        redundant(rows),
        operstate(rows),
    ]);
}

/// Appends what has happened to all links so far, and to those that were removed lately.
pub(super) fn append_counts(rows: &[Row], removed: &[Removed], families: &mut Vec<MetricFamily>) {
    families.extend([
        carrier_ups(rows),
        carrier_downs(rows),
        carrier_losses(rows),
        transitions(rows, removed),
        last_transition(rows, removed),
    ]);
}

/// Appends how often something was lost, and the table was rebuilt.
pub(super) fn append_losses(
    times: impl Fn(Loss) -> u64,
    resyncs: u64,
    families: &mut Vec<MetricFamily>,
) {
    families.extend([
        counter(
            "netdrop_netlink_overruns_total",
            "Times the kernel had more link notifications than the socket could take (ENOBUFS); the links were listed again.",
            [sample(&[], times(Loss::Overrun) as f64)],
        ),
        counter(
            "netdrop_netlink_errors_total",
            "Times the links had to be listed again for a cause other than an overrun.",
            Loss::ERRORS.map(|loss| sample(&[("cause", loss.label())], times(loss) as f64)),
        ),
        counter(
            "netdrop_netlink_resyncs_total",
            "Times the table of links was rebuilt after it was first complete.",
            [sample(&[], resyncs as f64)],
        ),
    ]);
}

fn info(rows: &[Row]) -> MetricFamily {
    gauge(
        "netdrop_link_info",
        "What a link is and what it sits on; always 1.",
        rows.iter().map(|row| {
            let facts = row.facts.as_ref();
            let physical = is_physical(&row.link, facts);
            let kind = match row.link.kind.label() {
                kind if kind.is_empty() => facts.map_or("", |facts| facts.role.kind()).into(),
                kind => kind,
            };
            let driver = facts.map(|facts| &facts.driver);
            let labels = [
                ("bond", &*label(row.bond.as_ref())),
                ("bus_address", &*label(bus_address(&row.link, facts))),
                ("device", &*row.link.name.label()),
                ("driver", &*label(driver)),
                ("kind", &*kind),
                ("lower", &*label(row.lower.as_ref())),
                ("master", &*label(row.master.as_ref())),
                ("physical", if physical { "true" } else { "false" }),
                ("port", &*label(row.port.as_ref())),
                ("watch", row.watch.label()),
            ];
            sample(&labels, 1.0)
        }),
    )
}

fn admin_up(rows: &[Row]) -> MetricFamily {
    gauge(
        "netdrop_link_admin_up",
        "Whether the link is administratively up (IFF_UP).",
        per_device(rows, |row| flag(row.link.admin == Admin::Up)),
    )
}

fn carrier(rows: &[Row]) -> MetricFamily {
    gauge(
        "netdrop_link_carrier",
        "Whether the link has carrier.",
        per_device(rows, |row| flag(row.link.carrier == Carrier::On)),
    )
}

fn carrier_lost(rows: &[Row]) -> MetricFamily {
    gauge(
        "netdrop_link_carrier_lost",
        "Whether the link is administratively up and has no carrier, but had one since it appeared.",
        per_device(rows, |row| flag(row.carrier_lost)),
    )
}

fn redundant(rows: &[Row]) -> MetricFamily {
    gauge(
        "netdrop_link_redundant",
        "Whether another member of the same bond, team or Open vSwitch datapath has carrier; for links with watch other than none.",
        rows.iter().filter_map(|row| {
            let device = row.link.name.label();
            Some(sample(&[("device", &*device)], flag(row.redundant?)))
        }),
    )
}

fn carrier_losses(rows: &[Row]) -> MetricFamily {
    counter(
        "netdrop_link_carrier_losses_total",
        "Times the link lost carrier while it was administratively up. What it loses while it settles (--collector.link.settle) counts once, and only if carrier is still missing at the end.",
        per_device(rows, |row| row.carrier_losses as f64),
    )
}

fn operstate(rows: &[Row]) -> MetricFamily {
    gauge(
        "netdrop_link_operstate",
        "The link's operational state (RFC 2863); 1 for the current one.",
        rows.iter().map(|row| {
            let labels = [
                ("device", &*row.link.name.label()),
                ("operstate", row.link.operstate.name()),
            ];
            sample(&labels, 1.0)
        }),
    )
}

fn carrier_ups(rows: &[Row]) -> MetricFamily {
    counter(
        "netdrop_link_carrier_up_changes_total",
        "Times the link gained carrier, as the kernel counts.",
        per_device(rows, |row| f64::from(row.link.carrier_ups)),
    )
}

fn carrier_downs(rows: &[Row]) -> MetricFamily {
    counter(
        "netdrop_link_carrier_down_changes_total",
        "Times the link lost carrier, for any cause, as the kernel counts.",
        per_device(rows, |row| f64::from(row.link.carrier_downs)),
    )
}

fn transitions(rows: &[Row], removed: &[Removed]) -> MetricFamily {
    let of_rows = rows.iter().flat_map(|row| {
        let transitions = row.transitions.iter().filter(|&(t, _)| row.has(t));
        transitions.map(|(transition, times)| of(&row.link.name, transition, times as f64))
    });
    let gone = removed.iter();
    let gone = gone.map(|gone| of(&gone.name, Transition::Removed, gone.times as f64));
    counter(
        "netdrop_link_transitions_total",
        "Changes of the link since the exporter first saw it; carrier_down is a loss while the link was administratively up.",
        of_rows.chain(gone),
    )
}

fn last_transition(rows: &[Row], removed: &[Removed]) -> MetricFamily {
    let of_rows = rows.iter().flat_map(|row| {
        let last = row.last.iter();
        last.filter_map(|(transition, at)| Some(of(&row.link.name, transition, seconds(at?))))
    });
    let gone = removed.iter();
    let gone = gone.map(|gone| of(&gone.name, Transition::Removed, seconds(gone.last)));
    gauge(
        "netdrop_link_last_transition_timestamp_seconds",
        "Unix time of the last transition of this kind; absent if there was none.",
        of_rows.chain(gone),
    )
}

fn of(device: &Name, transition: Transition, value: f64) -> Metric {
    let labels = [
        ("device", &*device.label()),
        ("transition", transition.label()),
    ];
    sample(&labels, value)
}

fn per_device(rows: &[Row], value: impl Fn(&Row) -> f64) -> impl Iterator<Item = Metric> {
    rows.iter()
        .map(move |row| sample(&[("device", &*row.link.name.label())], value(row)))
}

/// Empty without a name.
fn label(name: Option<&Name>) -> Cow<'_, str> {
    name.map(Name::label).unwrap_or_default()
}

fn flag(is_set: bool) -> f64 {
    f64::from(u8::from(is_set))
}

fn seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        collectors::link::{
            message::{Link, OperState},
            sysfs::{Facts, Role},
            testing::link,
            transitions::PerTransition,
            watch::Watch,
        },
        metrics::testing::assert_golden,
    };

    fn row(link: Link) -> Row {
        Row {
            link,
            facts: None,
            lower: None,
            master: None,
            port: None,
            bond: None,
            watch: Watch::None,
            redundant: None,
            carrier_lost: false,
            carrier_losses: 0,
            transitions: PerTransition::default(),
            last: PerTransition::default(),
        }
    }

    #[test]
    fn links_are_served_as_in_the_golden_page() {
        let mut port = row(Link {
            carrier: Carrier::Off,
            operstate: OperState(2),
            carrier_downs: 2,
            ..link(2, "eth0")
        });
        port.facts = Some(Facts {
            driver: "mlx5_core".into(),
            bus_address: "0000:3b:00.0".into(),
            physical: true,
            role: Role::Port,
        });
        port.master = Some("bond0".into());
        port.port = port.master.clone();
        port.bond = port.master.clone();
        port.watch = Watch::Ticket;
        port.redundant = Some(true);
        port.carrier_lost = true;
        port.carrier_losses = 1;
        *port.transitions.get_mut(Transition::CarrierDown) = 1;
        *port.last.get_mut(Transition::CarrierDown) =
            Some(UNIX_EPOCH + Duration::from_millis(1_700_000_000_500));
        let mut container = row(Link {
            admin: Admin::Down,
            carrier: Carrier::Off,
            operstate: OperState(200),
            kind: "veth".into(),
            ..link(3, "a\"b\\c")
        });
        container.lower = Some("eth0".into());

        let mut families = Vec::new();
        let rows = [port, container];
        append_states(&rows, &mut families);
        let removed = Removed {
            name: "eth1".into(),
            times: 2,
            last: UNIX_EPOCH + Duration::from_secs(1_700_000_100),
        };
        append_counts(&rows, &[removed], &mut families);
        append_losses(|loss| 1 + loss as u64, 7, &mut families);
        assert_golden("links", families);
    }
}
