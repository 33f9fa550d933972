//! What a cgroup's path says about whose it is: a systemd unit, a container, a pod. Pure.
//!
//! A path is that of the unified hierarchy (cgroup v2), from its root, as in `/proc/PID/cgroup` after `0::`. Who
//! writes which paths: systemd.slice(5) and systemd.scope(5); the kubelet in
//! `pkg/kubelet/cm/cgroup_manager_linux.go`; the runtimes each in their own code. The tests have a real path of each.
//!
//! The names are those that the owner of a subtree gave. A user with a delegated subtree can call a cgroup
//! there what a runtime would call it.

use std::{borrow::Cow, fmt::Write};

use super::name;

#[cfg(test)]
mod tests;

/// Where the beginning of a path is missing because it was too long.
pub const CUT: &str = "…";

/// The longest name of a workload, in bytes. Units are called up to 255 (`UNIT_NAME_MAX`), hardly any over 80.
const MAX_NAME: usize = 100;

/// Digits of a container's id that name it, as in `docker ps`.
const SHORT_ID: usize = 12;

/// What kind of thing a workload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A systemd unit.
    Service,
    /// A container, in a pod or not.
    Container,
    /// A Kubernetes pod, where no container of it is known.
    Pod,
    /// Any other cgroup.
    Other,
}

impl Kind {
    /// The value of the label `kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Container => "container",
            Self::Pod => "pod",
            Self::Other => "other",
        }
    }
}

/// Whose a cgroup is. Texts are empty where the path does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// What it is.
    pub kind: Kind,
    /// The unit, the first 12 digits of the container's id, or the pod's uid.
    pub name: String,
    /// The systemd unit that the cgroup is of or in.
    pub unit: String,
    /// `runtime://id`, as kube-state-metrics writes it.
    pub container_id: String,
    /// As Kubernetes writes it, with hyphens.
    pub pod_uid: String,
    /// The container runtime.
    pub runtime: &'static str,
}

impl Workload {
    /// Reads it from a path; `None` for the root, which belongs to the kernel and to nobody.
    ///
    /// Containers come before units, and the outermost pod or container counts: what runs in it, other containers
    /// too, belongs to it. Kubernetes in a container (kind, k3d) is the exception: its pods come before
    /// that container.
    pub fn of_cgroup(path: &[u8]) -> Option<Self> {
        let parts: Vec<Cow<'_, str>> = path
            .split(|&byte| byte == b'/')
            .filter(|part| !part.is_empty())
            .map(text)
            .collect();
        let last = parts.last()?;
        let unit = unit(&parts).unwrap_or_default();
        let found = pod(&parts)
            .or_else(|| container(&parts, 0, false))
            .unwrap_or_default();
        let (kind, name) = if let Some(name) = found.container_name {
            (Kind::Container, name)
        } else if !found.pod_uid.is_empty() {
            (Kind::Pod, found.pod_uid.clone())
        } else if !unit.is_empty() {
            (Kind::Service, unit.to_owned())
        } else {
            (Kind::Other, unknown(last, parts.first()))
        };
        Some(Self {
            kind,
            name: shortened(name),
            unit: shortened(unit.to_owned()),
            container_id: found.container_id,
            pod_uid: found.pod_uid,
            runtime: found.runtime,
        })
    }

    /// What stands for cgroups whose paths are not known.
    pub fn other() -> Self {
        Self {
            kind: Kind::Other,
            name: super::netns::OTHER.to_owned(),
            unit: String::new(),
            container_id: String::new(),
            pod_uid: String::new(),
            runtime: "",
        }
    }

    /// The pod that it is in, without the container; itself where there is none. A pod's containers share its
    /// network namespace.
    pub fn without_container(&self) -> Cow<'_, Self> {
        if self.pod_uid.is_empty() || self.kind == Kind::Pod {
            return Cow::Borrowed(self);
        }
        Cow::Owned(Self {
            kind: Kind::Pod,
            name: self.pod_uid.clone(),
            pod_uid: self.pod_uid.clone(),
            runtime: self.runtime,
            ..Self::other_texts()
        })
    }

    fn other_texts() -> Self {
        Self {
            name: String::new(),
            ..Self::other()
        }
    }
}

/// A pod, a container, or a container of a pod.
#[derive(Default)]
struct Found {
    container_name: Option<String>,
    container_id: String,
    pod_uid: String,
    runtime: &'static str,
}

/// A name as a label has it. Unlike [`name::label`], it leaves the backslashes of systemd's names alone: other exporters
/// write `a\x2db.service` as it is, too.
fn text(name: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(name) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => name::label(name),
    }
}

/// The unit: the outermost that is no slice (a unit's own cgroups can be called anything), else the innermost slice.
fn unit<'a>(parts: &'a [Cow<'_, str>]) -> Option<&'a str> {
    const SUFFIXES: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];
    let is_unit = |part: &&str| SUFFIXES.iter().any(|suffix| part.ends_with(suffix));
    let mut parts = parts.iter().map(AsRef::as_ref);
    let unit = parts.clone().find(is_unit);
    unit.or_else(|| parts.rfind(|part| part.ends_with(".slice") && !part.contains(':')))
}

