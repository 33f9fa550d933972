//! A real Prometheus: it scrapes, evaluates rules, and answers queries.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::netns::{Namespace, run};
use crate::server::{Server, tool};

/// What Prometheus is told.
#[derive(Debug, Clone)]
pub struct Setup<'a> {
    /// Seconds between two scrapes.
    pub scrape_interval: u32,
    /// Seconds between two evaluations of the rules.
    pub evaluation_interval: u32,
    /// What it scrapes.
    pub targets: Vec<Target<'a>>,
    /// Which series it leaves out: a regular expression for the metric's name, a semicolon and the label `netns`.
    pub leave_out: Option<&'a str>,
    /// Which virtual devices it takes for ports whose loss pages: a regular expression.
    pub ports: Option<&'a str>,
    /// Files of rules.
    pub rules: Vec<&'a Path>,
    /// Where its alerts go.
    pub alertmanager: Option<SocketAddr>,
    /// More of each scrape config, in YAML, indented by two: how it connects.
    pub connect: Option<&'a str>,
    /// Where it runs.
    pub namespace: Option<&'a Namespace>,
    /// The directory of its data; without one, an empty one of its own.
    pub data: Option<&'a Path>,
    /// More entries below `scrape_configs:`, as YAML.
    pub more_scrapes: String,
    /// External labels, as a mapping in YAML.
    pub external_labels: &'a str,
    /// Where it writes all samples to; it is an agent then, and has neither rules nor queries.
    pub remote_write: Option<SocketAddr>,
    /// Whether it takes what an agent writes.
    pub takes_writes: bool,
}

/// A target of its own job.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The label `job`.
    pub job: &'a str,
    /// Where it listens.
    pub address: SocketAddr,
    /// The label `instance`; without one, the address.
    pub instance: Option<&'a str>,
}

/// A running Prometheus with its data in a directory of its own; killed on drop.
#[derive(Debug)]
pub struct Prometheus {
    server: Server,
    _directory: TempDir,
}

/// Labels with a value, as an instant query gives them.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// All labels, `__name__` included.
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

/// An active alert.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// All labels, `alertname` included.
    pub labels: BTreeMap<String, String>,
    /// The annotations, with their templates filled in.
    pub annotations: BTreeMap<String, String>,
    /// `pending` or `firing`.
    pub state: String,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Self {
            scrape_interval: 1,
            evaluation_interval: 1,
            targets: Vec::new(),
            leave_out: None,
            ports: None,
            rules: Vec::new(),
            alertmanager: None,
            connect: None,
            namespace: None,
            data: None,
            more_scrapes: String::new(),
            external_labels: "{}",
            remote_write: None,
            takes_writes: false,
        }
    }
}

