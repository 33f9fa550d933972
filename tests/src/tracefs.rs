//! An independent witness: the kernel's own trace of `skb:kfree_skb` in a tracing instance of the test's own
//! (`Documentation/trace/ftrace.rst`, `events.rst`). Linux 5.17 and later, whose events name a reason.
//!
//! What a drop's reason and function are called, and how many there were, is taken from here and never from
//! the code under test.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// A tracing instance that records drops from its creation on; removed on drop.
#[derive(Debug)]
pub struct Witness {
    instance: PathBuf,
    // The paths above lead through this descriptor.
    _tracefs: OwnedFd,
}

/// One dropped packet as the kernel prints it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Drop {
    /// The kernel's name of the reason, without `SKB_DROP_REASON_`.
    pub reason: String,
    /// The function that freed the packet, without offset and without suffixes such as `.constprop.0`.
    pub function: String,
    /// The packet's EtherType.
    pub protocol: u16,
}

impl Witness {
    /// Watches every drop of the machine.
    pub fn of_all() -> Self {
        Self::with_filter(None)
    }

    /// Watches the drops of packets with one EtherType.
    pub fn of_protocol(ethertype: u16) -> Self {
        Self::with_filter(Some(&format!("protocol == {ethertype:#x}")))
    }

    fn with_filter(filter: Option<&str>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let tracefs = mount();
        let name = format!(
            "nd{}-{}",
            process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let instance = PathBuf::from(format!(
            "/proc/self/fd/{}/instances/{name}",
            tracefs.as_raw_fd()
        ));
        fs::create_dir(&instance)
            .unwrap_or_else(|error| panic!("cannot create a tracing instance: {error}"));
        let witness = Self {
            instance,
            _tracefs: tracefs,
        };
        if let Some(filter) = filter {
            witness.write("events/skb/kfree_skb/filter", filter);
        }
        witness.write("events/skb/kfree_skb/enable", "1");
        witness
    }

    /// How many drops there were so far. Exact also when the buffer has wrapped.
    ///
    /// # Panics
    /// When the ring buffer had to refuse an event, so that nobody knows the number.
    pub fn count(&self) -> u64 {
        let mut total = 0;
        for entry in fs::read_dir(self.instance.join("per_cpu")).unwrap() {
            let stats = read(&entry.unwrap().path().join("stats"));
            let refused = stat(&stats, "commit overrun") + stat(&stats, "dropped events");
            assert_eq!(refused, 0, "the ring buffer refused {refused} events");
            total += stat(&stats, "entries") + stat(&stats, "overrun");
        }
        total
    }

    /// The drops that are still in the buffer (about 20,000 per CPU), in the order of time.
    pub fn drops(&self) -> Vec<Drop> {
        read(&self.instance.join("trace"))
            .lines()
            .filter(|line| line.contains(" kfree_skb: "))
            .map(|line| parse(line).unwrap_or_else(|| panic!("not a drop: {line}")))
            .collect()
    }

    /// How many drops of each kind are still in the buffer.
    pub fn kinds(&self) -> BTreeMap<Drop, u64> {
        let mut kinds = BTreeMap::new();
        for drop in self.drops() {
            *kinds.entry(drop).or_default() += 1;
        }
        kinds
    }

    /// The one kind of drop that this witness saw.
    ///
    /// # Panics
    /// When it saw none or several.
    pub fn only_kind(&self) -> Drop {
        let kinds = self.kinds();
        let mut names = kinds.keys();
        match (names.next(), names.next()) {
            (Some(kind), None) => kind.clone(),
            _ => panic!("expected one kind of drop, not {kinds:?}"),
        }
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.instance.join(file), text)
            .unwrap_or_else(|error| panic!("cannot write {text:?} to tracefs {file}: {error}"));
    }
}

impl std::ops::Drop for Witness {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.instance) {
            eprintln!("cannot remove {}: {error}", self.instance.display());
        }
    }
}

/// A mount of tracefs that has no place in the file tree: nobody else sees it, and closing it ends it.
fn mount() -> OwnedFd {
    let context = fsopen("tracefs", FsOpenFlags::FSOPEN_CLOEXEC)
        .unwrap_or_else(|error| panic!("this kernel has no tracefs: {error}"));
    fsconfig_create(&context).unwrap();
    fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )
    .unwrap()
}

/// A line such as
/// `curl-9 [001] ..s2. 7.1: kfree_skb: skbaddr=0 rx_sk=0 protocol=2048 location=tcp_v4_rcv+0x1/0x2 reason: NO_SOCKET`.
fn parse(line: &str) -> Option<Drop> {
    let after = |key: &str| {
        let rest = line.split_once(key)?.1;
        rest.split_whitespace().next()
    };
    let symbol = after("location=")?;
    let function = symbol.split(['+', '.']).next()?;
    Some(Drop {
        reason: after("reason: ")?.to_owned(),
        function: function.to_owned(),
        protocol: after("protocol=")?.parse().ok()?,
    })
}

fn stat(stats: &str, name: &str) -> u64 {
    stats
        .lines()
        .find_map(|line| {
            line.strip_prefix(name)?
                .strip_prefix(": ")?
                .trim()
                .parse()
                .ok()
        })
        .unwrap_or_else(|| panic!("no {name} in {stats}"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_line_gives_reason_function_and_protocol() {
        // From `cat trace` on Linux 6.18.
        let line = "  python3-1 [001] b..1. 12.5: kfree_skb: skbaddr=00000000a1 rx_sk=0000000000000000 \
                    protocol=34997 location=__netif_receive_skb_core.constprop.0+0x1a4/0xd30 \
                    reason: UNHANDLED_PROTO";
        assert_eq!(
            parse(line),
            Some(Drop {
                reason: "UNHANDLED_PROTO".to_owned(),
                function: "__netif_receive_skb_core".to_owned(),
                protocol: 0x88b5,
            })
        );
    }

    #[test]
    fn a_line_without_a_reason_is_not_a_drop() {
        assert_eq!(parse("x: kfree_skb: protocol=1 location=f+0x1/0x2"), None);
    }

    #[test]
    fn counts_are_found_by_their_whole_name() {
        let stats = "entries: 5\noverrun: 7\ncommit overrun: 1\n";
        assert_eq!(stat(stats, "overrun"), 7);
        assert_eq!(stat(stats, "commit overrun"), 1);
    }
}
