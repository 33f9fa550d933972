//! A real Alertmanager: it groups, inhibits and notifies.

use std::fs;
use std::net::SocketAddr;

use serde_json::Value;
use tempfile::TempDir;

use crate::netns::Namespace;
use crate::server::Server;

/// A running Alertmanager without peers; killed on drop.
#[derive(Debug)]
pub struct Alertmanager {
    server: Server,
    _directory: TempDir,
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
            server: Server::start("prometheus-alertmanager", &arguments, namespace),
            _directory: directory,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The names of the alerts that it holds back because of others, sorted.
    pub fn inhibited(&self) -> Vec<String> {
        let alerts = self
            .server
            .json("/api/v2/alerts?active=false&silenced=false");
        let mut names: Vec<_> = alerts
            .as_array()
            .unwrap()
            .iter()
            .filter(|alert| alert["status"]["inhibitedBy"] != Value::Array(Vec::new()))
            .map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    }
}
