//! What the kernel's drop reasons are called, and what kind of drop each is.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use super::btf;
use crate::heap;

mod category;
mod names;

pub use category::{Category, UnknownCategory, category, meaning};
pub use names::{ReasonNames, module_reason_names, reason_names};

/// Reasons above this number belong to a subsystem, which may be a module with names of its own
/// (`SKB_DROP_REASON_SUBSYS_SHIFT`, `include/net/dropreason-core.h`).
const LAST_CORE_REASON: u32 = 0xffff;

/// How often at most the BTF of modules is searched for a reason without a name. A search reads
/// all of it.
const MODULE_SEARCH_INTERVAL: Duration = Duration::from_secs(60);

/// Reason numbers to labels and categories.
pub struct Reasons {
    /// None where the tracepoint gives no reason.
    names: Option<ReasonNames>,
    /// What has been looked up; at most one for each reason that occurs.
    labels: HashMap<u32, (Arc<str>, Category)>,
    sysfs: PathBuf,
    last_search: Option<Instant>,
    /// The modules that there were in the last search.
    searched: Vec<OsString>,
}

impl Reasons {
    /// Reasons with the names of the kernel's own BTF. Those of modules are searched in
    /// `<sysfs>/kernel/btf` when one occurs.
    pub fn new(names: Option<ReasonNames>, sysfs: PathBuf) -> Self {
        Self {
            names,
            labels: HashMap::new(),
            sysfs,
            last_search: None,
            searched: Vec::new(),
        }
    }

    /// The label of a reason, and its category.
    pub fn label(&mut self, reason: u32) -> (Arc<str>, Category) {
        let (label, category) = self.labels.entry(reason).or_insert_with(|| {
            let label = match &self.names {
                Some(names) => names.label(reason),
                None => "".into(),
            };
            let category = category(&label);
            (label.into(), category)
        });
        (Arc::clone(label), *category)
    }

    /// Looks for names in the BTF of modules if a reason of a subsystem has none yet. After a search
    /// in vain the next one waits for a module to come or go.
    pub fn search_modules(&mut self, mut reasons: impl Iterator<Item = u32>, now: Instant) {
        let Some(names) = &mut self.names else { return };
        let nameless = |reason| reason > LAST_CORE_REASON && !names.contains(reason);
        let recently = |last| now.saturating_duration_since(last) < MODULE_SEARCH_INTERVAL;
        if !reasons.any(nameless) || self.last_search.is_some_and(recently) {
            return;
        }
        self.last_search = Some(now);
        let directory = self.sysfs.join("kernel/btf");
        let modules = list(&directory);
        if modules == self.searched {
            return;
        }
        self.searched = modules;
        match btf::open_vmlinux(&self.sysfs) {
            Ok(base) => {
                names.merge(module_reason_names(&base, &directory));
                // A number may have been served as a label already; from now on it has its name.
                self.labels.retain(|&reason, _| reason <= LAST_CORE_REASON);
            }
            Err(e) => log::debug!("cannot look for the drop reasons of modules: {e}"),
        }
        heap::trim();
    }
}

/// The names of the files in a directory, in order; none if it cannot be read.
fn list(directory: &Path) -> Vec<OsString> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|entry| entry.file_name())
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests;
