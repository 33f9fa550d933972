//! A hash over everything in the repository that decides the bytes of the BPF object.
//!
//! Only what matters to the object goes in: a new version of some other dependency or a changed
//! comment in the workspace manifest must not make the committed object stale.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::toolchain;

/// Files and directories that [`digest`] reads, relative to the workspace.
pub(crate) const PATHS: [&str; 4] = [
    "exporter-ebpf/src",
    "exporter-ebpf/Cargo.toml",
    "Cargo.toml",
    "Cargo.lock",
];

/// The package whose dependencies count.
const PACKAGE: &str = "netdrop-ebpf";

/// The SHA-256, in hexadecimal, of a list of all inputs.
pub(crate) fn digest(workspace: &Path) -> Result<String> {
    let read = |name: &str| {
        fs::read_to_string(workspace.join(name)).with_context(|| format!("read {name}"))
    };
    let mut list = sources(workspace)?;
    list.extend(locked_packages(&read("Cargo.lock")?)?);
    list.extend(settings(&read("Cargo.toml")?));
    list.extend(toolchain::recipe().map(|option| format!("option {option}")));
    Ok(sha256(list.join("\n").as_bytes()))
}

/// SHA-256 in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The crate's manifest and all its sources: path and hash.
fn sources(workspace: &Path) -> Result<Vec<String>> {
    let krate = workspace.join("exporter-ebpf");
    let mut files = vec![krate.join("Cargo.toml")];
    collect_files(&krate.join("src"), &mut files)?;
    files.sort();
    let describe = |file: &PathBuf| {
        let content = fs::read(file).with_context(|| format!("read {}", file.display()))?;
        let name = file.strip_prefix(workspace)?.display();
        Ok(format!("file {name} {}", sha256(&content)))
    };
    files.iter().map(describe).collect()
}

fn collect_files(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let list = || format!("list {}", directory.display());
    for entry in fs::read_dir(directory).with_context(list)? {
        let entry = entry.with_context(list)?;
        if entry.file_type().with_context(list)?.is_dir() {
            collect_files(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// Name, version and checksum of [`PACKAGE`] and of all packages below it.
fn locked_packages(lock: &str) -> Result<BTreeSet<String>> {
    let packages: Vec<Package> = lock
        .split("[[package]]")
        .skip(1)
        .map(Package::parse)
        .collect();
    let mut reached = BTreeSet::new();
    let mut open = vec![PACKAGE];
    while let Some(wanted) = open.pop() {
        let mut found = packages
            .iter()
            .filter(|package| package.is(wanted))
            .peekable();
        ensure!(found.peek().is_some(), "Cargo.lock has no package {wanted}");
        for package in found {
            if reached.insert(package.line()) {
                open.extend(&package.dependencies);
            }
        }
    }
    Ok(reached)
}

#[derive(Default)]
struct Package<'a> {
    name: &'a str,
    version: &'a str,
    checksum: &'a str,
    /// `name`, or `name version` where the lock file has several of that name.
    dependencies: Vec<&'a str>,
}

impl<'a> Package<'a> {
    fn parse(entry: &'a str) -> Self {
        let mut package = Self::default();
        for line in entry.lines() {
            match line.split_once(" = ") {
                Some(("name", value)) => package.name = value.trim_matches('"'),
                Some(("version", value)) => package.version = value.trim_matches('"'),
                Some(("checksum", value)) => package.checksum = value.trim_matches('"'),
                // The lines of the list: ` "name version",`.
                None if line.starts_with(" \"") => {
                    package
                        .dependencies
                        .push(line.trim_matches([' ', '"', ',']));
                }
                _ => {}
            }
        }
        package
    }

    fn is(&self, dependency: &str) -> bool {
        let mut words = dependency.split(' ');
        words.next() == Some(self.name)
            && words.next().is_none_or(|version| version == self.version)
    }

    fn line(&self) -> String {
        format!("package {} {} {}", self.name, self.version, self.checksum)
    }
}

/// The edition and the effective profile: `bpf` over `release`, which it inherits from.
fn settings(manifest: &str) -> Vec<String> {
    let mut section = "";
    let mut release = BTreeMap::new();
    let mut bpf = BTreeMap::new();
    let mut settings = Vec::new();
    for line in manifest
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
    {
        if line.starts_with('[') {
            section = line;
            continue;
        }
        let Some((key, value)) = line.split_once('=').map(|(k, v)| (k.trim(), v.trim())) else {
            continue;
        };
        match section {
            "[workspace.package]" if key == "edition" => settings.push(format!("edition {value}")),
            "[profile.release]" => drop(release.insert(key, value)),
            "[profile.bpf]" => drop(bpf.insert(key, value)),
            _ => {}
        }
    }
    release.extend(bpf);
    settings.extend(
        release
            .iter()
            .map(|(key, value)| format!("profile {key} {value}")),
    );
    settings
}
