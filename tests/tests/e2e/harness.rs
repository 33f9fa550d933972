//! The harness on its own: sender, namespaces and witness agree with the kernel's other counters.

use std::fs;
use std::path::Path;
use std::thread;

use netdrop_tests::netns::Veth;
use netdrop_tests::prometheus::{Prometheus, Setup, Target};
use netdrop_tests::room::Sysctl;
use netdrop_tests::{Exporter, Flood, Namespace, Room, Witness, send, wait_until};

const SOON: std::time::Duration = netdrop_tests::wait::SOON;

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn every_frame_sent_from_all_cpus_is_one_drop_of_the_receiving_end() {
    let _room = Room::enter();
    let receiver = Namespace::new();
    let sender = Namespace::new();
    let veth = Veth::between(&receiver, &sender);
    let witness = Witness::of_protocol(send::ETHERTYPE);

    let sent: u64 = sender.enter(|| {
        thread::scope(|scope| {
            let start = |cpu| {
                let flood = Flood {
                    cpu: Some(cpu),
                    ..Flood::over(&veth.b, 20_000)
                };
                scope.spawn(move || flood.send())
            };
            let running: Vec<_> = send::cpus().into_iter().map(start).collect();
            running
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        })
    });

    wait_until("the witness has seen every frame", SOON, || {
        witness.count() == sent
    });
    let kind = witness.only_kind();
    assert_eq!(kind.reason, "UNHANDLED_PROTO");
    assert_eq!(kind.function, "__netif_receive_skb_core");
    let statistics = receiver.exec(&[
        "cat",
        &format!("/sys/class/net/{}/statistics/rx_packets", veth.a),
    ]);
    assert_eq!(statistics.trim(), sent.to_string());
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn past_the_qdisc_a_device_without_carrier_drops_each_frame_in_the_senders_context() {
    let _room = Room::enter();
    let (near, far) = (Namespace::new(), Namespace::new());
    let veth = Veth::between(&near, &far);
    far.ip(&["link", "set", "dev", &veth.b, "down"]);
    let witness = Witness::of_protocol(send::ETHERTYPE);

    let flood = Flood {
        bypass_qdisc: true,
        ..Flood::over(&veth.a, 5_000)
    };
    assert_eq!(near.enter(|| flood.send()), 5_000);

    assert_eq!(witness.count(), 5_000, "{:?}", witness.kinds());
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_quiet_namespace_drops_nothing_by_itself() {
    let _room = Room::enter();
    let witness = Witness::of_protocol(0x86dd);
    let (a, b) = (Namespace::new(), Namespace::new());
    let _veth = Veth::between(&a, &b);
    assert_eq!(witness.count(), 0, "{:?}", witness.kinds());
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn nothing_is_left_behind() {
    let _room = Room::enter();
    let path = Path::new("/proc/sys/kernel/kptr_restrict");
    let before = fs::read_to_string(path).unwrap();
    let names = {
        let (a, b) = (Namespace::new(), Namespace::new());
        let _veth = Veth::between(&a, &b);
        let _sysctl = Sysctl::set("kernel/kptr_restrict", "2");
        assert_ne!(a.inode(), b.inode());
        let inside = a.enter(|| fs::read_link("/proc/thread-self/ns/net").unwrap());
        assert_eq!(inside.to_str().unwrap(), format!("net:[{}]", a.inode()));
        [a.name().to_owned(), b.name().to_owned()]
    };
    for name in names {
        assert!(
            !Path::new("/run/netns").join(&name).exists(),
            "{name} is left"
        );
    }
    assert_eq!(fs::read_to_string(path).unwrap(), before);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_real_prometheus_answers_queries_about_the_exporter() {
    let _room = Room::enter();
    let host = Namespace::new();
    let exporter = Exporter::launch().namespace(&host).start();
    let prometheus = Prometheus::start(&Setup {
        targets: vec![Target {
            job: "netdrop",
            address: exporter.address(),
            instance: Some("host.example:10095"),
        }],
        namespace: Some(&host),
        ..Setup::default()
    });
    wait_until("Prometheus has scraped", SOON, || {
        let up = prometheus.value(r#"up{job="netdrop", instance="host.example:10095"}"#);
        up == Some(1.0)
    });
    let lo = prometheus.query(r#"netdrop_link_admin_up{device="lo"}"#);
    assert_eq!(lo.len(), 1, "{lo:?}");
    assert_eq!(lo[0].value, 1.0);
    assert_eq!(prometheus.alerts(), []);
}
