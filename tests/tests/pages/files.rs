//! The files of `alerts/` against the real exporter and the real Alertmanager.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use netdrop_tests::alertmanager::Alertmanager;
use netdrop_tests::netns::{Namespace, Veth, run};
use netdrop_tests::server::tool;
use netdrop_tests::wait::SOON;
use netdrop_tests::{Exporter, wait_until};

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
    let (host, switch) = (Namespace::new(), Namespace::new());
    let cable = Veth::between(&host, &switch);
    host.ip(&["address", "add", "192.0.2.1/24", "dev", &cable.a]);
    host.exec(&["tc", "qdisc", "add", "dev", &cable.a, "root", "pfifo"]);
    let lladdr = ["lladdr", "02:00:00:00:00:02", "dev", &cable.a];
    host.ip(&[&["neigh", "add", "192.0.2.2"], &lladdr[..]].concat());
    let exporter = Exporter::launch().namespace(&host).start();
    switch.ip(&["link", "set", "dev", &cable.b, "down"]);
    let server: SocketAddr = "192.0.2.2:9".parse().unwrap();
    let mut scrape = String::new();
    wait_until("each metric is there", 2 * SOON, || {
        // A SYN that is lost at a link without carrier.
        host.enter(|| TcpStream::connect_timeout(&server, Duration::from_millis(100)).unwrap_err());
        scrape = exporter.scrape_text();
        LATE.iter().all(|name| scrape.contains(name))
    });
    // Only this machine's own namespace has a port with a bus device.
    scrape.push_str(&Exporter::start(&[]).scrape_text());
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
    let drops = "alertname=CongestionDrops";
    add(&[
        "alertname=LinkCarrierDown",
        "severity=page",
        "host=a",
        "device=eth0",
        "port=eth0",
    ]);
    // The same device, what sits on it, and its flapping.
    add(&[
        drops,
        "severity=ticket",
        "host=a",
        "device=eth0",
        "port=eth0",
        "case=same",
    ]);
    add(&[
        drops,
        "severity=ticket",
        "host=a",
        "device=eth0.7",
        "port=eth0",
        "case=vlan",
    ]);
    add(&[
        "alertname=LinkFlapping",
        "severity=ticket",
        "host=a",
        "device=eth0",
        "port=eth0",
        "case=flapping",
    ]);
    // Another port, another host, no port, no host, nothing at all.
    add(&[
        drops,
        "severity=ticket",
        "host=a",
        "device=eth1",
        "port=eth1",
        "case=eth1",
    ]);
    add(&[
        drops,
        "severity=ticket",
        "host=b",
        "device=eth0",
        "port=eth0",
        "case=host",
    ]);
    add(&[drops, "severity=ticket", "host=a", "case=portless"]);
    add(&[drops, "severity=ticket", "port=eth0", "case=hostless"]);
    add(&["alertname=Other", "severity=ticket", "case=bare"]);
    // And a page without labels, to which each label missing on both sides would be equal.
    add(&[
        "alertname=LinkCarrierDown",
        "severity=page",
        "case=labelless",
    ]);
    // Where the link does not page, its drops explain lost connects, but not those at a container's device.
    add(&[
        "alertname=DropsWhileLinkDown",
        "severity=ticket",
        "host=a",
        "device=eth2",
        "port=eth2",
        "case=down",
    ]);
    let connects = "alertname=TcpConnectDrops";
    add(&[
        connects,
        "severity=ticket",
        "host=a",
        "device=eth2",
        "port=eth2",
        "case=connects",
    ]);
    add(&[
        connects,
        "severity=ticket",
        "host=a",
        "device=eth2",
        "other_netns=c1",
        "case=container",
    ]);
    wait_until("it has all alerts", SOON, || {
        alertmanager.alerts().len() == 13
    });
    let alerts = alertmanager.alerts().into_iter();
    let mut silenced: Vec<_> = alerts
        .filter(|alert| alert.inhibited)
        .map(|alert| alert.labels["case"].clone())
        .collect();
    silenced.sort();
    assert_eq!(silenced, ["connects", "flapping", "same", "vlan"]);
}
