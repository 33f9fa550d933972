//! What is served is what strangers' tools read: promtool, Python's client, any HTTP client.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};
use std::thread;

use flate2::read::GzDecoder;

use netdrop_tests::metrics::Sample;
use netdrop_tests::netns::Veth;
use netdrop_tests::wait::SOON;
use netdrop_tests::{Exporter, Flood, Metrics, Namespace, Room, Witness, send, wait_until};

const DROPPED: &str = "netdrop_dropped_packets_total";
/// The kernel forbids only slashes, colons and white space (`dev_valid_name`, `net/core/dev.c`).
const AWKWARD: &str = r#"a"b\c{},=\n"#;
const FRAMES: u64 = 1_234;

/// An exporter that has just counted [`FRAMES`] drops of a device with an awkward name.
struct Scene {
    exporter: Exporter,
    _veth: Veth,
    _namespaces: [Namespace; 2],
}

impl Scene {
    fn new() -> Self {
        let (here, there) = (Namespace::new(), Namespace::new());
        let veth = Veth::named(&here, AWKWARD, &there, "plain", None);
        let exporter = Exporter::launch()
            .namespace(&here)
            .arguments(&["--collector.drops.bytes"])
            .start();
        let witness = Witness::of_protocol(send::ETHERTYPE);
        there.enter(|| Flood::over(&veth.b, FRAMES).send());
        wait_until("the witness has seen every frame", SOON, || {
            witness.count() == FRAMES
        });
        Self {
            exporter,
            _veth: veth,
            _namespaces: [here, there],
        }
    }
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn a_device_name_with_quotes_and_backslashes_survives() {
    let _room = Room::enter();
    let scene = Scene::new();
    let metrics = scene.exporter.scrape();
    assert_eq!(
        metrics.value(DROPPED, &[("device", AWKWARD)]),
        Some(FRAMES as f64)
    );
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn promtool_finds_nothing_to_say() {
    let _room = Room::enter();
    let text = Scene::new().exporter.scrape_text();
    let output = filter(&["promtool", "check", "metrics"], &text);
    assert!(output.status.success(), "{output:?}");
    let said = [output.stdout, output.stderr].concat();
    assert_eq!(String::from_utf8_lossy(&said), "");
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn pythons_client_reads_what_we_read() {
    let _room = Room::enter();
    let text = Scene::new().exporter.scrape_text();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/read-metrics.py");
    let output = filter(&[&python(), script], &text);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let theirs: BTreeMap<String, f64> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| {
            let (series, value) = line.rsplit_once('\t').unwrap();
            (series.to_owned(), value.parse().unwrap())
        })
        .collect();

    let metrics = Metrics::parse(&text);
    let ours: BTreeMap<String, f64> = metrics
        .samples
        .iter()
        .map(|sample| {
            (
                in_hexadecimal(&metrics.types[&sample.name], sample),
                sample.value,
            )
        })
        .collect();
    assert_eq!(theirs, ours);
    let (awkward, dropped) = (hexadecimal(AWKWARD), hexadecimal("netdrop_dropped_"));
    let kept: Vec<_> = theirs
        .iter()
        .filter(|(series, _)| series.contains(&awkward) && series.contains(&dropped))
        .collect();
    assert_eq!(kept.len(), 2, "packets and bytes of one series: {kept:?}");
    assert!(
        kept.iter().any(|(_, value)| **value == FRAMES as f64),
        "{kept:?}"
    );
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn compressed_and_plain_are_the_same_text() {
    let _room = Room::enter();
    let exporter = Scene::new().exporter;
    let plain = exporter.get("/metrics");
    assert_eq!(plain.header("content-encoding"), None);
    let zipped = exporter.request("GET", "/metrics", &["Accept-Encoding: deflate, gzip;q=0.9"]);
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    for response in [&plain, &zipped] {
        let kind = response.header("content-type").unwrap();
        assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    }
    let mut unzipped = String::new();
    GzDecoder::new(&zipped.body[..])
        .read_to_string(&mut unzipped)
        .unwrap();

    // Two scrapes: their values differ by what happened between them, but not what they are values of.
    let (plain, unzipped) = (Metrics::parse(&plain.text()), Metrics::parse(&unzipped));
    assert_eq!(plain.types, unzipped.types);
    assert_eq!(plain.help, unzipped.help);
    let awkward = [("device", AWKWARD)];
    let ours = |metrics: &Metrics| {
        metrics
            .series(DROPPED, &awkward)
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(ours(&plain), ours(&unzipped));
    assert_eq!(ours(&plain).len(), 1);

    let refused = exporter.request("GET", "/metrics", &["Accept-Encoding: gzip;q=0"]);
    assert_eq!(
        refused.header("content-encoding"),
        None,
        "q=0 means: not this one"
    );
}

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn every_path_answers_as_documented() {
    let _room = Room::enter();
    let exporter = Exporter::start(&["--web.telemetry-path=/numbers"]);
    let status = |method, path| exporter.request(method, path, &[]).status;
    for path in ["/numbers", "/-/healthy", "/-/ready", "/"] {
        assert_eq!(status("GET", path), 200, "GET {path}");
        assert_eq!(status("HEAD", path), 200, "HEAD {path}");
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let response = exporter.request(method, path, &[]);
            assert_eq!(response.status, 405, "{method} {path}");
            // RFC 9110, section 15.5.6: a 405 names the methods that are allowed.
            let allowed: BTreeSet<_> = response
                .header("allow")
                .unwrap()
                .split(',')
                .map(str::trim)
                .collect();
            assert_eq!(allowed, BTreeSet::from(["GET", "HEAD"]), "{method} {path}");
        }
    }
    for path in ["/metrics", "/numbers/", "/../numbers", "/nowhere"] {
        assert_eq!(status("GET", path), 404, "GET {path}");
    }
    assert_eq!(
        status("GET", "/numbers?query"),
        200,
        "a query is no part of the path"
    );
    let page = exporter.get("/");
    assert!(
        page.header("content-type")
            .unwrap()
            .starts_with("text/html")
    );
    assert!(page.text().contains("href=\"/numbers\""), "{}", page.text());
}

/// Runs a command over a text. The tool missing is a failure: a test that skips itself proves nothing.
fn filter(command: &[&str], text: &str) -> Output {
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("cannot run {command:?} (tests/run.sh installs it): {error}")
        });
    let mut input = child.stdin.take().unwrap();
    thread::scope(|scope| {
        // On a thread of its own, for a pipe holds less than a scrape may.
        scope.spawn(move || input.write_all(text.as_bytes()).unwrap());
        child.wait_with_output().unwrap()
    })
}

/// The first Python that has prometheus_client: Debian's package is for Debian's Python only.
fn python() -> String {
    let chosen = env::var("NETDROP_PYTHON").ok();
    let known = ["python3", "/usr/bin/python3"].map(str::to_owned);
    let has_client = |python: &String| {
        let import = Command::new(python)
            .args(["-c", "import prometheus_client"])
            .output();
        import.is_ok_and(|output| output.status.success())
    };
    chosen
        .into_iter()
        .chain(known)
        .find(has_client)
        .unwrap_or_else(|| panic!("no Python has prometheus_client (tests/run.sh installs it)"))
}

/// A series in the words of `read-metrics.py`.
fn in_hexadecimal(kind: &str, sample: &Sample) -> String {
    let mut fields = vec![kind.to_owned(), hexadecimal(&sample.name)];
    for (name, value) in &sample.labels {
        fields.push(format!("{}={}", hexadecimal(name), hexadecimal(value)));
    }
    fields.join("\t")
}

fn hexadecimal(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}
