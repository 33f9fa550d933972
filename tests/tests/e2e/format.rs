//! What is served is what strangers' tools read: promtool, and Python's client.

use std::collections::BTreeMap;
use std::env;
use std::fs::File;
use std::io::{Seek, Write};
use std::process::Command;

use netdrop_tests::netns::Veth;
use netdrop_tests::server::tool;
use netdrop_tests::{Exporter, Metrics, Namespace, Pair, Room};

/// The kernel forbids only slashes, colons and white space (`dev_valid_name`, `net/core/dev.c`).
const AWKWARD: &str = r#"a"b\c{},=\n"#;
/// The same as the value of a label.
const SHOWN: &str = r#"a"b\x5cc{},=\x5cn"#;

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn strangers_read_what_we_read_of_a_device_with_an_awkward_name() {
    let _room = Room::enter();
    let (host, peer) = (Namespace::new(), Namespace::new());
    let veth = Veth::named(&host, AWKWARD, &peer, "plain", None);
    let launch = Exporter::launch().arguments(&["--collector.drops.bytes"]);
    let pair = Pair::over(host, peer, veth, launch);
    pair.drop_frames(1_234);
    let text = pair.exporter.scrape_text();

    let promtool = tool("promtool");
    let said = filter(Command::new(promtool).args(["check", "metrics"]), &text);
    assert_eq!(said, "");

    // Debian's package of the client is for Debian's Python only.
    let python = env::var("NETDROP_PYTHON").unwrap_or("/usr/bin/python3".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/read-metrics.py");
    let read = filter(Command::new(python).arg(script), &text);
    let mut theirs: Vec<(String, String, BTreeMap<String, String>, f64)> =
        serde_json::from_str(&read).unwrap();
    let metrics = Metrics::parse(&text);
    let samples = metrics.samples.iter().cloned();
    let mut ours: Vec<_> = samples
        .map(|sample| {
            let kind = metrics.types[&sample.name].clone();
            (kind, sample.name, sample.labels, sample.value)
        })
        .collect();
    for series in [&mut theirs, &mut ours] {
        series.sort_by(|a, b| (&a.1, &a.2).cmp(&(&b.1, &b.2)));
    }
    assert_eq!(theirs, ours);
    for name in ["packets", "bytes"] {
        let name = format!("netdrop_dropped_{name}_total");
        let value = metrics.value(&name, &[("device", SHOWN)]);
        assert!(value >= Some(1_234.0), "{name}: {value:?}");
    }
}

#[test]
fn the_reader_of_the_tests_is_strict() {
    for line in [
        "b_total 1",
        "a_total",
        "a_total ",
        "a_total 1 1700000000",
        "a_total{x=\"1\" 1",
        "a_total{x=\"1\"}1",
        "a_total{x=\"\\q\"} 1",
        "a_total{x=\"1\",x=\"2\"} 1",
        "a_total{x=\"1\",} 1",
        "a_total 1\na_total 1",
        "",
        "# TYPE a_total counter",
        "# TYPE c_total thing",
    ] {
        let text = format!("# TYPE a_total counter\n{line}\n");
        let read = std::panic::catch_unwind(|| Metrics::parse(&text));
        assert!(read.is_err(), "{line:?} was read");
    }
}

/// What a command says of a text. The tool missing is a failure: a test that skips itself proves nothing.
fn filter(command: &mut Command, text: &str) -> String {
    let mut file: File = tempfile::tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.rewind().unwrap();
    let output = command.stdin(file).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}