impl Prometheus {
    /// Starts it.
    pub fn start(setup: &Setup<'_>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("prometheus.yml");
        fs::write(&config, setup.config()).unwrap();
        let own = directory.path().join("data");
        let data = setup.data.unwrap_or(&own);
        let mut arguments = vec![format!("--config.file={}", config.display())];
        if setup.remote_write.is_some() {
            arguments.push("--enable-feature=agent".to_owned());
            arguments.push(format!("--storage.agent.path={}", data.display()));
        } else {
            arguments.push(format!("--storage.tsdb.path={}", data.display()));
        }
        if setup.takes_writes {
            arguments.push("--web.enable-remote-write-receiver".to_owned());
        }
        Self {
            server: Server::start("prometheus", &[], &arguments, "/-/ready", setup.namespace),
            _directory: directory,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// What it has written to standard error so far.
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// The instant vector that an expression gives now.
    pub fn query(&self, expression: &str) -> Vec<Sample> {
        let data = self.api(&format!("query?query={}", encode(expression)));
        assert_eq!(data["resultType"], "vector", "{expression}");
        let samples = data["result"].as_array().unwrap().iter();
        samples
            .map(|sample| Sample {
                labels: texts(&sample["metric"]),
                value: sample["value"][1].as_str().unwrap().parse().unwrap(),
            })
            .collect()
    }

    /// The value of an expression that gives one series now; `None` if it gives none.
    pub fn value(&self, expression: &str) -> Option<f64> {
        let samples = self.query(expression);
        assert!(samples.len() <= 1, "{expression}: {samples:?}");
        samples.first().map(|sample| sample.value)
    }

    /// The alerts that are pending or firing now.
    pub fn alerts(&self) -> Vec<Alert> {
        let data = self.api("alerts");
        let alerts = data["alerts"].as_array().unwrap().iter();
        alerts
            .map(|alert| Alert {
                labels: texts(&alert["labels"]),
                annotations: texts(&alert["annotations"]),
                state: alert["state"].as_str().unwrap().to_owned(),
            })
            .collect()
    }

    /// The field `data` of an answer of the API below `/api/v1/`.
    pub fn api(&self, path: &str) -> Value {
        let mut answer = self.server.json(&format!("/api/v1/{path}"));
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        answer["data"].take()
    }
}

impl Setup<'_> {
    fn config(&self) -> String {
        let (scrape, evaluation) = (self.scrape_interval, self.evaluation_interval);
        let mut text = format!(
            "global: {{scrape_interval: {scrape}s, scrape_timeout: {scrape}s, evaluation_interval: {evaluation}s, external_labels: {}}}\n",
            self.external_labels
        );
        if !self.rules.is_empty() {
            text.push_str("rule_files:\n");
        }
        for path in &self.rules {
            let path = path.canonicalize().unwrap();
            writeln!(text, "- {}", path.display()).unwrap();
        }
        if let Some(address) = self.remote_write {
            writeln!(
                text,
                "remote_write:\n- {{url: 'http://{address}/api/v1/write', queue_config: {{batch_send_deadline: 1s}}}}"
            )
            .unwrap();
        }
        text.push_str("scrape_configs:\n");
        for Target {
            job,
            address,
            instance,
        } in &self.targets
        {
            let own = address.to_string();
            let instance = instance.unwrap_or(&own);
            writeln!(
                text,
                "- job_name: '{job}'\n  static_configs: [{{targets: ['{address}'], labels: {{instance: '{instance}'}}}}]"
            )
            .unwrap();
            if let Some(lines) = self.connect {
                writeln!(text, "{lines}").unwrap();
            }
            text.push_str("  metric_relabel_configs:\n");
            if let Some(names) = self.leave_out {
                let drop = format!("regex: '{names}', action: drop");
                writeln!(text, "  - {{source_labels: [__name__, netns], {drop}}}").unwrap();
            }
            if let Some(devices) = self.ports {
                let regex = format!("regex: 'netdrop_link_info;({devices})'");
                for change in [
                    "target_label: watch, replacement: page",
                    "target_label: port",
                ] {
                    let change = format!("{regex}, {change}");
                    writeln!(text, "  - {{source_labels: [__name__, device], {change}}}").unwrap();
                }
            }
        }
        text.push_str(&self.more_scrapes);
        if let Some(address) = self.alertmanager {
            writeln!(
                text,
                "alerting:\n  alertmanagers:\n  - static_configs: [{{targets: ['{address}']}}]"
            )
            .unwrap();
        }
        text
    }
}

/// Makes Prometheus's blocks in a directory from samples with time stamps, in the text format of OpenMetrics.
pub fn create_blocks(openmetrics: &Path, directory: &Path) {
    let promtool = tool("promtool");
    let words = ["tsdb", "create-blocks-from", "openmetrics"];
    let paths = [openmetrics, directory].map(|path| path.to_str().unwrap());
    run(&[&[promtool.to_str().unwrap()], &words[..], &paths].concat());
}

/// A string in a query of a URL (RFC 3986, section 2.1).
pub(crate) fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").unwrap();
        }
        encoded
    })
}

/// A JSON object of strings.
pub(crate) fn texts(object: &Value) -> BTreeMap<String, String> {
    let members = object.as_object().unwrap().iter();
    members
        .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
        .collect()
}
