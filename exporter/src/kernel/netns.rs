//! Network namespaces: which one is the exporter's own, and what the others are called.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::name::Name;

/// `netns` of the exporter's own network namespace.
pub const HOST: &str = "host";

/// `netns` of the namespaces that are not told apart, and `device` of the devices that are not.
pub const OTHER: &str = "other";

/// Where ip-netns(8) keeps the names of namespaces.
pub const RUN_NETNS: &str = "/run/netns";

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
    /// The names now, and those of the drain before: the last drops of a namespace are drained
    /// after it was deleted. Not longer, because inodes are used again.
    generations: [HashMap<u32, Name>; 2],
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
            generations: Default::default(),
        })
    }

    /// The inode of the exporter's own namespace.
    pub fn own(&self) -> u32 {
        self.own
    }

    /// The label of another namespace; `None` if it is not to have one.
    pub fn name(&self, inode: u32) -> Option<Name> {
        if let Scope::Own = self.scope {
            return None;
        }
        let known = self.generations.iter().find_map(|names| names.get(&inode));
        Some(known.map_or_else(|| inode.to_string().as_str().into(), Name::clone))
    }

    /// Learns the names that there are now; once for each drain.
    pub fn refresh(&mut self) {
        let Scope::All(directory) = &self.scope else {
            return;
        };
        self.generations.swap(0, 1);
        self.generations[0] = list(directory);
    }
}

/// Inodes to names. Without the directory no namespace has a name.
fn list(directory: &Path) -> HashMap<u32, Name> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let inode = fs::metadata(entry.path()).ok()?.ino();
            let name = Name::from(entry.file_name().as_os_str());
            // These label values have a meaning of their own; a namespace called so keeps its
            // number.
            let is_free = name != HOST && name != OTHER;
            is_free.then_some((u32::try_from(inode).ok()?, name))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn namespaces_are_told_apart_by_the_bytes_of_their_names() {
        let directory = tempfile::tempdir().unwrap();
        // Any four namespaces will do.
        let names: [(&[u8], _); 4] = [
            (b"\xb9\xfa", "/proc/self/ns/net"),
            (b"\xba\xe8", "/proc/self/ns/mnt"),
            (b"a\nb", "/proc/self/ns/uts"),
            (b"host", "/proc/self/ns/ipc"),
        ];
        let inodes = names.map(|(name, namespace)| {
            let path = directory.path().join(Name::from(name).as_os_str());
            symlink(namespace, path).unwrap();
            fs::metadata(namespace).unwrap().ino()
        });
        let scope = Scope::All(directory.path().to_owned());
        let mut namespaces = Namespaces::open("/proc".as_ref(), scope).unwrap();
        namespaces.refresh();
        let labels = inodes.map(|inode| {
            let name = namespaces.name(inode.try_into().unwrap()).unwrap();
            name.label().into_owned()
        });
        // `host` is what the exporter's own is called, so this one keeps its number.
        let number = inodes[3].to_string();
        assert_eq!(labels, [r"\xb9\xfa", r"\xba\xe8", "a\nb", &number]);
    }
}
