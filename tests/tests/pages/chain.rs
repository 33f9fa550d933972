//! From a link to a pager: a host with a veth that stands in for a network card, its exporter, Prometheus, Alertmanager and
//! a webhook receiver.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use netdrop_tests::alertmanager::Alertmanager;
use netdrop_tests::prometheus::{Prometheus, Setup, Target};
use netdrop_tests::wait::SOON;
use netdrop_tests::webhook::{Alert, Notification, Webhook};
use netdrop_tests::{Exporter, Uplink, wait_until};
use tempfile::NamedTempFile;

/// What the host is called, by its label `instance`.
pub(crate) const HOST: &str = "host-a.example";
/// The stand-in for a network card.
pub(crate) const CARD: &str = "card0";

/// What is set for `--collector.link.settle`, and some more: what happens earlier is the host's boot.
const SETTLE: &str = "--collector.link.settle=5s";
const SETTLED: Duration = Duration::from_secs(8);

/// What the exporter counts of the whole machine, on which other tests make drops at the same time: those of other
/// namespaces, and those without a key.
const OF_THE_MACHINE: &str =
    "netdrop_dropped_packets_total;(other)?|netdrop_unattributed_packets_total;";

/// How fast the rules' time passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// With the times of the files.
    AsShipped,
    /// Windows, waits and what keeps an alert firing are [`Pace::FACTOR`] times shorter: with a scrape every 5 s as the
    /// files are with one every 30 s.
    Fast,
}

impl Pace {
    /// See [`Pace::Fast`].
    pub(crate) const FACTOR: u32 = 6;

    /// Rules with these times. The names of rules end in times, too, and stay.
    fn applied_to(self, rules: &str) -> String {
        let mut rules = rules.to_owned();
        if self == Self::Fast {
            for minutes in [1, 2, 3, 5, 7, 10, 12, 15, 30, 60] {
                let shipped = match minutes {
                    60 => "1h".to_owned(),
                    _ => format!("{minutes}m"),
                };
                let fast = format!("{}s", minutes * 60 / Self::FACTOR);
                let places = [
                    ("[", "]"),
                    ("[", ":"),
                    (":", "]"),
                    (" offset ", ""),
                    ("for: ", "\n"),
                ];
                for (before, after) in places {
                    let time = |time: &str| format!("{before}{time}{after}");
                    rules = rules.replace(&time(&shipped), &time(&fast));
                }
            }
        }
        rules
    }
}

/// All of it; ends on drop, the first field first.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) webhook: Webhook,
    pub(crate) prometheus: Prometheus,
    pub(crate) alertmanager: Alertmanager,
    _agent: Option<Prometheus>,
    exporter: Option<Exporter>,
    pub(crate) rules: NamedTempFile,
    pub(crate) uplink: Uplink,
}

impl Chain {
    /// Starts it with so many seconds between scrapes and between evaluations, and waits until the host's links
    /// have settled.
    pub(crate) fn start(interval: u32, pace: Pace) -> Self {
        Self::start_with(interval, pace, None)
    }

    /// The same with rules that run centrally: an agent with these external labels scrapes, and writes to Prometheus.
    pub(crate) fn start_behind_agent(interval: u32, pace: Pace, external_labels: &str) -> Self {
        Self::start_with(interval, pace, Some(external_labels))
    }

