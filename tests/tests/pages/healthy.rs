//! Minutes of a busy host on which nothing is wrong: nobody is told anything.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use netdrop_tests::Namespace;
use netdrop_tests::server::tool;
use netdrop_tests::wait::StopOnDrop;

use crate::chain::{Chain, Pace};
use crate::recording;

const RUN: Duration = Duration::from_secs(200);
/// Seconds between two scrapes, and between two evaluations.
const INTERVAL: u32 = 5;
/// So long is the pause between two of the short tasks: about two a second each, which a laptop's browser beats.
const PAUSE: Duration = Duration::from_millis(400);

/// What the busy threads have done.
#[derive(Debug, Default)]
struct Work {
    transfers: AtomicU64,
    refusals: AtomicU64,
    containers: AtomicU64,
    reloads: AtomicU64,
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn page_and_ticket_are_not_sent_on_a_busy_healthy_host() {
    let chain = Chain::start(INTERVAL, Pace::AsShipped);
    let (work, stop) = (Work::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        scope.spawn(|| serve(&chain.uplink.listener, &stop));
        scope.spawn(|| transfer(&chain, &work.transfers, &stop));
        scope.spawn(|| be_refused(&chain, &work.refusals, &stop));
        scope.spawn(|| start_containers(&chain.uplink.host, &work.containers, &stop));
        scope.spawn(|| reload_filters(&chain.uplink.host, &work.reloads, &stop));
        watch_alerts(&chain);
    });
    for (what, count) in [
        ("transfers", &work.transfers),
        ("refusals", &work.refusals),
        ("containers", &work.containers),
        ("reloads", &work.reloads),
    ] {
        let count = count.load(Ordering::Relaxed);
        println!("{count} {what} in {RUN:?}");
        assert!(count >= 10, "only {count} {what}: the host was not busy");
    }
    let drops = chain
        .prometheus
        .value("sum(netdrop_category_dropped_packets_total)");
    println!("{drops:?} packets dropped meanwhile");
    assert!(
        drops > Some(100.0),
        "a busy host drops some packets: {drops:?}"
    );
    for receiver in ["page", "ticket"] {
        let sent = chain.sent_to(receiver);
        assert!(sent.is_empty(), "{sent:?}");
    }
    let (prometheus, rules) = (&chain.prometheus, chain.rules.path());
    recording::assert_quiet_for_hours(prometheus, rules, &tool("promtool"), INTERVAL);
}

/// Until the time is over, no alert may fire but for information, and none may be pending for longer than half
/// of what makes it fire.
fn watch_alerts(chain: &Chain) {
    let end = Instant::now() + RUN;
    let mut pending_since = BTreeMap::new();
    while Instant::now() < end {
        let groups = chain.prometheus.api("rules?type=alert");
        let rules = groups["groups"].as_array().unwrap().iter();
        let rules = rules.flat_map(|group| group["rules"].as_array().unwrap());
        let mut pending = BTreeMap::new();
        for rule in rules {
            let half = Duration::from_secs_f64(rule["duration"].as_f64().unwrap() / 2.0);
            for alert in rule["alerts"].as_array().unwrap() {
                if alert["labels"]["severity"] == "info" {
                    continue;
                }
                assert_eq!(alert["state"], "pending", "{alert}");
                let name = alert["labels"].to_string();
                let since = *pending_since.get(&name).unwrap_or(&Instant::now());
                assert!(
                    since.elapsed() <= half,
                    "pending for {:?}: {alert}",
                    since.elapsed()
                );
                pending.insert(name, since);
            }
        }
        pending_since = pending;
        thread::sleep(Duration::from_secs(1));
    }
}

/// Takes what it is sent.
fn serve(listener: &TcpListener, stop: &AtomicBool) {
    listener.set_nonblocking(true).unwrap();
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((mut stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
            }
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Sends 4 MiB at a time.
fn transfer(chain: &Chain, count: &AtomicU64, stop: &AtomicBool) {
    let bytes = vec![0; 4 << 20];
    chain.uplink.host.handle().enter(|| {
        while !stop.load(Ordering::Relaxed) {
            let mut stream = TcpStream::connect(chain.uplink.server).unwrap();
            stream.write_all(&bytes).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            // Until the other end has read all.
            stream.read_to_end(&mut Vec::new()).unwrap();
            count.fetch_add(1, Ordering::Relaxed);
            thread::sleep(PAUSE);
        }
    });
}

/// Connects to ports that nobody listens on, here and over the cable.
fn be_refused(chain: &Chain, count: &AtomicU64, stop: &AtomicBool) {
    let closed =
        ["127.0.0.1:9", "192.0.2.2:9"].map(|address| address.parse::<SocketAddr>().unwrap());
    chain.uplink.host.handle().enter(|| {
        while !stop.load(Ordering::Relaxed) {
            for address in closed {
                TcpStream::connect(address).unwrap_err();
                count.fetch_add(1, Ordering::Relaxed);
            }
            thread::sleep(PAUSE);
        }
    });
}

/// A veth pair into a namespace, up, some traffic, and gone again: what a container is to the host.
fn start_containers(host: &Namespace, count: &AtomicU64, stop: &AtomicBool) {
    host.ip(&["link", "add", "br0", "up", "type", "bridge"]);
    host.ip(&["address", "add", "198.51.100.1/24", "dev", "br0"]);
    while !stop.load(Ordering::Relaxed) {
        let container = Namespace::new();
        let name = format!("veth{}", count.load(Ordering::Relaxed) % 100);
        let peer = [
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            container.name(),
        ];
        host.ip(&[&["link", "add", &name, "up", "master", "br0"], &peer[..]].concat());
        container.ip(&["address", "add", "198.51.100.2/24", "dev", "eth0"]);
        container.ip(&["link", "set", "eth0", "up"]);
        container.wait_for_carrier("eth0");
        container.enter(|| {
            // Nobody listens there: refused, and the container has done its work.
            TcpStream::connect_timeout(&"198.51.100.1:9".parse().unwrap(), PAUSE).unwrap_err();
        });
        // As a container runtime does: the namespace ends, and its link with it.
        drop(container);
        count.fetch_add(1, Ordering::Relaxed);
        thread::sleep(PAUSE);
    }
}

/// A filter that drops a little, loaded anew.
fn reload_filters(host: &Namespace, count: &AtomicU64, stop: &AtomicBool) {
    const RULES: &str = "
        flush ruleset
        table inet t {
            chain c {
                type filter hook input priority 0
                tcp dport 10 drop
            }
        }
";
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), RULES).unwrap();
    while !stop.load(Ordering::Relaxed) {
        host.exec(&["nft", "--file", file.path().to_str().unwrap()]);
        count.fetch_add(1, Ordering::Relaxed);
        thread::sleep(5 * PAUSE);
    }
}
