//! The helper of the collector `optics`: what it may do, and that it goes when it must. What it reads takes a module, which
//! the tests of ports have (tests/kernels/run.sh).

use std::fs;
use std::os::fd::OwnedFd;
use std::process::Command;

use netdrop_exporter::collectors::optics::helper::wire::{Answer, Question};
use netdrop_exporter::collectors::optics::module::HalfPage;
use netdrop_exporter::devices::IfIndex;
use netdrop_tests::launch::binary;
use netdrop_tests::privileges::Threads;
use netdrop_tests::wait::SOON;
use netdrop_tests::{Exporter, Room, poll_for, wait_until};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};
use rustix::process::{Pid, Signal, kill_process};

const OPTICS: [&str; 3] = [
    "--collector.optics",
    "--no-collector.drops",
    "--no-collector.port",
];

/// CAP_NET_ADMIN.
const NET_ADMIN: u64 = 1 << 12;

/// The process that the exporter says reads modules.
fn helper(exporter: &Exporter) -> Pid {
    let log = exporter.log();
    let words = log
        .split_once("through process ")
        .expect("the helper's process")
        .1;
    let pid: i32 = words.split(',').next().unwrap().parse().unwrap();
    Pid::from_raw(pid).unwrap()
}

fn is_there(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()));
    status.is_ok_and(|status| !status.contains("State:\tZ"))
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn the_helper_keeps_one_capability_and_the_exporter_none() {
    let _room = Room::enter();
    for launch in [
        Exporter::launch(),
        Exporter::launch().as_nobody_with(&["net_admin"]),
        Exporter::launch().as_nobody_with_file(&["net_admin"]),
    ] {
        let exporter = launch.arguments(&OPTICS).start();
        let helper = Threads::of(helper(&exporter).as_raw_nonzero().get().unsigned_abs());
        assert_eq!(helper.names(), ["netdrop-optics"]);
        for (set, held) in [
            ("CapPrm", NET_ADMIN),
            ("CapEff", NET_ADMIN),
            ("CapInh", 0),
            ("CapAmb", 0),
        ] {
            assert_eq!(helper.capabilities(set), held, "{set} of the helper");
        }
        assert!(helper.values("NoNewPrivs").iter().eq(["1"].iter()));
        assert!(helper.values("Seccomp").iter().eq(["2"].iter()));
        // A thread takes its name itself, once it runs.
        let threads = poll_for("the thread of the collector", SOON, || {
            let threads = Threads::of(exporter.pid());
            threads.names().contains(&"optics").then_some(threads)
        });
        for set in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
            assert_eq!(threads.capabilities(set), 0, "{set} of the exporter");
        }
        assert_eq!(exporter.scrape().success("optics"), Some(true));
        assert_eq!(exporter.complaints(), Vec::<String>::new());
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn without_the_capability_one_line_says_how_to_grant_it_and_all_else_works() {
    let _room = Room::enter();
    let launch = Exporter::launch().as_nobody();
    let exporter = launch.arguments(&OPTICS).start();
    let metrics = exporter.scrape();
    assert_eq!(metrics.success("optics"), Some(false));
    assert_eq!(metrics.success("link"), Some(true));
    exporter.complained_once(&[
        "cannot read transceiver modules",
        "CAP_NET_ADMIN is missing",
        "packaging/README.md#optics",
    ]);
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn readings_end_with_the_helper_and_only_a_restart_brings_them_back() {
    let _room = Room::enter();
    let exporter = Exporter::start(&OPTICS);
    let helper = helper(&exporter);
    assert_eq!(exporter.scrape().success("optics"), Some(true));
    // A stop is for the exporter; of the others nobody else takes notice.
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        kill_process(helper, signal).unwrap();
    }
    kill_process(helper, Signal::STOP).unwrap();
    assert_eq!(exporter.scrape().success("optics"), Some(true));
    assert!(is_there(helper));
    kill_process(helper, Signal::KILL).unwrap();
    wait_until("the exporter says that its helper ended", SOON, || {
        !exporter.complaints().is_empty()
    });
    exporter.complained_once(&["killed by signal 9", "restart the service"]);
    let metrics = exporter.scrape();
    assert_eq!(metrics.success("optics"), Some(false));
    assert_eq!(metrics.success("link"), Some(true));
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn the_helper_ends_with_the_exporter_however_that_ends() {
    let _room = Room::enter();
    for signal in [Signal::TERM, Signal::KILL] {
        let exporter = Exporter::start(&OPTICS);
        let helper = helper(&exporter);
        let ended = exporter.stop_by(signal);
        assert!(!ended.log.contains("ERROR"), "{}", ended.log);
        wait_until("the helper is gone", SOON, || !is_there(helper));
    }
}

/// A helper that the test asks, in place of an exporter.
struct Lone {
    socket: OwnedFd,
    child: std::process::Child,
}

impl Lone {
    fn start() -> Self {
        let (socket, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let mut command = Command::new(binary());
        let child = command.arg("optics-helper").stdin(theirs).spawn().unwrap();
        let lone = Self { socket, child };
        assert_eq!(lone.hear(), b"\n", "no trouble");
        lone
    }

    fn hear(&self) -> Vec<u8> {
        let mut bytes = [0; 512];
        let (_, len) = recv(&self.socket, &mut bytes, RecvFlags::empty()).unwrap();
        bytes[..len].to_vec()
    }

    fn say(&self, bytes: &[u8]) -> Answer {
        send(&self.socket, bytes, SendFlags::NOSIGNAL).unwrap();
        Answer::from_bytes(&self.hear()).expect("an answer")
    }
}

impl Drop for Lone {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn rubbish_is_answered_with_an_error_and_the_end_of_the_socket_ends_the_helper() {
    let mut lone = Lone::start();
    let question = Question {
        seq: 7,
        port: IfIndex(1),
        half: HalfPage::Lower,
    };
    let good = question.to_bytes();
    let mut unknown = good;
    unknown[8] = HalfPage::ALL.len() as u8;
    for rubbish in [
        &[0][..],
        &good[1..],
        &[&good[..], &[0]].concat(),
        &[0xff; 4096],
        &unknown,
    ] {
        let answer = lone.say(rubbish);
        assert_eq!((answer.seq, answer.bytes), (0, Err(Errno::INVAL)));
    }
    // The loopback device has no module; nor is there a device of this number.
    assert_eq!(
        lone.say(&good),
        Answer {
            seq: 7,
            bytes: Err(Errno::OPNOTSUPP)
        }
    );
    let nobody = Question {
        port: IfIndex(0x7fff_ffff),
        ..question
    };
    assert_eq!(lone.say(&nobody.to_bytes()).bytes, Err(Errno::NODEV));

    let (other, _) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .unwrap();
    drop(std::mem::replace(&mut lone.socket, other));
    let status = poll_for("the helper ends", SOON, || lone.child.try_wait().unwrap());
    assert!(status.success(), "{status}");
}
