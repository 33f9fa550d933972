use super::*;
use crate::metrics::{counter, gauge, sample};

type Labels<'a> = &'a [(&'a str, &'a str)];

/// One family, with samples as (labels, value).
fn family(name: &str, samples: &[(Labels<'_>, f64)]) -> MetricFamily {
    let samples = samples.iter().map(|(labels, value)| sample(labels, *value));
    if name.ends_with("_total") {
        counter(name, "", samples)
    } else {
        gauge(name, "", samples)
    }
}

fn drop_labels<'a>(reason: &'a str, state: &'a str, device: &'a str) -> [(&'a str, &'a str); 5] {
    [
        ("device", device),
        ("function", "f"),
        ("netns", "host"),
        ("reason", reason),
        ("state", state),
    ]
}

fn between(before: &[MetricFamily], after: &[MetricFamily]) -> Report {
    Report::between(before, after, Duration::from_secs(10))
}

#[test]
fn drops_are_what_grew_and_the_most_come_first() {
    let [old, few, many] = [
        drop_labels("TCP_CSUM", "", "eth0"),
        drop_labels("NO_SOCKET", "", "eth0"),
        drop_labels("NETFILTER_DROP", "", "eth1"),
    ];
    let before = [family(DROPPED, &[(&old, 7.0), (&few, 10.0)])];
    let after = [family(DROPPED, &[(&old, 7.0), (&few, 12.0), (&many, 30.0)])];
    let drops = between(&before, &after).drops;
    let seen: Vec<_> = drops
        .iter()
        .map(|d| (&*d.reason, d.category, d.packets, d.rate))
        .collect();
    assert_eq!(
        seen,
        [
            ("NETFILTER_DROP", "policy", 30, 3.0),
            ("NO_SOCKET", "unreachable", 2, 0.2)
        ]
    );
    assert!(drops.iter().all(|drop| !drop.meaning.is_empty()));
}

#[test]
fn the_link_is_blamed_only_for_what_died_of_it_alone() {
    let [syn, data, other] = [
        drop_labels("QDISC_DROP", "SYN_SENT", "eth0"),
        drop_labels("QDISC_DROP", "ESTABLISHED", "eth0"),
        drop_labels("QDISC_DROP", "SYN_SENT", "eth1"),
    ];
    let link = |state| [("device", "eth0"), ("link", "no_carrier"), ("state", state)];
    let after = [
        family(DROPPED, &[(&syn, 3.0), (&data, 5.0), (&other, 1.0)]),
        // Two of the five died before the link did.
        family(
            LINK_DOWN,
            &[(&link("SYN_SENT"), 3.0), (&link("ESTABLISHED"), 3.0)],
        ),
    ];
    let drops = between(&[], &after).drops;
    let categories: Vec<_> = drops
        .iter()
        .map(|d| (&*d.state, &*d.device, d.category))
        .collect();
    assert_eq!(
        categories,
        [
            ("ESTABLISHED", "eth0", "congestion"),
            ("SYN_SENT", "eth0", "link"),
            ("SYN_SENT", "eth1", "congestion"),
        ]
    );
}

#[test]
fn links_without_carrier_come_first_and_healthy_ones_not_at_all() {
    let info = |device, driver| [("device", device), ("driver", driver), ("kind", "")];
    let of = |device: &'static str| [("device", device)];
    let names = ["eth0", "eth1", "eth2", "veth0"];
    let drivers = ["mlx5_core", "mlx5_core", "mlx5_core", ""];
    let infos: Vec<_> = names
        .iter()
        .zip(drivers)
        .map(|(n, d)| info(*n, d))
        .collect();
    let infos: Vec<(Labels<'_>, f64)> = infos.iter().map(|i| (&i[..], 1.0)).collect();
    let devices = names.map(of);
    let flags = |values: [f64; 4]| -> Vec<(Labels<'_>, f64)> {
        devices.iter().map(|d| &d[..]).zip(values).collect()
    };
    let lost = [("device", "eth1"), ("transition", "carrier_down")];
    let reason = [
        ("detail", "no_partner_detected"),
        ("device", "eth2"),
        ("reason", "autoneg"),
    ];
    let after = [
        family("netdrop_link_info", &infos),
        family("netdrop_link_admin_up", &flags([1.0; 4])),
        family("netdrop_link_carrier", &flags([1.0, 1.0, 0.0, 0.0])),
        family(TRANSITIONS, &[(&lost, 2.0)]),
        family("netdrop_link_down_reason_info", &[(&reason, 1.0)]),
    ];
    let links = between(&[], &after).links;
    let seen: Vec<_> = links
        .iter()
        .map(|l| (&*l.device, l.state, l.carrier_losses, &*l.reason))
        .collect();
    assert_eq!(
        seen,
        [
            (
                "eth2",
                LinkState::NoCarrier,
                0,
                "autoneg, no partner detected"
            ),
            ("veth0", LinkState::NoCarrier, 0, ""),
            ("eth1", LinkState::Up, 2, ""),
        ]
    );
}

#[test]
fn the_json_has_stable_names() {
    let labels = drop_labels("NO_SOCKET", "", "eth0");
    let after = [
        family(DROPPED, &[(&labels, 2.0)]),
        family(BY_CATEGORY, &[(&[("category", "unreachable")], 2.0)]),
        family(
            "netdrop_collector_success",
            &[(&[("collector", "link")], 0.0)],
        ),
    ];
    let json = serde_json::to_value(between(&[], &after)).expect("a report");
    assert_eq!(
        json,
        serde_json::json!({
            "seconds": 10.0,
            "links": [],
            "drops": [{
                "reason": "NO_SOCKET",
                "category": "unreachable",
                "meaning": meaning("NO_SOCKET"),
                "function": "f",
                "state": "",
                "device": "eth0",
                "netns": "host",
                "packets": 2,
                "rate": 0.2,
            }],
            "categories": {"unreachable": 2},
            "unattributed": 0,
            "failed_collectors": ["link"],
        })
    );
}
