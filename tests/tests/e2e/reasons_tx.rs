//! Why a host drops what it sends itself. Each number of packets is another, so that none can stand for another.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};

use netdrop_tests::bpf::{DropAll, Hook};
use netdrop_tests::packet::{FAR, HOST};
use netdrop_tests::scene::{CLOSED, Cause, DEVICE};
use netdrop_tests::{Room, Scene};

/// Neighbours that answer nobody.
const SILENT: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 77), Ipv4Addr::new(192, 0, 2, 78)];

const CAUSES: [Cause; 7] = [
    // The device of a local packet is not known before it has passed netfilter's output.
    Cause::at_device("netfilter, output", |scene| {
        let hook = "type filter hook output priority 0; udp dport 9 drop;";
        scene
            .host
            .exec(&["nft", &format!("table inet t {{ chain c {{ {hook} }}; }}")]);
        let socket = socket(scene);
        for _ in 0..11 {
            let error = socket.send_to(b"no", (FAR, CLOSED)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        }
        scene.run("nft delete table inet t");
        11
    })
    .without_device(),
    Cause::at_device("tc, egress", |scene| {
        let _program = DropAll::at(Hook::TcEgress, &scene.host, DEVICE);
        send(scene, FAR, 12)
    }),
    // Some of the packets are sent, some are queued for minutes, and the rest is lost. The queue stays.
    Cause::at_device("a full tbf", |scene| {
        let tbf = "tbf rate 80bit burst 2000 limit 4000";
        scene.run(&format!("tc qdisc add dev {DEVICE} root {tbf}"));
        send(scene, FAR, 60);
        queue_status(scene, "drops")
    }),
    // The queue goes, and with it what the cause before has left in it.
    Cause::at_device("a queue taken away", |scene| {
        let packets = queue_status(scene, "qlen");
        scene.run(&format!("tc qdisc del dev {DEVICE} root"));
        packets
    }),
    // The test is slow to read what the device has for it.
    Cause::at_device("a full ring of the device", |scene| {
        let dropped = || {
            let count = format!("cat /sys/class/net/{DEVICE}/statistics/tx_dropped");
            scene.run(&count).trim().parse::<u64>().unwrap()
        };
        let ring = |length| scene.run(&format!("ip link set dev {DEVICE} txqueuelen {length}"));
        ring(5);
        let before = dropped();
        send(scene, FAR, 20);
        let packets = dropped() - before;
        ring(1000);
        packets
    }),
    Cause::at_device("a neighbour that does not answer", |scene| {
        // One question, and not long to wait for the answer.
        scene.sysctl(&format!("ipv4/neigh/{DEVICE}/mcast_solicit"), "1");
        scene.sysctl(&format!("ipv4/neigh/{DEVICE}/retrans_time_ms"), "200");
        send(scene, SILENT[0], 16)
    }),
    Cause::at_device("too much for a neighbour not yet known", |scene| {
        // The neighbour is not given up while the test lasts, but only one packet at a time waits for it.
        scene.sysctl(&format!("ipv4/neigh/{DEVICE}/retrans_time_ms"), "600000");
        scene.sysctl(&format!("ipv4/neigh/{DEVICE}/unres_qlen_bytes"), "1");
        send(scene, SILENT[1], 18) - 1
    }),
];

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn what_a_host_fails_to_send_is_counted_by_its_reason() {
    let _room = Room::enter();
    assert_eq!(Scene::new().check_all(&CAUSES), 7);
}

fn socket(scene: &Scene) -> UdpSocket {
    scene.host.enter(|| UdpSocket::bind((HOST, 0)).unwrap())
}

/// Sends datagrams of 200 bytes, and returns their number. What becomes of them on the way is not an error.
fn send(scene: &Scene, to: Ipv4Addr, datagrams: u64) -> u64 {
    let socket = socket(scene);
    for _ in 0..datagrams {
        assert_eq!(socket.send_to(&[0; 200], (to, CLOSED)).unwrap(), 200);
    }
    datagrams
}

/// A number in the statistics of the device's queue.
fn queue_status(scene: &Scene, name: &str) -> u64 {
    let status = scene.run(&format!("tc -s -j qdisc show dev {DEVICE}"));
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    status[0][name].as_u64().unwrap()
}
