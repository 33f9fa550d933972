//! A server of the Prometheus project as a child process on a free port: where it listens is in its log.

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::http;
use crate::launch::inside;
use crate::netns::{Handle, Namespace};
use crate::process::Process;
use crate::wait::{SOON, poll_for};

/// Where `tests/run.sh` puts these programs, when it does not tell by `NETDROP_TEST_TOOLS`.
const TOOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/test-tools");

/// A server that is ready; killed on drop. Its log is printed when the test fails.
#[derive(Debug)]
pub struct Server {
    process: Process,
    address: SocketAddr,
    namespace: Option<Handle>,
}

impl Server {
    /// Starts a program in a namespace, or here without one, and waits until the path `ready` answers 200. `wrapper` is
    /// a command that ends in executing its arguments.
    pub fn start(
        program: &'static str,
        wrapper: &[&str],
        arguments: &[String],
        ready: &str,
        namespace: Option<&Namespace>,
    ) -> Self {
        let tool = tool(program);
        let mut words = Vec::new();
        if let Some(namespace) = namespace {
            words.extend(["ip", "netns", "exec", namespace.name()]);
        }
        words.extend(wrapper);
        words.push(tool.to_str().unwrap());
        words.extend(arguments.iter().map(String::as_str));
        words.push("--web.listen-address=127.0.0.1:0");
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        let mut process = Process::spawn(program, command);
        let address = poll_for(&format!("{program} listens"), SOON, || {
            let status = process.child.try_wait().unwrap();
            assert!(status.is_none(), "{program} ended: {status:?}");
            listening_address(&process.log())
        });
        let server = Self {
            process,
            address,
            namespace: namespace.map(Namespace::handle),
        };
        poll_for(&format!("{program} is ready"), SOON, || {
            let answer = server.get(ready);
            answer.ok().filter(|response| response.status == 200)
        });
        server
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has written to standard error so far.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// What it answers to a GET, as JSON.
    pub(crate) fn json(&self, path: &str) -> Value {
        let response = self.get(path).unwrap();
        assert_eq!(response.status, 200, "GET {path}: {}", response.text());
        serde_json::from_slice(&response.body).unwrap()
    }

    /// What it answers to a GET.
    pub fn get(&self, path: &str) -> std::io::Result<http::Response> {
        inside(self.namespace.as_ref(), || {
            http::try_request(self.address, "GET", path, &[])
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.child.id()
    }
}

/// A program that `tests/run.sh` has fetched.
pub fn tool(program: &str) -> PathBuf {
    let tools = env::var_os("NETDROP_TEST_TOOLS").map_or_else(|| TOOLS.into(), PathBuf::from);
    let path = tools.join(program);
    assert!(
        path.is_file(),
        "there is no {}: run tests/run.sh tools, or set NETDROP_TEST_TOOLS",
        path.display()
    );
    path
}

/// The address that the last whole line `msg="Listening on" ... address=127.0.0.1:39979` names. Asked for port
/// 0, only this line has the port (exporter-toolkit, `web/tls_config.go`).
fn listening_address(log: &str) -> Option<SocketAddr> {
    let (whole, _) = log.rsplit_once('\n')?;
    let line = whole
        .lines()
        .rfind(|line| line.contains("\"Listening on\""))?;
    let (_, address) = line.split_once(" address=")?;
    address.split_whitespace().next()?.parse().ok()
}
