//! What a service manager hears: ready, with what runs and what does not; alive, only while the collectors run;
//! and stopping.

use std::time::Duration;

use netdrop_tests::launch::Launch;
use netdrop_tests::manager::Manager;
use netdrop_tests::strace::Strace;
use netdrop_tests::wait::SOON;
use netdrop_tests::{Exporter, Room};

const ALIVE: &str = "WATCHDOG=1";
/// More than two rounds of the exporter, which are 5 s apart.
const TWO_ROUNDS: Duration = Duration::from_secs(11);

fn started(manager: &Manager, launch: Launch) -> (Exporter, String) {
    let exporter = launch
        .environment("NOTIFY_SOCKET", &manager.address())
        .start();
    let ready = manager.hear(SOON).unwrap();
    (exporter, ready)
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn the_manager_hears_that_it_is_ready_alive_and_stopping() {
    let _room = Room::enter();
    let manager = Manager::new();
    let (exporter, ready) = started(&manager, Exporter::launch());
    assert_eq!(ready, "READY=1\nSTATUS=all collectors run\n");
    manager.hear_line(ALIVE, SOON).expect("a first round");
    manager.hear_line(ALIVE, SOON).expect("a second round");
    assert_eq!(exporter.stop().code, Some(0));
    manager.hear_line("STOPPING=1", SOON).expect("the end");
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn the_manager_hears_what_could_not_start() {
    let _room = Room::enter();
    let manager = Manager::new();
    let (_exporter, ready) = started(&manager, Exporter::launch().as_nobody());
    assert_eq!(ready, "READY=1\nSTATUS=without drops: see the log\n");
    manager.hear_line(ALIVE, SOON).expect("the others go on");
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_collector_that_is_stuck_is_not_called_alive_though_the_server_answers() {
    let _room = Room::enter();
    let manager = Manager::new();
    let (exporter, _) = started(&manager, Exporter::launch());
    manager.hear_line(ALIVE, SOON).expect("a first round");
    let stalled = Strace::slow_down(exporter.pid(), "bpf", Duration::from_secs(600));
    // What was under way when strace came may still end; then there is silence.
    while manager.hear(TWO_ROUNDS).is_some() {}
    assert_eq!(exporter.get("/-/healthy").status, 200);
    drop(stalled);
    manager.hear_line(ALIVE, SOON).expect("it goes on");
}
