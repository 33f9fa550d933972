//! Every dropped packet is counted, once, under load from several CPUs and while it is read all the time.

use std::env;
use std::fs;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

use netdrop_tests::ledger::{assert_all_there, causes, never_backwards};
use netdrop_tests::send::{self, two_cpus, under_flood};
use netdrop_tests::strace::Strace;
use netdrop_tests::{Exporter, Flood, Metrics, Pair, Room, Witness};

const DROPPED: &str = "netdrop_dropped_packets_total";
const BYTES: &str = "netdrop_dropped_bytes_total";

/// Drains under the flood at least, and where a flood ends that does not come to that.
const DRAINS: usize = 100;
const PATIENCE: Duration = Duration::from_secs(180);

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn drains_back_to_back_under_a_flood_from_two_cpus_lose_nothing_and_count_nothing_twice() {
    let _room = Room::enter();
    let pair = Pair::with(Exporter::launch().arguments(&["--collector.drops.bytes"]));
    let witness = Witness::of_protocol(send::ETHERTYPE);
    // An emulated machine is asked for fewer.
    let frames = env::var("NETDROP_TEST_FRAMES").map_or(500_000, |text| text.parse().unwrap());
    let begin = Instant::now();
    let (sent, mut scrapes) = under_flood(&pair.peer, &pair.veth.b, &two_cpus(), |sent| {
        // A request is never answered by a scrape that began before it, so of one client each is a drain.
        let mut scrapes = vec![pair.exporter.scrape()];
        while scrapes.len() <= DRAINS || sent.load(Ordering::Relaxed) < frames {
            assert!(begin.elapsed() < PATIENCE, "{} drains", scrapes.len());
            scrapes.push(pair.exporter.scrape());
        }
        scrapes
    });
    let pace = begin.elapsed() / scrapes.len() as u32;
    println!(
        "{sent} frames, {} drains, one every {pace:?}",
        scrapes.len()
    );

    witness.expect(sent);
    let last = pair.exporter.scrape();
    assert_all_there(&last, &causes(&witness), &witness);
    let kind = witness.only_kind();
    let labels = [
        ("reason", kind.reason.as_str()),
        ("function", kind.function.as_str()),
        ("state", ""),
        ("device", pair.veth.a.as_str()),
        ("netns", "host"),
    ];
    let packets = last.value(DROPPED, &labels).unwrap();
    let of_device = last.sum(DROPPED, &[("device", &pair.veth.a)]);
    assert_eq!(of_device, packets, "a second series of the device");
    // The Ethernet header has been pulled off when the frame is dropped (eth_type_trans).
    let length = Flood::over("", 1).length - send::ETHERNET_HEADER;
    assert_eq!(last.value(BYTES, &labels), Some(packets * length as f64));
    scrapes.push(last);
    let grown = never_backwards(&scrapes);
    assert!(grown >= DRAINS / 2, "only {grown} drains moved anything");
}

/// Clients that ask at once. The exporter serves 64 connections at a time (`exporter/src/web/mod.rs`), and the
/// others wait in the listener's queue.
const CLIENTS: usize = 200;

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn two_hundred_scrapes_at_once_share_a_few_drains_and_each_has_every_drop_before_it() {
    let _room = Room::enter();
    let pair = Pair::new();
    pair.drop_frames(1_000);

    let strace = Strace::attach(pair.exporter.pid(), None);
    let answers: Vec<Metrics> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(|| pair.exporter.scrape()))
            .collect();
        let answers = clients.into_iter().map(|client| client.join().unwrap());
        answers.collect()
    });
    let calls = strace.detach();

    for metrics in &answers {
        let packets = metrics.value(DROPPED, &[("device", &pair.veth.a)]);
        assert_eq!(packets, Some(1_000.0));
        assert_eq!(metrics.success("drops"), Some(true));
    }
    // A drain updates three maps: it swaps, waits, and clears the cells.
    let updates = calls
        .iter()
        .filter(|call| call.text.starts_with("BPF_MAP_UPDATE_ELEM"));
    let drains = updates.count() / 3;
    assert!(
        (1..=CLIENTS / 4).contains(&drains),
        "{drains} drains for {CLIENTS} scrapes"
    );
}

/// What the list of possible CPUs says where something else covers it: fewer than there are, as a
/// container's may, more, and nonsense.
const FALSE_LISTS: [&str; 6] = ["0", "0-511", "0-4294967295", "3-0", "", "none"];

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_false_list_of_possible_cpus_changes_no_count() {
    let _room = Room::enter();
    for list in FALSE_LISTS {
        println!("{list:?}");
        let file = NamedTempFile::new().unwrap();
        fs::write(file.path(), list).unwrap();
        let cover = "mount --bind \"$0\" /sys/devices/system/cpu/possible && exec \"$@\"";
        let path = file.path().to_str().unwrap();
        let wrapper = ["unshare", "--mount", "sh", "-c", cover, path];
        let pair = Pair::with(Exporter::launch().wrapper(&wrapper));
        let witness = Witness::of_protocol(send::ETHERTYPE);
        let send_on = |cpu| {
            let flood = Flood {
                cpu: Some(cpu),
                ..Flood::over(&pair.veth.b, 100)
            };
            pair.peer.enter(|| flood.send())
        };
        witness.expect(two_cpus().map(send_on).into_iter().sum());
        assert_all_there(&pair.exporter.scrape(), &causes(&witness), &witness);
        assert_eq!(pair.exporter.complaints(), Vec::<String>::new());
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn scrapes_cause_no_drop_themselves() {
    const SCRAPES: u64 = 200;
    let _room = Room::enter();
    let pair = Pair::new();
    // Each on a connection that the server closes: without care the client's end comes too late.
    for _ in 0..SCRAPES {
        pair.exporter.scrape();
    }
    let metrics = pair.exporter.scrape();
    // Nothing else talks over the loopback device of this namespace.
    let caused = metrics.sum(DROPPED, &[("device", "lo"), ("netns", "host")]);
    assert_eq!(caused, 0.0);
}