    fn start_with(interval: u32, pace: Pace, agent: Option<&str>) -> Self {
        let uplink = Uplink::named(CARD);
        let host = &uplink.host;
        let exporter = Exporter::launch()
            .arguments(&[SETTLE])
            .namespace(host)
            .start();
        let started = Instant::now();
        let webhook = Webhook::start(Some(host));
        let alertmanager = Alertmanager::start(&routes(webhook.address(), pace), Some(host));
        let rules = rules(pace);
        let instance = format!("{HOST}:10095");
        let scrapes = Setup {
            scrape_interval: interval,
            evaluation_interval: interval,
            targets: vec![Target {
                job: "netdrop",
                address: exporter.address(),
                instance: Some(&instance),
            }],
            ports: None,
            leave_out: Some(OF_THE_MACHINE),
            namespace: Some(host),
            ..Setup::default()
        };
        let evaluates = |setup: Setup<'_>| {
            Prometheus::start(&Setup {
                rules: vec![rules.path()],
                alertmanager: Some(alertmanager.address()),
                ..setup
            })
        };
        let (prometheus, agent) = match agent {
            None => (evaluates(scrapes), None),
            Some(external_labels) => {
                let central = evaluates(Setup {
                    targets: Vec::new(),
                    takes_writes: true,
                    ..scrapes.clone()
                });
                let agent = Prometheus::start(&Setup {
                    external_labels,
                    remote_write: Some(central.address()),
                    ..scrapes
                });
                (central, Some(agent))
            }
        };
        wait_until("the host's links have settled", SETTLED + SOON, || {
            started.elapsed() > SETTLED
        });
        let watched = format!(
            r#"instance_device:netdrop_link_info:watched{{host="{HOST}", device="{CARD}"}}"#
        );
        let soon = SOON + 3 * Duration::from_secs(interval.into());
        wait_until("the rules know the card", soon, || {
            prometheus.value(&watched) == Some(1.0)
        });
        Self {
            webhook,
            prometheus,
            alertmanager,
            _agent: agent,
            exporter: Some(exporter),
            rules,
            uplink,
        }
    }

    /// The notifications that went to `page`, `ticket` or `info`.
    pub(crate) fn sent_to(&self, receiver: &str) -> Vec<Notification> {
        let path = format!("/{receiver}");
        let all = self.webhook.notifications().into_iter();
        all.filter(|notification| notification.path == path)
            .collect()
    }

    /// Ends the exporter, and starts another one in its place.
    pub(crate) fn restart_exporter(&mut self) {
        let old = self.exporter.take().unwrap();
        let address = format!("--web.listen-address={}", old.address());
        old.stop();
        let host = &self.uplink.host;
        let new = Exporter::launch().arguments(&[SETTLE, &address]);
        self.exporter = Some(new.namespace(host).start());
    }

    /// How often the card has lost its carrier, as the exporter says.
    pub(crate) fn losses(&self) -> f64 {
        let labels = [("device", CARD), ("transition", "carrier_down")];
        let metrics = self.exporter.as_ref().unwrap().scrape();
        metrics
            .value("netdrop_link_transitions_total", &labels)
            .unwrap()
    }
}

/// The page about the card, with this status.
pub(crate) fn is_the_page(alert: &Alert, status: &str) -> bool {
    let label = |name: &str| alert.labels.get(name).map(String::as_str);
    alert.status == status
        && label("alertname") == Some("LinkCarrierDown")
        && label("host") == Some(HOST)
        && label("device") == Some(CARD)
}

/// The directory `alerts/`.
pub(crate) fn alerts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../alerts")
}

/// The rules, which take a veth for a port that pages: it has no bus device, and a namespace of a test has no other port.
pub(crate) fn rules(pace: Pace) -> NamedTempFile {
    let port = r#"netdrop_link_info{watch=~"page|ticket"}"#;
    let stand_in = format!(
        r#"label_replace(label_replace(netdrop_link_info{{device="{CARD}"}}, "watch", "page", "", ""), "port", "$1", "device", "(.+)")"#
    );
    let rules = fs::read_to_string(alerts().join("netdrop.rules.yml")).unwrap();
    let place = format!("or ignoring (watch) {port}");
    assert!(rules.contains(&place), "the rules have no {place}");
    let file = tempfile::Builder::new().suffix(".yml").tempfile().unwrap();
    let rules = rules.replace(
        &place,
        &format!("or ignoring (watch) {port} or ignoring (watch) {stand_in}"),
    );
    fs::write(file.path(), pace.applied_to(&rules)).unwrap();
    file
}

/// The example, but with our receiver, and without the long waits: for a ticket, which the page that explains it must
/// come before, and for the next notification of a group.
pub(crate) fn routes(receiver: SocketAddr, pace: Pace) -> String {
    let example = fs::read_to_string(alerts().join("alertmanager.example.yml")).unwrap();
    let wait = match pace {
        Pace::AsShipped => "group_wait: 40s",
        Pace::Fast => "group_wait: 20s",
    };
    let mut config = example;
    for (from, to) in [
        ("localhost:9099", receiver.to_string().as_str()),
        ("group_wait: 2m", wait),
        ("group_wait: 5m", wait),
        ("group_interval: 1m", "group_interval: 5s"),
        ("group_interval: 15m", "group_interval: 5s"),
        ("group_interval: 1h", "group_interval: 5s"),
    ] {
        assert!(config.contains(from), "the example has no {from:?}");
        config = config.replace(from, to);
    }
    config
}
