//! Why a host drops what it sends itself.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};

use netdrop_tests::bpf::{DropAll, Hook};
use netdrop_tests::packet::{FAR, HOST};
use netdrop_tests::scene::{Cause, DEVICE};
use netdrop_tests::{Room, Scene};

/// Neighbours that answer nobody.
const SILENT: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 77), Ipv4Addr::new(192, 0, 2, 78)];
/// The discard service.
const PORT: u16 = 9;

// Each number of packets is another, so that none can stand for another.

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn what_a_host_fails_to_send_is_counted_by_its_reason() {
    let _room = Room::enter();
    let reasons = Scene::new().check_all(&[
        // The device of a local packet is not known before it has passed netfilter's output.
        Cause::at_device("netfilter, output", netfilter_output).without_device(),
        Cause::at_device("tc, egress", tc_egress),
        Cause::at_device("a full tbf", full_tbf),
        Cause::at_device("a queue taken away", queue_taken_away),
        Cause::at_device("a full ring of the device", full_ring),
        Cause::at_device("a neighbour that does not answer", silent_neighbour),
        Cause::at_device(
            "too much for a neighbour not yet known",
            impatient_for_neighbour,
        ),
    ]);
    assert_eq!(reasons.len(), 7, "{reasons:?}");
}

fn netfilter_output(scene: &Scene) -> u64 {
    let rules =
        "table inet t { chain c { type filter hook output priority 0; udp dport 9 drop; }; }";
    scene.host.exec(&["nft", rules]);
    let socket = socket(scene);
    for _ in 0..11 {
        let error = socket.send_to(b"no", (FAR, PORT)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    }
    scene.run("nft delete table inet t");
    11
}

fn tc_egress(scene: &Scene) -> u64 {
    let _program = DropAll::at(Hook::TcEgress, &scene.host, DEVICE);
    send(scene, FAR, 12)
}

/// Some of the packets are sent, some are queued for minutes, and the rest is lost. The queue stays.
fn full_tbf(scene: &Scene) -> u64 {
    scene.run(&format!(
        "tc qdisc add dev {DEVICE} root tbf rate 80bit burst 2000 limit 4000"
    ));
    send(scene, FAR, 60);
    queue_status(scene, "drops")
}

/// The queue goes, and with it what the cause before has left in it.
fn queue_taken_away(scene: &Scene) -> u64 {
    let packets = queue_status(scene, "qlen");
    scene.run(&format!("tc qdisc del dev {DEVICE} root"));
    packets
}

/// The test is slow to read what the device has for it.
fn full_ring(scene: &Scene) -> u64 {
    let dropped = format!("/sys/class/net/{DEVICE}/statistics/tx_dropped");
    let dropped = || {
        scene
            .host
            .exec(&["cat", &dropped])
            .trim()
            .parse::<u64>()
            .unwrap()
    };
    scene
        .host
        .ip(&["link", "set", "dev", DEVICE, "txqueuelen", "5"]);
    let before = dropped();
    send(scene, FAR, 20);
    let packets = dropped() - before;
    scene
        .host
        .ip(&["link", "set", "dev", DEVICE, "txqueuelen", "1000"]);
    packets
}

fn silent_neighbour(scene: &Scene) -> u64 {
    // One question, and not long to wait for the answer.
    scene.sysctl(&format!("ipv4/neigh/{DEVICE}/mcast_solicit"), "1");
    scene.sysctl(&format!("ipv4/neigh/{DEVICE}/retrans_time_ms"), "200");
    send(scene, SILENT[0], 16)
}

fn impatient_for_neighbour(scene: &Scene) -> u64 {
    // The neighbour is not given up while the test lasts, but only one packet at a time waits for it.
    scene.sysctl(&format!("ipv4/neigh/{DEVICE}/retrans_time_ms"), "600000");
    scene.sysctl(&format!("ipv4/neigh/{DEVICE}/unres_qlen_bytes"), "1");
    send(scene, SILENT[1], 18) - 1
}

fn socket(scene: &Scene) -> UdpSocket {
    scene.host.enter(|| UdpSocket::bind((HOST, 0)).unwrap())
}

/// Sends datagrams of 200 bytes, and returns their number. What becomes of them on the way is not an error.
fn send(scene: &Scene, to: Ipv4Addr, datagrams: u64) -> u64 {
    let socket = socket(scene);
    for _ in 0..datagrams {
        assert_eq!(socket.send_to(&[0; 200], (to, PORT)).unwrap(), 200);
    }
    datagrams
}

/// A number in the statistics of the device's queue.
fn queue_status(scene: &Scene, name: &str) -> u64 {
    let status = scene.run(&format!("tc -s -j qdisc show dev {DEVICE}"));
    let (_, rest) = status.split_once(&format!("\"{name}\":")).unwrap();
    let number = rest.split(|c: char| !c.is_ascii_digit()).next();
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("{status}"))
}
