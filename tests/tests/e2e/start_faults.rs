//! When the kernel refuses a step of the start, one line says which, and the exporter serves all the same.

use netdrop_tests::strace::{self, Call, Fault};
use netdrop_tests::{Exporter, Room};
use tempfile::tempdir;

/// A step of the start: which call it is, and what the log must say when that fails.
struct Step {
    is: fn(&Call) -> bool,
    says: &'static str,
}

const STEPS: [Step; 6] = [
    Step {
        is: |call| is_map(call) && call.text.contains("PERCPU_HASH"),
        says: "create the BPF maps",
    },
    Step {
        // The program's own array is larger.
        is: |call| {
            is_map(call)
                && call
                    .text
                    .contains("PERCPU_ARRAY, key_size=4, value_size=8, max_entries=1,")
        },
        says: "create the map that counts the CPUs",
    },
    Step {
        is: |call| call.text.starts_with("BPF_OBJ_GET_INFO_BY_FD"),
        says: "map DROPS_A: ask the kernel about it",
    },
    Step {
        is: |call| call.text.starts_with("BPF_PROG_LOAD") && call.text.contains("_TRACING"),
        says: "load the BPF program",
    },
    Step {
        is: |call| call.text.starts_with("BPF_RAW_TRACEPOINT_OPEN"),
        says: "attach to the tracepoint kfree_skb",
    },
    Step {
        is: |call| is_map(call) && call.text.contains("ARRAY_OF_MAPS"),
        says: "create the map that waits for the program",
    },
];

fn is_map(call: &Call) -> bool {
    call.text.starts_with("BPF_MAP_CREATE")
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_start_that_fails_at_any_step_is_one_line_and_the_rest_goes_on() {
    let _room = Room::enter();
    let calls = calls_of_a_start();
    for step in &STEPS {
        let number = calls.iter().position(step.is);
        let number = number.unwrap_or_else(|| panic!("no call to {:?}", step.says)) + 1;
        for (error, text) in [
            ("EPERM", "Operation not permitted"),
            ("ENOMEM", "Cannot allocate memory"),
        ] {
            let fault = Fault {
                call: "bpf",
                error,
                first: number,
                every: Some(1),
            };
            let complaint = complaint_of_a_start_with(fault);
            assert!(complaint.contains("cannot count drops"), "{complaint}");
            for words in [step.says, text] {
                let told = complaint.matches(words).count();
                assert_eq!(told, 1, "{words:?}: {complaint}");
            }
        }
    }
}

/// The calls that the exporter makes from its start on until it is stopped.
fn calls_of_a_start() -> Vec<Call> {
    let directory = tempdir().unwrap();
    let log = directory.path().join("calls");
    let exporter = started_with(&strace::wrapper(&log, None));
    let main = exporter.pid();
    assert_eq!(exporter.complaints(), Vec::<String>::new());
    assert_eq!(exporter.stop().code, Some(0));
    let mut calls = strace::calls_until_end(&log);
    calls.retain(|call| call.thread == main);
    calls
}

/// The one line of a start whose calls fail, when everything else is as it should be.
fn complaint_of_a_start_with(fault: Fault) -> String {
    let directory = tempdir().unwrap();
    let log = directory.path().join("calls");
    let exporter = started_with(&strace::wrapper(&log, Some(fault)));
    assert_eq!(exporter.get("/-/healthy").status, 200);
    for _ in 0..3 {
        let metrics = exporter.scrape();
        let success = |name| metrics.value("netdrop_collector_success", &[("collector", name)]);
        assert_eq!(success("drops"), Some(0.0));
        assert_eq!(success("process"), Some(1.0));
        let counters = [
            "netdrop_dropped",
            "netdrop_category",
            "netdrop_unattributed",
        ];
        let counts = |name: &str| counters.iter().any(|counter| name.starts_with(counter));
        assert!(!metrics.samples.iter().any(|sample| counts(&sample.name)));
    }
    let complaints = exporter.complaints();
    assert_eq!(complaints.len(), 1, "{fault:?}: {complaints:#?}");
    let ended = exporter.stop();
    assert_eq!(ended.code, Some(0));
    // The log has nothing but whole lines of the logger: no dump of anything beside the one line.
    let lines = ended.log.lines();
    assert!(
        lines.clone().all(|line| line.starts_with('[')),
        "{}",
        ended.log
    );
    complaints.into_iter().next().unwrap()
}

fn started_with(wrapper: &[String]) -> Exporter {
    let words: Vec<_> = wrapper.iter().map(String::as_str).collect();
    Exporter::launch().wrapper(&words).start()
}
