//! What the dashboards show of the outage, beside what the exporter serves.

use std::collections::BTreeSet;

use netdrop_tests::Metrics;
use netdrop_tests::dashboards::{Answer, View, values};

use crate::outage::{HEALTHY, LINK};
use crate::{INSTANCE, thousand};

const LINK_DOWN: &str = "netdrop_link_down_dropped_packets_total";

pub(crate) fn the_categories_hide_what_is_expected(view: &View, metrics: &Metrics) {
    let served: BTreeSet<_> = metrics
        .series("netdrop_category_dropped_packets_total", &[])
        .map(|sample| sample.labels["category"].clone())
        .collect();
    let options: BTreeSet<_> = view.options["category"].iter().cloned().collect();
    assert_eq!(options, served);
    let mut shown: BTreeSet<_> = view.chosen["category"].iter().cloned().collect();
    assert!(shown.insert("expected".to_owned()), "expected is shown");
    assert_eq!(shown, served);
}

pub(crate) fn the_host_names_the_link_and_what_it_cost(view: &View, metrics: &Metrics) {
    let timeline = view.panel("State of the links over time");
    let states = |device: &str| -> BTreeSet<u8> {
        let line = timeline.only(&[("device", device)]);
        values(line.unwrap())
            .iter()
            .map(|&state| state as u8)
            .collect()
    };
    let (no_carrier, up, set_down) = (0, 1, 2);
    assert_eq!(states(LINK), BTreeSet::from([no_carrier, up]));
    assert_eq!(states(HEALTHY), BTreeSet::from([up, set_down]));

    let table = "Which link went down, when, and what it cost";
    let link = [("device", LINK)];
    let times = |query, device| {
        let value = view.query(table, query).value(&[("device", device)]);
        value.map(f64::round)
    };
    let (lost, set_down) = ("A", "D");
    assert_eq!(times(lost, LINK), Some(1.0));
    assert_eq!(times(set_down, LINK), Some(0.0));
    assert_eq!(times(lost, HEALTHY), Some(0.0));
    assert_eq!(times(set_down, HEALTHY), Some(1.0));
    let lost = metrics.value(
        "netdrop_link_last_transition_timestamp_seconds",
        &[("device", LINK), ("transition", "carrier_down")],
    );
    let shown = view.query(table, "B").value(&link).unwrap() / 1000.0;
    assert!(
        (shown - lost.unwrap()).abs() < 0.001,
        "{shown}, not {lost:?}"
    );

    let losses = view.panel("Carrier losses and admin downs");
    assert_eq!(
        sum(losses, &[("device", LINK), ("transition", "carrier_down")]),
        Some(1.0)
    );
    assert_eq!(
        sum(losses, &[("device", HEALTHY), ("transition", "admin_down")]),
        Some(1.0)
    );

    let cost = metrics.sum(LINK_DOWN, &[("device", LINK)]);
    assert_eq!(view.query(table, "C").value(&link), Some(cost));
    for state in ["SYN_SENT", "ESTABLISHED", "FIN_WAIT1"] {
        let labels = [("device", LINK), ("link", "no_carrier"), ("state", state)];
        let dropped = metrics.value(LINK_DOWN, &labels);
        assert!(dropped > Some(0.0), "nothing dropped in {state}");
        let shown = view.panel("What the dropped packets belonged to");
        assert_eq!(shown.value(&labels), dropped, "{state}");
        assert_eq!(
            sum(
                view.panel("Packets dropped while their link was down"),
                &labels
            ),
            dropped,
            "{state}"
        );
    }
}

/// The sum over the bars with these labels in a graph that counts each event once.
fn sum(graph: &Answer, labels: &[(&str, &str)]) -> Option<f64> {
    let line = graph.only(labels)?;
    Some(values(line).iter().sum())
}

pub(crate) fn the_fleet_names_the_link(view: &View) {
    let table = "Links that lost carrier in this time range";
    let link = [("instance", INSTANCE), ("device", LINK)];
    assert_eq!(view.query(table, "A").value(&link), Some(1.0));
    assert_eq!(view.query(table, "B").value(&link), Some(0.0), "it is back");
    // It was all the outage's, and nothing is down any more.
    assert_eq!(view.panel("Hosts that lost carrier").value(&[]), Some(1.0));
    assert_eq!(
        view.panel("Links without carrier now").value(&[]),
        Some(0.0)
    );
}

pub(crate) fn the_fleet_shows_hardware_among_containers(view: &View) {
    let shown = labels(view.panel("Carrier losses by host"), "instance");
    assert_eq!(shown, thousand::worst(10));
    // Some of their names are those of hosts in another cluster, too, and no query fails of that.
    assert_eq!(view.options["cluster"], ["eu", "us"]);
}

pub(crate) fn the_host_shows_hardware_among_containers(view: &View) {
    assert_eq!(view.chosen["instance"], [thousand::instance(0)]);
    for title in [
        "Which link went down, when, and what it cost",
        "State of the links over time",
        "Carrier losses and admin downs",
    ] {
        let shown = labels(view.panel(title), "device");
        for link in thousand::HARDWARE {
            assert!(shown.contains(link), "{title}: no {link} in {shown:?}");
        }
    }
}

/// The values of a label.
fn labels(answer: &Answer, name: &str) -> BTreeSet<String> {
    answer
        .series
        .iter()
        .filter_map(|series| series["metric"][name].as_str())
        .map(str::to_owned)
        .collect()
}
