//! The files of `alerts/` against the real exporter and the real Alertmanager.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use netdrop_tests::alertmanager::Alertmanager;
use netdrop_tests::netns::run;
use netdrop_tests::server::tool;
use netdrop_tests::wait::SOON;
use netdrop_tests::{Exporter, Uplink, wait_until};

use crate::chain::alerts;

/// Metrics that a scrape has only once something has happened.
const LATE: [&str; 3] = [
    "netdrop_dropped_packets_total{",
    "netdrop_link_down_dropped_packets_total{",
    "netdrop_link_last_transition_timestamp_seconds{",
];

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn page_rules_use_only_what_the_exporter_serves() {
    let uplink = Uplink::named("card0");
    let exporter = Exporter::launch().namespace(&uplink.host).start();
    uplink.pull();
    let mut scrape = String::new();
    wait_until("each metric is there", 2 * SOON, || {
        // A SYN that is lost at a link without carrier.
        let connect = || TcpStream::connect_timeout(&uplink.server, Duration::from_millis(100));
        uplink.host.enter(connect).unwrap_err();
        scrape = exporter.scrape_text();
        LATE.iter().all(|name| scrape.contains(name))
    });
    // Only this machine's own namespace has a port with a bus device.
    scrape.push_str(&Exporter::start(&[]).scrape_text());
    // And few drivers tell why a link is down, so the golden page stands for those.
    scrape.push_str(include_str!("../../../exporter/tests/golden/ports.prom"));
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), scrape).unwrap();
    let check = Path::new(env!("CARGO_MANIFEST_DIR")).join("check-alerts.py");
    let output = Command::new(check)
        .arg("--scrape")
        .arg(file.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn page_silences_only_what_its_port_carries_on_its_host() {
    let config = fs::read_to_string(alerts().join("alertmanager.example.yml")).unwrap();
    let alertmanager = Alertmanager::start(&config, None);
    let add = |labels: &[&str]| {
        let amtool = tool("amtool");
        let url = format!("--alertmanager.url=http://{}", alertmanager.address());
        run(&[&[amtool.to_str().unwrap(), &url, "alert", "add"], labels].concat());
    };
    for alert in [
        "LinkCarrierDown page host=a device=eth0 port=eth0 case=page",
        // The same device, what sits on it, and its flapping.
        "NetdropCongestionDrops ticket host=a device=eth0 port=eth0 case=same",
        "NetdropCongestionDrops ticket host=a device=eth0.7 port=eth0 case=vlan",
        "LinkFlapping ticket host=a device=eth0 port=eth0 case=flapping",
        // Another port, host or cluster, no port, no host, nothing at all.
        "NetdropCongestionDrops ticket host=a device=eth1 port=eth1 case=eth1",
        "NetdropCongestionDrops ticket host=b device=eth0 port=eth0 case=host",
        "NetdropCongestionDrops ticket host=a device=eth0 port=eth0 cluster=us case=cluster",
        "NetdropCongestionDrops ticket host=a case=portless",
        "NetdropCongestionDrops ticket port=eth0 case=hostless",
        "Other ticket case=bare",
        // And a page without labels, to which each label missing on both sides would be equal.
        "LinkCarrierDown page case=labelless",
        // Where the link does not page, its drops explain lost connects, but not those at a container's device.
        "DropsWhileLinkDown ticket host=a device=eth2 port=eth2 case=down",
        "TcpConnectDrops ticket host=a device=eth2 port=eth2 case=connects",
        "TcpConnectDrops ticket host=a device=eth2 netns=c1 case=container",
        // An incident of many hosts, one of them, and one of another job.
        "NetdropFleetCarrierLost page job=rack case=fleet",
        "LinkCarrierDown page job=rack host=c device=eth0 port=eth0 case=single",
        "LinkCarrierDown page job=other host=c device=eth0 port=eth0 case=job",
    ] {
        let mut words = alert.split(' ');
        let [name, severity] = ["alertname", "severity"].map(|label| {
            let value = words.next().unwrap();
            format!("{label}={value}")
        });
        let labels: Vec<_> = [&*name, &*severity, "product=netdrop"]
            .into_iter()
            .chain(words)
            .collect();
        add(&labels);
    }
    wait_until("it has all alerts", SOON, || {
        alertmanager.alerts().len() == 17
    });
    let alerts = alertmanager.alerts().into_iter();
    let mut silenced: Vec<_> = alerts
        .filter(|alert| alert.inhibited)
        .map(|alert| alert.labels["case"].clone())
        .collect();
    silenced.sort();
    assert_eq!(silenced, ["connects", "flapping", "same", "single", "vlan"]);
}
