//! Whose packets were dropped: each packet counts for the cgroup that its socket was created in.

use std::net::UdpSocket;
use std::path::Path;

use netdrop_tests::cgroups::Cgroups;
use netdrop_tests::{Exporter, Ledger, Metrics, Namespace, Room};

const WORKLOADS: &str = "netdrop_workload_dropped_packets_total";
const INFO: &str = "netdrop_workload_info";

const ID: &str = "3f4d0c6bd7a1c4d8e6c1b0f2a9e8d7c6b5a4938271605f4e3d2c1b0a99887766";
const UID: &str = "0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0";

/// A namespace whose firewall drops what is sent to the discard service, an exporter in it, and cgroups.
struct Host {
    cgroups: Cgroups,
    namespace: Namespace,
    exporter: Exporter,
    _room: Room,
}

impl Host {
    fn new(flags: &[&str]) -> Self {
        let _room = Room::enter();
        let namespace = Namespace::new();
        let hook = "type filter hook output priority 0; udp dport 9 drop;";
        let table = format!("table ip t {{ chain c {{ {hook} }}; }}");
        namespace.exec(&["nft", &table]);
        Self {
            cgroups: Cgroups::new(),
            exporter: Exporter::launch()
                .namespace(&namespace)
                .arguments(flags)
                .start(),
            namespace,
            _room,
        }
    }

    /// A socket that is created in this cgroup.
    fn socket(&self, cgroup: &Path) -> UdpSocket {
        let bind = || UdpSocket::bind("127.0.0.1:0").unwrap();
        self.cgroups.within(cgroup, || self.namespace.enter(bind))
    }

    /// Loses so many packets of a socket that is created in a new cgroup of this path.
    fn lose_in(&self, path: impl AsRef<[u8]>, packets: u64) {
        lose(&self.socket(&self.cgroups.make(path)), packets);
    }
}

/// Sends what the firewall drops, before the call returns.
fn lose(socket: &UdpSocket, packets: u64) {
    for _ in 0..packets {
        let sent = socket.send_to(b"x", "127.0.0.1:9");
        sent.expect_err("the firewall says no");
    }
}

