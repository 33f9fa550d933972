//! The log never makes the exporter wait, and systemd's journal learns how severe each line is.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use netdrop_tests::wait::SOON;
use netdrop_tests::{Exporter, Namespace, Room, wait_until};

/// Flaps, each of them some kilobytes of log at level trace. What a pipe and the exporter hold is less.
const FLAPS: usize = 100;

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_log_that_nobody_reads_holds_up_neither_scrapes_nor_the_stop() {
    let _room = Room::enter();
    let here = Namespace::with_veths(1);
    let exporter = Exporter::launch()
        .namespace(&here)
        .arguments(&["--log.level=trace"])
        .start();
    exporter.with_unread_log(|| {
        flap(&here);
        exporter.scrape();
    });
    wait_until("the log tells of what was dropped", SOON, || {
        let log = exporter.log_so_far();
        let mut lines = log.lines();
        lines.any(|line| line.contains("WARN") && line.contains("because stderr was not read"))
    });

    exporter.with_unread_log(|| {
        flap(&here);
        let pid = Pid::from_raw(exporter.pid().cast_signed()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        wait_until("it has ended", SOON, || {
            let status = fs::read_to_string(format!("/proc/{}/status", exporter.pid()));
            status.unwrap().contains("State:\tZ")
        });
    });
    assert_eq!(exporter.stop().code, Some(0));
}

fn flap(here: &Namespace) {
    here.ip_batch(&"link set v0a down\nlink set v0a up\n".repeat(FLAPS));
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn in_the_journal_each_line_has_a_priority_and_no_time_of_its_own() {
    let _room = Room::enter();
    let as_journal =
        "JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2); export JOURNAL_STREAM; exec \"$@\"";
    // Of another file, as it is where the log was redirected.
    let as_other = "JOURNAL_STREAM=$(stat -L -c %d:%i /); export JOURNAL_STREAM; exec \"$@\"";
    for (script, in_journal) in [(as_journal, true), (as_other, false)] {
        let wrapper = ["sh", "-c", script, "sh"];
        let exporter = Exporter::launch().wrapper(&wrapper).as_nobody().start();
        let complaints = exporter.complaints_of(1);
        assert_eq!(
            complaints[0].starts_with("<3>[ERROR netdrop"),
            in_journal,
            "{complaints:?}"
        );
        let log = exporter.stop().log;
        let has = |begin| log.lines().all(|line| line.starts_with(begin));
        assert!(has(if in_journal { "<" } else { "[2" }), "{log}");
        assert_eq!(log.contains("<6>[INFO  netdrop"), in_journal, "{log}");

        let ended = Exporter::launch()
            .wrapper(&wrapper)
            .arguments(&["--stray"])
            .run();
        assert_eq!(ended.code, Some(2));
        assert_eq!(
            ended.log.starts_with("<3>netdrop-exporter: "),
            in_journal,
            "{}",
            ended.log
        );
    }
}
