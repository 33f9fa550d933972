//! Starting the exporter: where, as whom, with which flags, and how its end is waited for.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::exporter::Exporter;
use crate::http;
use crate::netns::{Handle, Namespace};
use crate::process::{Ended, Process};
use crate::wait::{SOON, poll_for};

const BINARY: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../target/release/netdrop-exporter"
);

/// What the exporter logs in front of each address that it listens on, and the scheme.
const LISTENING: &str = "listening on http";

/// Becomes `nobody` (setpriv(1)).
const AS_NOBODY: [&str; 4] = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
];

/// Who runs the exporter.
#[derive(Debug, Default, Clone, Copy)]
enum User {
    #[default]
    Root,
    /// `nobody`, who has these capabilities and cannot get others.
    Nobody(&'static [&'static str]),
    /// `nobody` without any, but the binary has these (setcap(8)).
    NobodyWithFile(&'static [&'static str]),
}

/// How to start the exporter.
#[derive(Debug, Default)]
pub struct Launch {
    arguments: Vec<String>,
    namespace: Option<(String, Handle)>,
    wrapper: Vec<String>,
    environment: Vec<(String, String)>,
    user: User,
}

impl Launch {
    /// Adds flags.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments
            .extend(arguments.iter().map(|&word| word.to_owned()));
        self
    }

    /// Runs it inside a namespace, with a `/sys` that shows this namespace (`ip netns exec`).
    #[must_use]
    pub fn namespace(mut self, namespace: &Namespace) -> Self {
        self.namespace = Some((namespace.name().to_owned(), namespace.handle()));
        self
    }

    /// Runs it as `nobody` without any capability.
    #[must_use]
    pub fn as_nobody(self) -> Self {
        self.as_nobody_with(&[])
    }

    /// Runs it as `nobody` with just these capabilities, such as `bpf`.
    #[must_use]
    pub fn as_nobody_with(mut self, capabilities: &'static [&'static str]) -> Self {
        self.user = User::Nobody(capabilities);
        self
    }

    /// Runs it as `nobody`, with these capabilities on the binary.
    #[must_use]
    pub fn as_nobody_with_file(mut self, capabilities: &'static [&'static str]) -> Self {
        self.user = User::NobodyWithFile(capabilities);
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs it by a command that ends in executing its arguments, such as `unshare -m`.
    #[must_use]
    pub fn wrapper(mut self, command: &[impl AsRef<str>]) -> Self {
        self.wrapper = command
            .iter()
            .map(|word| word.as_ref().to_owned())
            .collect();
        self
    }

    /// Starts it and waits until `/-/ready` answers 200, or that it wants TLS.
    pub fn start(mut self) -> Exporter {
        if !self
            .arguments
            .iter()
            .any(|flag| flag.starts_with("--web.listen-address"))
        {
            self.arguments
                .push("--web.listen-address=127.0.0.1:0".to_owned());
        }
        let (mut process, copy) = self.spawn();
        let address = poll_for("the exporter listens", SOON, || {
            let status = process.child.try_wait().unwrap();
            // The address first: it may have been the last word before the end.
            let address = listening_address(&process.log());
            assert!(
                address.is_some() || status.is_none(),
                "the exporter ended: {status:?}"
            );
            address
        });
        let namespace = self.namespace.map(|(_, handle)| handle);
        poll_for("the exporter is ready", SOON, || {
            let answer = inside(namespace.as_ref(), || {
                http::try_request(address, "GET", "/-/ready", &[])
            });
            // With TLS it answers that it wants TLS.
            answer
                .ok()
                .filter(|response| [200, 400].contains(&response.status))
        });
        Exporter {
            process,
            address,
            namespace,
            _copy: copy,
        }
    }

    /// Starts it and waits for its end, which the test expects without a signal.
    pub fn run(self) -> Ended {
        let (mut process, _copy) = self.spawn();
        process.end()
    }

    /// The running exporter, and where its binary is if it had to be copied.
    fn spawn(&self) -> (Process, Option<TempDir>) {
        let (binary, copy) = self.binary();
        let mut words = Vec::new();
        if let Some((name, _)) = &self.namespace {
            words.extend(["ip", "netns", "exec", name]);
        }
        words.extend(self.wrapper.iter().map(String::as_str));
        let become_user = self.user.command();
        words.extend(become_user.iter().map(String::as_str));
        words.push(binary.to_str().unwrap());
        words.extend(self.arguments.iter().map(String::as_str));
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .env_remove("RUST_LOG")
            .envs(self.environment.iter().cloned());
        (Process::spawn("the exporter", command), copy)
    }

    /// The binary, copied to where `nobody` may read it if need be: a clone often lies in a private home.
    fn binary(&self) -> (PathBuf, Option<TempDir>) {
        let built = binary();
        if let User::Root = self.user {
            return (built, None);
        }
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let copy = directory.path().join("netdrop-exporter");
        fs::copy(&built, &copy).unwrap();
        fs::set_permissions(&copy, PermissionsExt::from_mode(0o755)).unwrap();
        if let User::NobodyWithFile(capabilities) = self.user {
            set_capabilities(&copy, capabilities);
        }
        (copy, Some(directory))
    }
}

impl User {
    /// The command that becomes this user.
    fn command(self) -> Vec<String> {
        let (process, possible) = match self {
            Self::Root => return Vec::new(),
            Self::Nobody(capabilities) => (capabilities, capabilities),
            Self::NobodyWithFile(capabilities) => (&[][..], capabilities),
        };
        let just = |option: &str, capabilities: &[&str]| {
            let added = capabilities.iter().map(|name| format!(",+{name}"));
            format!("--{option}=-all{}", added.collect::<String>())
        };
        let sets = [
            just("inh-caps", process),
            just("ambient-caps", process),
            just("bounding-set", possible),
        ];
        AS_NOBODY
            .iter()
            .map(|&word| word.to_owned())
            .chain(sets)
            .collect()
    }
}

fn set_capabilities(binary: &Path, capabilities: &[&str]) {
    let names: Vec<_> = capabilities
        .iter()
        .map(|name| format!("cap_{name}"))
        .collect();
    let status = Command::new("setcap")
        .arg(format!("{}+ep", names.join(",")))
        .arg(binary)
        .status()
        .unwrap_or_else(|error| panic!("cannot run setcap: {error}"));
    assert!(status.success(), "setcap: {status}");
}

/// The binary under test.
pub fn binary() -> PathBuf {
    let built = env::var_os("NETDROP_EXPORTER_BIN").map_or_else(|| BINARY.into(), PathBuf::from);
    assert!(
        built.is_file(),
        "there is no exporter at {}: run cargo build --release, or set NETDROP_EXPORTER_BIN",
        built.display()
    );
    built
}

fn listening_address(log: &str) -> Option<SocketAddr> {
    let (_, rest) = log.split_once(LISTENING)?;
    // A line still being written may end within the port.
    let (address, _) = rest.split_once('\n')?;
    let (_, address) = address.split_once("://")?;
    address
        .split_whitespace()
        .next()?
        .trim_end_matches('/')
        .parse()
        .ok()
}

/// Does something in a namespace, or here without one.
pub(crate) fn inside<T: Send>(namespace: Option<&Handle>, work: impl FnOnce() -> T + Send) -> T {
    match namespace {
        Some(namespace) => namespace.enter(work),
        None => work(),
    }
}
