//! The dashboards on live data: every query runs, and what they show of an outage leads to the link.
//!
//! What they show is left in `target/dashboards` for `tests/dashboards/`, which draws it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed step of a test ends the test, with the step's name"
)]

mod outage;
mod shown;
mod thousand;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use netdrop_tests::dashboards::{self, View, Viewer};
use netdrop_tests::prometheus::{self, Prometheus, Setup, Target};
use netdrop_tests::room::Sysctl;
use netdrop_tests::wait::SOON;
use netdrop_tests::{Exporter, Room, wait_until};

use outage::Outage;

const INSTANCE: &str = "web-17.example:10095";
/// Seconds; so long that a busy machine manages.
const SCRAPE_INTERVAL: u32 = 2;

/// Panels that may be empty when the outage is over, on a host without cards and without node_exporter.
const EMPTY: [&str; 10] = [
    "Alerts that fire",
    "Bad frames and bit errors",
    "Blocks that forward error correction repaired",
    "Connection tracking",
    "Packets that the card or its driver lost",
    "Ports that lose packets or damage them",
    "Traffic",
    "What the ports say",
    "Where collectors failed",
    // Of several queries, some of which name what is down now.
    "Links that are down now",
];

/// The rules that make what Fleet shows.
const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../alerts/netdrop.rules.yml");

#[test]
#[ignore = "needs root: run by tests/run.sh dashboards"]
fn dashboards_lead_from_an_outage_to_the_link() {
    let _room = Room::enter();
    let _stats = Sysctl::set("kernel/bpf_stats_enabled", "1");
    let outage = Outage::prepare();
    // A range that begins before the exporter does.
    let begin = now() - 5.0;
    let launch = Exporter::launch().arguments(&["--collector.link.settle=0s"]);
    let exporter = launch.namespace(outage.host()).start();
    let prometheus = Prometheus::start(&Setup {
        targets: vec![Target {
            job: "netdrop",
            address: exporter.address(),
            instance: Some(INSTANCE),
        }],
        namespace: Some(outage.host()),
        scrape_interval: SCRAPE_INTERVAL,
        // The links of this test are virtual.
        ports: Some("eth[01]"),
        rules: vec![RULES.as_ref()],
        ..Setup::default()
    });
    let scrapes = || prometheus.value("count_over_time(up[1h])").unwrap_or(0.0);
    outage.happen(|more| {
        let wanted = scrapes() + f64::from(more);
        let deadline = SOON + Duration::from_secs(u64::from(SCRAPE_INTERVAL * more));
        wait_until("Prometheus has scraped", deadline, || {
            // Not all the time: each question is a connection, whose end the kernel may count as a drop.
            thread::sleep(Duration::from_secs(1));
            scrapes() >= wanted
        });
    });

    // A scrape that takes too long brings nothing, so the range ends with one that did not.
    wait_until("the last scrape was in time", SOON, || {
        prometheus.value("up") == Some(1.0)
    });
    let viewer = Viewer {
        prometheus: &prometheus,
        scrape_interval: SCRAPE_INTERVAL,
        range: (begin, now()),
        choices: Vec::new(),
    };
    let views: BTreeMap<String, View> = dashboards::all()
        .iter()
        .map(|dashboard| viewer.open(dashboard))
        .map(|view| (view.uid.clone(), view))
        .collect();
    let kept = views
        .iter()
        .map(|(uid, view)| (uid.clone(), view.to_json()));
    keep("views", &kept.collect());
    keep("labels", &labels(&prometheus));
    for view in views.values() {
        for answer in &view.answers {
            let may_be_empty = EMPTY.iter().any(|title| answer.title.starts_with(title))
                || answer.query == "annotation";
            assert!(
                may_be_empty || !answer.series.is_empty(),
                "{}: {answer:?}",
                view.uid
            );
        }
    }
    let metrics = exporter.scrape();
    shown::the_categories_hide_what_is_expected(&views["netdrop-host"], &metrics);
    shown::the_host_names_the_link_and_what_it_cost(&views["netdrop-host"], &metrics);
    shown::the_fleet_names_the_link(&views["netdrop-fleet"]);
}

/// No query of a dashboard may give more series than this, however many hosts and links there are: a browser draws
/// some hundred. The README says so.
const MOST_SERIES: usize = 100;

#[test]
#[ignore = "needs Prometheus: run by tests/run.sh dashboards"]
fn dashboards_of_a_thousand_hosts_ask_for_few_series() {
    let directory = tempfile::tempdir().unwrap();
    let end = now() as u64;
    let text = directory.path().join("metrics.txt");
    fs::write(&text, thousand::openmetrics(end)).unwrap();
    let blocks = directory.path().join("blocks");
    prometheus::create_blocks(&text, &blocks);
    let prometheus = Prometheus::start(&Setup {
        data: Some(&blocks),
        ..Setup::default()
    });
    let viewer = Viewer {
        prometheus: &prometheus,
        scrape_interval: thousand::INTERVAL,
        range: ((end - u64::from(thousand::SECONDS)) as f64, end as f64),
        choices: Vec::new(),
    };
    for view in dashboards::all().iter().map(|all| viewer.open(all)) {
        match view.uid.as_str() {
            "netdrop-fleet" => shown::the_fleet_shows_hardware_among_containers(&view),
            "netdrop-host" => shown::the_host_shows_hardware_among_containers(&view),
            _ => {}
        }
    }
    for dashboard in dashboards::all() {
        let view = viewer.open(&dashboard);
        assert_eq!(view.options["instance"].len(), 1000);
        for answer in &view.answers {
            let series = answer.series.len();
            println!("{series:4} {} {} {}", view.uid, answer.title, answer.query);
            assert!(
                series <= MOST_SERIES,
                "{series} series: {}",
                answer.expression
            );
            // Without rules, no alerts. All else is there, or there would be nothing to count.
            let is_alert = answer.title.starts_with("Alerts");
            assert!(series > 0 || is_alert, "{answer:?}");
        }
    }
}

/// The labels of every metric that Prometheus has.
fn labels(prometheus: &Prometheus) -> Value {
    let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let series = prometheus.api("series?match[]=%7Bjob%3D%22netdrop%22%7D");
    for series in series.as_array().unwrap() {
        let names = series.as_object().unwrap().keys().cloned();
        let metric = series["__name__"].as_str().unwrap().to_owned();
        labels.entry(metric).or_default().extend(names);
    }
    serde_json::to_value(labels).unwrap()
}

fn keep(name: &str, what: &Value) {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/dashboards"));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(format!("{name}.json")), what.to_string()).unwrap();
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
}
