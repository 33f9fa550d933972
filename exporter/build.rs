//! Provides the BPF object that the exporter embeds, as `OUT_DIR/netdrop.bpf.o`.
//!
//! Few machines have what it takes to compile for BPF, so the object is committed beside its source
//! together with a record: a hash over all that decides its bytes, and the tools that made it.
//! Where the hash is still right, the committed object is taken; otherwise it is built anew, or the
//! build stops. `NETDROP_BPF=source` always builds it, `NETDROP_BPF=committed` never does.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};

use crate::{record::Record, toolchain::Toolchain};

#[path = "build/inputs.rs"]
mod inputs;
#[path = "build/record.rs"]
mod record;
#[path = "build/toolchain.rs"]
mod toolchain;

/// Chooses where the object comes from: unset, `source` or `committed`.
const MODE_VARIABLE: &str = "NETDROP_BPF";

/// The commit that `--version` and `netdrop_exporter_build_info` name.
const REVISION_VARIABLE: &str = "NETDROP_REVISION";

fn main() -> ExitCode {
    match provide_object() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Cargo shows one line per directive.
            let line = format!("{error:#}").replace('\n', "; ");
            println!("cargo::error=cannot provide the BPF object: {line}");
            ExitCode::FAILURE
        }
    }
}

fn provide_object() -> Result<()> {
    let paths = Paths::from_env()?;
    paths.watch();
    provide_revision(&paths.workspace);
    let inputs = inputs::digest(&paths.workspace)?;
    let committed = Committed::read(&paths, &inputs);
    match (Mode::from_env()?, committed) {
        (Mode::Source, committed) => build(&paths, &inputs, committed.record()),
        (_, Committed::Current(object, record)) => paths.store(&object, &record),
        (Mode::Committed, Committed::Unusable(reason, _)) => bail!(
            "{reason}, and {MODE_VARIABLE}=committed forbids building it \
             (packaging/bpf-object.sh --update refreshes it)"
        ),
        (Mode::Any, Committed::Unusable(reason, record)) => {
            println!("cargo::warning={reason}; building it from source");
            build(&paths, &inputs, record.as_ref()).context(reason)
        }
    }
}

/// Tells the program which commit it is, unless the environment does or there is no git.
fn provide_revision(workspace: &Path) {
    println!("cargo::rerun-if-env-changed={REVISION_VARIABLE}");
    if env::var_os(REVISION_VARIABLE).is_some() {
        return;
    }
    // Written with every commit and checkout.
    let log = workspace.join(".git/logs/HEAD");
    if !log.exists() {
        return;
    }
    println!("cargo::rerun-if-changed={}", log.display());
    let git = Command::new("git")
        .current_dir(workspace)
        .args(["rev-parse", "--short=12", "HEAD"])
        .output();
    if let Ok(output) = git
        && output.status.success()
    {
        let revision = String::from_utf8_lossy(&output.stdout);
        println!("cargo::rustc-env={REVISION_VARIABLE}={}", revision.trim());
    }
}

/// Builds the object, if it can with the tools that made the committed one.
fn build(paths: &Paths, inputs: &str, committed: Option<&Record>) -> Result<()> {
    let toolchain = Toolchain::find(committed.map(|record| record.rustc.as_str()))?;
    toolchain.watch();
    let object = toolchain.build_object(&paths.workspace, &paths.out_dir)?;
    paths.store(&object, &Record::new(inputs, &object, &toolchain))
}

enum Mode {
    /// The committed object if it is current, else from source.
    Any,
    Committed,
    Source,
}

impl Mode {
    fn from_env() -> Result<Self> {
        match env::var(MODE_VARIABLE).as_deref() {
            Err(env::VarError::NotPresent) | Ok("") => Ok(Self::Any),
            Ok("committed") => Ok(Self::Committed),
            Ok("source") => Ok(Self::Source),
            _ => bail!("{MODE_VARIABLE} must be source, committed or unset"),
        }
    }
}

/// The object in the repository.
enum Committed {
    Current(Vec<u8>, Record),
    /// Why it cannot be used, and its record if there is one.
    Unusable(&'static str, Option<Record>),
}

impl Committed {
    fn read(paths: &Paths, inputs: &str) -> Self {
        let object = fs::read(paths.committed(OBJECT));
        let record = fs::read_to_string(paths.committed(RECORD));
        let (Ok(object), Ok(record)) = (object, record) else {
            return Self::Unusable("no built BPF object is in the sources", None);
        };
        let Some(record) = Record::parse(&record) else {
            return Self::Unusable("exporter-ebpf/netdrop.bpf.toml cannot be read", None);
        };
        if record.inputs != inputs {
            let reason = "exporter-ebpf/netdrop.bpf.o was built from other sources";
            return Self::Unusable(reason, Some(record));
        }
        if record.object != inputs::sha256(&object) {
            let reason = "exporter-ebpf/netdrop.bpf.o is not the file that was recorded";
            return Self::Unusable(reason, Some(record));
        }
        Self::Current(object, record)
    }

    fn record(&self) -> Option<&Record> {
        match self {
            Self::Current(_, record) => Some(record),
            Self::Unusable(_, record) => record.as_ref(),
        }
    }
}

/// The object's name, in the sources and in `OUT_DIR`.
const OBJECT: &str = "netdrop.bpf.o";
/// The name of its [`Record`], in both places too.
const RECORD: &str = "netdrop.bpf.toml";

struct Paths {
    workspace: PathBuf,
    out_dir: PathBuf,
}

impl Paths {
    fn from_env() -> Result<Self> {
        let manifest_dir = env::var_os("CARGO_MANIFEST_DIR").context("not run by cargo")?;
        let out_dir = env::var_os("OUT_DIR").context("not run by cargo")?;
        let workspace = PathBuf::from(manifest_dir).join("..");
        Ok(Self {
            workspace: workspace.canonicalize().context("find the workspace")?,
            out_dir: out_dir.into(),
        })
    }

    fn committed(&self, name: &str) -> PathBuf {
        self.workspace.join("exporter-ebpf").join(name)
    }

    /// Tells cargo to come back when any of these changes.
    fn watch(&self) {
        println!("cargo::rerun-if-env-changed={MODE_VARIABLE}");
        for path in inputs::PATHS {
            println!(
                "cargo::rerun-if-changed={}",
                self.workspace.join(path).display()
            );
        }
        for name in [OBJECT, RECORD] {
            println!("cargo::rerun-if-changed={}", self.committed(name).display());
        }
    }

    fn store(&self, object: &[u8], record: &Record) -> Result<()> {
        fs::write(self.out_dir.join(OBJECT), object)
            .and_then(|()| fs::write(self.out_dir.join(RECORD), record.to_string()))
            .with_context(|| format!("write to {}", self.out_dir.display()))
    }
}