/// The outermost pod, and its container where the path goes that far.
fn pod(parts: &[Cow<'_, str>]) -> Option<Found> {
    let mut below_kubepods = false;
    for (at, part) in parts.iter().enumerate() {
        // containerd under a driver that its configuration does not name: `SLICE:cri-containerd:ID` in one part.
        let slice = part.split(':').next().unwrap_or(part);
        below_kubepods |= slice.contains("kubepods");
        let slice = slice.strip_suffix(".slice").unwrap_or(slice);
        let uid = if below_kubepods {
            let after = slice.rsplit_once("-pod").map(|(_, uid)| uid);
            after.or_else(|| slice.strip_prefix("pod"))
        } else {
            None
        };
        let Some(uid) = uid.filter(|uid| is_uid(uid)) else {
            continue;
        };
        return Some(Found {
            pod_uid: uid.replace('_', "-"),
            ..container(parts, at, true).unwrap_or_default()
        });
    }
    None
}

/// A UUID, or for a static pod the hash of its manifest. systemd does not allow the hyphens.
fn is_uid(uid: &str) -> bool {
    (uid.len() == 36 || uid.len() == 32)
        && uid
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || byte == b'_' || byte == b'-')
}

/// The outermost container of the parts from `first` on.
fn container(parts: &[Cow<'_, str>], first: usize, in_pod: bool) -> Option<Found> {
    let found = (first..parts.len()).find_map(|at| {
        let parent = at.checked_sub(1).map_or("", |at| parts[at].as_ref());
        let is_below_nomad = parts[..at].iter().any(|part| part == "nomad.slice");
        identified(&parts[at], parent, in_pod).or_else(|| named(&parts[at], parent, is_below_nomad))
    });
    found.map(|(runtime, id, name)| Found {
        container_name: Some(name),
        container_id: if runtime.is_empty() {
            id
        } else {
            format!("{runtime}://{id}")
        },
        pod_uid: String::new(),
        runtime,
    })
}

/// A container that is called by an id of 64 digits: its runtime, id and name.
fn identified(part: &str, parent: &str, in_pod: bool) -> Option<(&'static str, String, String)> {
    let base = part.strip_suffix(".scope").unwrap_or(part);
    let at = base.rfind(['-', ':']).map_or(0, |at| at + 1);
    let (prefix, id) = base.split_at(at);
    if id.len() != 64 || !id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    // Of `SLICE:cri-containerd:` only the middle.
    let prefix = prefix.trim_end_matches(['-', ':']);
    let runtime = match prefix.rsplit(':').next().unwrap_or(prefix) {
        "docker" => "docker",
        "cri-containerd" | "nerdctl" => "containerd",
        "crio" => "cri-o",
        "libpod" | "libpod-payload" => "podman",
        "" => runtime_of(parent, in_pod),
        // For one, the monitors of containers (`crio-conmon-`, `libpod-conmon-`).
        _ => return None,
    };
    Some((runtime, id.to_owned(), id[..SHORT_ID].to_owned()))
}

/// The runtime that calls its cgroups by the id alone, as the cgroupfs drivers of Docker and containerd do.
fn runtime_of(parent: &str, in_pod: bool) -> &'static str {
    match parent {
        "docker" => "docker",
        // Namespaces of containerd's.
        "default" | "k8s.io" => "containerd",
        // Docker's pods look the same, but the kubelet has not come with a driver for it since 1.24.
        _ if in_pod => "containerd",
        _ => "",
    }
}

/// A container that has a name of its own: its runtime, id and name.
fn named(part: &str, parent: &str, below_nomad: bool) -> Option<(&'static str, String, String)> {
    let same = |runtime, name: &str| {
        let is_empty = name.is_empty();
        (!is_empty).then(|| (runtime, shortened(name.to_owned()), name.to_owned()))
    };
    let machine = |name: &str| same("nspawn", &unescaped(name));
    if let Some(name) = part.strip_prefix("lxc.payload.") {
        return same("lxc", name);
    }
    if matches!(parent, "lxc" | "lxc.payload") {
        return same("lxc", part);
    }
    if let Some(name) = between(part, "systemd-nspawn@", ".service") {
        return machine(name);
    }
    // Virtual machines are registered like that, too.
    if let Some(name) = between(part, "machine-", ".scope")
        && !name.starts_with("qemu")
    {
        return machine(name);
    }
    // `ALLOCATION.TASK.scope`.
    if below_nomad
        && let Some((allocation, task)) =
            between(part, "", ".scope").and_then(|s| s.split_once('.'))
        && allocation.len() == 36
        && is_uid(allocation)
    {
        // Nomad's own short form of an allocation.
        let name = format!("{}.{task}", &allocation[..8]);
        return Some(("nomad", format!("{allocation}.{task}"), name));
    }
    None
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    text.strip_prefix(begin)?.strip_suffix(end)
}

/// A part of a unit's name without systemd's escapes (`\x2d`, `unit_name_unescape`).
fn unescaped(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, after)) = rest.split_once(r"\x") {
        plain.push_str(before);
        let byte = after.get(..2).and_then(|d| u8::from_str_radix(d, 16).ok());
        match byte.filter(u8::is_ascii_graphic) {
            Some(byte) => {
                plain.push(byte.into());
                rest = &after[2..];
            }
            None => {
                plain.push_str(r"\x");
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

/// A name for a cgroup of which nothing is known but its path.
fn unknown(last: &str, first: Option<&Cow<'_, str>>) -> String {
    let mut name = String::new();
    if first.is_some_and(|first| first == CUT) && last != CUT {
        // Writing to a string cannot fail.
        write!(name, "{CUT}/").ok();
    } else if last == super::netns::OTHER {
        // This value has a meaning of its own.
        name.push('/');
    }
    name + last
}

fn shortened(mut name: String) -> String {
    if name.len() > MAX_NAME {
        name.truncate(name.floor_char_boundary(MAX_NAME - CUT.len()));
        name.push_str(CUT);
    }
    name
}
