//! `netdrop-exporter snapshot`: what a person at a terminal, or a script, is told without a server.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use netdrop_tests::launch::binary;
use netdrop_tests::netns::Namespace;
use netdrop_tests::tap::Tap;
use netdrop_tests::wait::{SOON, poll_for};
use netdrop_tests::{Flood, Room};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const PACKETS: u64 = 100;

/// A running `snapshot --watch --json` in a namespace; killed on drop.
struct Watch {
    child: Child,
    reports: Lines<BufReader<ChildStdout>>,
}

impl Watch {
    fn start(namespace: &Namespace, flags: &[&str]) -> Self {
        let mut child = snapshot(namespace, &["--watch", "--json", "--for=200ms"])
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let reports = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, reports }
    }

    /// The next report: drops from now on are in this one or in a later one.
    fn report(&mut self) -> Value {
        let line = self.reports.next().expect("another report").unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn interrupt(&mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        poll_for("snapshot ends", SOON, || self.child.try_wait().unwrap())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

fn snapshot(namespace: &Namespace, flags: &[&str]) -> Command {
    let mut command = Command::new("ip");
    command
        .args(["netns", "exec", namespace.name()])
        .arg(binary())
        .arg("snapshot")
        .args(flags);
    command
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_snapshot_has_every_drop_of_its_time_and_the_link_it_died_of() {
    let _room = Room::enter();
    let host = Namespace::new();
    let tap = Tap::new(&host, "tap-down");
    let mut watch = Watch::start(&host, &["--fail-on=link"]);
    let first = watch.report();
    assert_eq!(first["failed_collectors"], serde_json::json!([]));

    let frame = Flood::over("tap-down", 1).frame();
    for _ in 0..PACKETS {
        tap.receive(&frame).unwrap_err();
    }

    let mut drops = 0;
    let mut lost = 0;
    while drops < PACKETS {
        let report = watch.report();
        for drop in of_device(&report["drops"]) {
            assert_eq!(drop["category"], "link", "{drop}");
            assert_eq!(drop["meaning"], "the link was down", "{drop}");
            drops += drop["packets"].as_u64().unwrap();
        }
        for link in of_device(&report["links"]) {
            assert_eq!(link["state"], "admin_down", "{link}");
            lost += link["lost_packets"].as_u64().unwrap();
        }
    }
    assert_eq!((drops, lost), (PACKETS, PACKETS));
    assert_eq!(watch.interrupt().code(), Some(130));
}

fn of_device(list: &Value) -> impl Iterator<Item = &Value> {
    let list = list.as_array().unwrap().iter();
    list.filter(|entry| entry["device"] == "tap-down")
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_snapshot_names_links_without_carrier_and_ends_with_a_status_for_scripts() {
    let _room = Room::enter();
    let host = Namespace::new();
    host.exec(&[
        "ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1",
    ]);
    host.exec(&["ip", "link", "set", "veth0", "up"]);
    let output = snapshot(&host, &["--for=100ms", "--fail-on=link"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("veth0: no carrier (veth)\n"), "{text}");
    assert!(!text.contains('\u{1b}'), "colours in a pipe: {text:?}");
    assert_eq!(output.status.code(), Some(0), "no packet died of it");

    let nobody = [
        "setpriv",
        "--reuid=65534",
        "--clear-groups",
        "--bounding-set=-all",
    ];
    let output = Command::new(nobody[0])
        .args(&nobody[1..])
        .arg(binary())
        .args(["snapshot", "--for=100ms"])
        .output()
        .unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    assert!(complaint.contains("run as root, or setcap"), "{complaint}");
}

/// What the README tells newcomers to run: the incident, and a snapshot that says what it was.
#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn the_demo_shows_the_link_and_what_died_of_it() {
    let _room = Room::enter();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/demo.sh");
    let output = Command::new(script).arg(binary()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}\n{errors}");
    let report = text
        .split("This is what the exporter says:")
        .nth(1)
        .unwrap();
    let link = report
        .lines()
        .find(|line| line.contains("eth0: no carrier for"));
    assert!(link.unwrap().contains("lost carrier once"), "{text}");
    for state in ["ESTABLISHED", "SYN_SENT"] {
        let died = |line: &str| {
            let mut words = line.split_whitespace();
            words.any(|word| word == state) && line.contains("the link was down")
        };
        assert!(report.lines().any(died), "{state}: {text}");
    }
}
