//! Provides the BPF object that the exporter embeds, as `OUT_DIR/netdrop.bpf.o`.
//!
//! Few machines have what it takes to compile for BPF, so the built object is committed in `bpf/`,
//! with a record: the SHA-256 of the object and of every file in `exporter-ebpf/`, which together
//! decide its bytes. While all of them match, the committed object is taken. Otherwise
//! `exporter-ebpf/build.sh` builds it, or the build stops. `NETDROP_BPF=source` always builds it,
//! `NETDROP_BPF=committed` never does.
//!
//! The published crate has the object and, as `src/abi.rs`, the source that both sides share, but
//! not the others. There, these two files must match.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

/// Chooses where the object comes from: unset, `source` or `committed`.
const MODE_VARIABLE: &str = "NETDROP_BPF";

/// The committed object, in the package.
const OBJECT: &str = "bpf/netdrop.bpf.o";
/// Its record, in the format of sha256sum(1).
const RECORD: &str = "bpf/netdrop.bpf.sha256";

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
    let directory = |name| env::var_os(name).map(PathBuf::from).context("run by cargo");
    let (package, out_dir) = (directory("CARGO_MANIFEST_DIR")?, directory("OUT_DIR")?);
    let sources = package.join("../exporter-ebpf");
    if sources.exists() {
        provide_revision(&package.join(".."));
    }
    println!("cargo::rerun-if-env-changed={MODE_VARIABLE}");
    let mode = env::var(MODE_VARIABLE).unwrap_or_default();
    let stale = find_stale(&package, &sources)?
        .map(|file| format!("{file} is not as exporter/bpf/netdrop.bpf.sha256 records it"));
    match (&*mode, stale) {
        ("" | "committed", None) => {
            let copied = fs::copy(package.join(OBJECT), out_dir.join("netdrop.bpf.o"));
            copied.map(drop).context("copy the committed object")
        }
        ("source", _) => build(&sources, &out_dir),
        ("", Some(reason)) => {
            println!("cargo::warning={reason}; building the BPF object from source");
            build(&sources, &out_dir).context(reason)
        }
        ("committed", Some(reason)) => bail!(
            "{reason}, and {MODE_VARIABLE}=committed forbids building it \
             (packaging/bpf-object.sh --update refreshes it)"
        ),
        _ => bail!("{MODE_VARIABLE} must be source, committed or unset"),
    }
}

/// A file that is not as the record has it: changed, new or missing.
fn find_stale(package: &Path, sources: &Path) -> Result<Option<String>> {
    let mut found = BTreeSet::new();
    hash_all(
        &package.join(OBJECT),
        "exporter/bpf/netdrop.bpf.o",
        &mut found,
    )?;
    hash_all(
        &package.join("src/abi.rs"),
        "exporter-ebpf/src/lib.rs",
        &mut found,
    )?;
    hash_all(sources, "exporter-ebpf", &mut found)?;
    watch(&package.join(RECORD));
    let record = fs::read_to_string(package.join(RECORD)).unwrap_or_default();
    let lines = record.lines().filter(|line| !line.starts_with('#'));
    let recorded: BTreeSet<String> = lines.map(str::to_owned).collect();
    let stale = if sources.exists() {
        recorded.symmetric_difference(&found).next()
    } else {
        found.difference(&recorded).next()
    };
    Ok(stale
        .and_then(|line| line.split_whitespace().last())
        .map(str::to_owned))
}

/// Adds a line, as the record has it, for a file or for all files in a directory, if there is one.
fn hash_all(path: &Path, name: &str, lines: &mut BTreeSet<String>) -> Result<()> {
    let context = || format!("read {}", path.display());
    if path.exists() {
        watch(path);
    }
    if path.is_dir() {
        for entry in fs::read_dir(path).with_context(context)? {
            let entry = entry.with_context(context)?;
            let name = format!("{name}/{}", entry.file_name().display());
            hash_all(&entry.path(), &name, lines)?;
        }
    } else if path.exists() {
        let hash = Sha256::digest(fs::read(path).with_context(context)?);
        lines.insert(format!("{hash:x}  {name}"));
    }
    Ok(())
}

/// Builds the object from source with the tools of this machine.
fn build(sources: &Path, out_dir: &Path) -> Result<()> {
    ensure!(
        sources.exists(),
        "this crate has no sources of the BPF program, the repository has"
    );
    let output = Command::new(sources.join("build.sh")).arg(out_dir).output();
    let output = output.context("run exporter-ebpf/build.sh")?;
    let messages = String::from_utf8_lossy(&output.stderr);
    eprint!("{messages}");
    ensure!(
        output.status.success(),
        "{}",
        messages.lines().last().unwrap_or_default()
    );
    // Another version of a tool makes another object.
    let tools = String::from_utf8_lossy(&output.stdout);
    tools.lines().for_each(|tool| watch(Path::new(tool)));
    Ok(())
}

/// Has cargo come back when this file, or one in this directory, changes.
fn watch(path: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
}

/// Tells the program which commit it is, unless the environment does or there is no git.
fn provide_revision(repository: &Path) {
    println!("cargo::rerun-if-env-changed={REVISION_VARIABLE}");
    if env::var_os(REVISION_VARIABLE).is_some() {
        return;
    }
    // Written with every commit and checkout.
    let log = repository.join(".git/logs/HEAD");
    if !log.exists() {
        return;
    }
    watch(&log);
    let git = Command::new("git")
        .current_dir(repository)
        .args(["rev-parse", "--short=12", "HEAD"])
        .output();
    if let Ok(output) = git
        && output.status.success()
    {
        let revision = String::from_utf8_lossy(&output.stdout);
        println!("cargo::rustc-env={REVISION_VARIABLE}={}", revision.trim());
    }
}
