//! Network namespaces: which one is the exporter's own, and what the others are called.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;

use super::series::{HOST, OTHER};

/// Where ip-netns(8) keeps the names of namespaces.
pub const RUN_NETNS: &str = "/run/netns";

/// How long the name of a namespace is remembered after it was last seen. Its last drops are
/// drained after it was deleted.
const REMEMBER: Duration = Duration::from_secs(60);

/// Which namespaces get a label of their own.
pub enum Scope {
    /// Only the exporter's own.
    Own,
    /// All: by their name in this directory, else by their inode.
    All(PathBuf),
}

/// Inodes of network namespaces to names.
pub struct Namespaces {
    own: u32,
    scope: Scope,
    /// Filled from the directory at each drain, emptied of what has been gone for [`REMEMBER`].
    names: HashMap<u32, (Arc<str>, Instant)>,
}

impl Namespaces {
    /// Finds the own namespace from `<procfs>/self/ns/net`.
    ///
    /// # Errors
    ///
    /// That file is not there.
    pub fn open(procfs: &Path, scope: Scope) -> anyhow::Result<Self> {
        let path = procfs.join("self/ns/net");
        let own = fs::metadata(&path)
            .with_context(|| {
                format!(
                    "no network namespace at {} (is --path.procfs right?)",
                    path.display()
                )
            })?
            .ino();
        // The kernel numbers namespaces with 32 bits (`ns_common.inum`, include/linux/ns_common.h).
        let own = u32::try_from(own).context("the inode of the network namespace is too large")?;
        Ok(Self {
            own,
            scope,
            names: HashMap::new(),
        })
    }

    /// The inode of the exporter's own namespace.
    pub fn own(&self) -> u32 {
        self.own
    }

    /// The label of another namespace; `None` if it is not to have one.
    pub fn name(&self, inode: u32) -> Option<Arc<str>> {
        match (&self.scope, self.names.get(&inode)) {
            (Scope::Own, _) => None,
            (Scope::All(_), Some((name, _))) => Some(Arc::clone(name)),
            (Scope::All(_), None) => Some(inode.to_string().into()),
        }
    }

    /// Learns the names that there are now.
    pub fn refresh(&mut self, now: Instant) {
        let Scope::All(directory) = &self.scope else {
            return;
        };
        // No directory: no namespace has a name.
        for entry in fs::read_dir(directory)
            .into_iter()
            .flatten()
            .filter_map(Result::ok)
        {
            let inode = fs::metadata(entry.path()).map(|namespace| namespace.ino());
            if let Ok(inode) = inode
                && let Ok(inode) = u32::try_from(inode)
            {
                let name = entry.file_name().to_string_lossy().into_owned();
                // These label values have a meaning of their own; a namespace called so keeps its
                // number.
                if !matches!(name.as_str(), HOST | OTHER) {
                    self.names.insert(inode, (name.into(), now));
                }
            }
        }
        self.names
            .retain(|_, (_, seen)| now.saturating_duration_since(*seen) < REMEMBER);
    }
}
