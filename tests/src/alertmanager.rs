//! A real Alertmanager: it groups, inhibits and notifies.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;

use serde_json::Value;
use tempfile::TempDir;

use crate::netns::Namespace;
use crate::prometheus::texts;
use crate::server::{Server, tool};

/// Debian's Alertmanager reads its templates from `/usr/share/prometheus/alertmanager`, wherever itself is, and to
/// install it would start it. So it sees those of its package, unpacked, as `/usr/share`.
const SHOW_SHARE: &str = r#"mount --bind "$1" /usr/share && shift && exec "$@""#;

/// A running Alertmanager without peers; killed on drop.
#[derive(Debug)]
pub struct Alertmanager {
    server: Server,
    _directory: TempDir,
}

/// An alert, as Alertmanager knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// All labels, `alertname` included.
    pub labels: BTreeMap<String, String>,
    /// Whether it is held back because of another.
    pub inhibited: bool,
}

impl Alertmanager {
    /// Starts it with this configuration.
    pub fn start(config: &str, namespace: Option<&Namespace>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("alertmanager.yml");
        fs::write(&file, config).unwrap();
        let arguments = [
            format!("--config.file={}", file.display()),
            format!("--storage.path={}/data", directory.path().display()),
            "--cluster.listen-address=".to_owned(),
        ];
        Self {
            server: Server::start(
                "prometheus-alertmanager",
                &["unshare", "--mount", "sh", "-c", SHOW_SHARE, "sh", &share()],
                &arguments,
                "/-/ready",
                namespace,
            ),
            _directory: directory,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The alerts that it has, those that it holds back among them.
    pub fn alerts(&self) -> Vec<Alert> {
        let alerts = self.server.json("/api/v2/alerts");
        let alerts = alerts.as_array().unwrap().iter();
        alerts
            .map(|alert| Alert {
                labels: texts(&alert["labels"]),
                inhibited: alert["status"]["inhibitedBy"] != Value::Array(Vec::new()),
            })
            .collect()
    }
}

/// Where `tests/run.sh` has put `/usr/share` of the package.
fn share() -> String {
    let beside = tool("prometheus-alertmanager").with_file_name("alertmanager-share");
    beside.to_str().unwrap().to_owned()
}