fn lost(metrics: &Metrics, kind: &str, workload: &str) -> f64 {
    metrics.sum(WORKLOADS, &[("kind", kind), ("workload", workload)])
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn each_packet_is_its_sockets_services_containers_or_pods() {
    let host = Host::new(&[]);
    let ledger = Ledger::open(&host.exporter);
    let pod = UID.replace('-', "_");
    let short = &ID[..12];
    // A kubelet's and a Docker's containers could well have the same id here, so these do not.
    let other = ID.replace('3', "e");
    let unit = format!("{}.service", host.cgroups.name());
    let cases = [
        (format!("system.slice/{unit}"), "service", unit.as_str()),
        (format!("a.slice/docker-{ID}.scope/a/b"), "container", short),
        (
            format!("kubepods.slice/kubepods-pod{pod}.slice/cri-containerd-{other}.scope"),
            "container",
            &other[..12],
        ),
        (format!("kubepods/besteffort/pod{UID}"), "pod", UID),
        ("x/netdrop-cgroup".to_owned(), "other", "netdrop-cgroup"),
    ];
    for ((path, ..), packets) in cases.iter().zip(11..) {
        host.lose_in(path, packets);
    }

    let metrics = ledger.balance();
    for ((path, kind, workload), packets) in cases.iter().zip(11..) {
        assert_eq!(lost(&metrics, kind, workload), f64::from(packets), "{path}");
    }
    let labels = [
        ("workload", &other[..12]),
        ("kind", "container"),
        ("container_id", &format!("containerd://{other}")),
        ("pod_uid", UID),
        ("runtime", "containerd"),
    ];
    assert_eq!(metrics.sum(INFO, &labels), 1.0);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_socket_stays_its_creators_when_the_process_moves_and_the_cgroup_is_gone() {
    let host = Host::new(&[]);
    let ledger = Ledger::open(&host.exporter);
    let name = |which: &str| format!("{which}-{}.service", host.cgroups.name());
    let [first, second] = ["first", "second"].map(|which| host.cgroups.make(name(which)));
    let sockets = [&first, &second, &first].map(|cgroup| host.socket(cgroup));
    let paused = host.exporter.pause();
    host.cgroups.within(&second, || lose(&sockets[0], 5));
    lose(&sockets[1], 70);
    host.cgroups.remove(&first);
    host.cgroups.remove(&second);
    lose(&sockets[2], 300);
    drop(paused);

    let metrics = ledger.balance();
    assert_eq!(lost(&metrics, "service", &name("first")), 305.0);
    assert_eq!(lost(&metrics, "service", &name("second")), 70.0);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_thousand_cgroups_that_live_for_a_packet_are_told_apart() {
    const CGROUPS: usize = 1_000;
    let host = Host::new(&["--collector.drops.max-workloads=1100"]);
    let ledger = Ledger::open(&host.exporter);
    let name = |n| format!("{n}-{}.service", host.cgroups.name());
    let paused = host.exporter.pause();
    for n in 0..CGROUPS {
        let cgroup = host.cgroups.make(name(n));
        lose(&host.socket(&cgroup), 1 + n as u64 % 3);
        host.cgroups.remove(&cgroup);
    }
    drop(paused);

    let metrics = ledger.balance();
    for n in 0..CGROUPS {
        assert_eq!(
            lost(&metrics, "service", &name(n)),
            (1 + n % 3) as f64,
            "{n}"
        );
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn beyond_max_workloads_cgroups_are_counted_as_others() {
    const MAX: usize = 8;
    const CGROUPS: u64 = 30;
    const PACKETS: u64 = 7;
    let host = Host::new(&["--collector.drops.max-workloads=8"]);
    let ledger = Ledger::open(&host.exporter);
    let before = host.exporter.scrape();
    let name = |n| format!("{n}-{}.service", host.cgroups.name());
    // More than the kernel's map has room for, and then more than have series.
    let paused = host.exporter.pause();
    for n in 0..CGROUPS {
        host.lose_in(name(n), PACKETS);
    }
    drop(paused);
    ledger.balance();
    for n in 0..CGROUPS {
        host.lose_in(name(n), PACKETS);
    }

    let metrics = ledger.balance();
    let own: Vec<_> = (0..CGROUPS)
        .map(|n| lost(&metrics, "service", &name(n)))
        .filter(|packets| *packets > 0.0)
        .collect();
    assert!((1..=MAX).contains(&own.len()), "{own:?}");
    let others = lost(&metrics, "other", "other") - lost(&before, "other", "other");
    let all = (2 * CGROUPS * PACKETS) as f64;
    // The machine's own services may be among the others.
    assert!(own.iter().sum::<f64>() + others >= all, "{own:?}, {others}");
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn names_that_nobody_should_give_are_escaped_and_bounded() {
    let host = Host::new(&[]);
    let ledger = Ledger::open(&host.exporter);
    let long = "l".repeat(255);
    let deep = "d/".repeat(30);
    let cases: [(&[u8], &str); 7] = [
        (b"a \"quoted\" name", "a \"quoted\" name"),
        (br"a\x2db.service", r"a\x2db.service"),
        (b"{}=,#\t", "{}=,#\t"),
        (b"\xb9\xfa\\", r"\xb9\xfa\x5c"),
        (b"other", "/other"),
        (long.as_bytes(), &format!("{}…", &long[..97])),
        (&[deep.as_bytes(), b"deepest"].concat(), "…/deepest"),
    ];
    for ((path, _), packets) in cases.iter().zip(21..) {
        host.lose_in(path, packets);
    }
    let metrics = ledger.balance();
    for ((_, workload), packets) in cases.iter().zip(21..) {
        let counted = metrics.sum(WORKLOADS, &[("workload", workload)]);
        assert_eq!(counted, f64::from(packets), "{workload:?}");
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn switched_off_it_tells_nothing_and_counts_the_same() {
    let host = Host::new(&["--no-collector.drops.workloads"]);
    let ledger = Ledger::open(&host.exporter);
    host.lose_in("a.service", 50);
    let metrics = ledger.balance();
    for family in [WORKLOADS, INFO] {
        assert!(!metrics.types.contains_key(family), "{family}");
    }
    assert!(ledger.seen() >= 50);
}
