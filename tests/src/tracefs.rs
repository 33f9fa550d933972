//! An independent witness: the kernel's own trace of `skb:kfree_skb` in a tracing instance of the test's own
//! (`Documentation/trace/ftrace.rst`, `events.rst`). Before 5.17 its events name no reason. Before 6.4 they give
//! the place as an address, which is one only on kernels booted with `no_hash_pointers`.
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

use crate::symbols;
use crate::wait::{SOON, try_poll};

/// For each CPU; holds some thousand drops. The kernel's default is five times as much, which takes an emulated
/// machine half a minute to print.
const BUFFER_KIB: u32 = 256;

/// What records drops from its creation on.
#[derive(Debug)]
pub struct Witness {
    all: Instance,
    in_init: Instance,
}

/// A tracing instance; removed on drop.
#[derive(Debug)]
struct Instance {
    path: PathBuf,
    // The path above leads through this descriptor.
    _tracefs: OwnedFd,
}

/// One dropped packet as the kernel prints it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Drop {
    /// The kernel's name of the reason, without `SKB_DROP_REASON_`; empty where it gives none.
    pub reason: String,
    /// The function that freed the packet, without offset and without suffixes such as `.constprop.0`.
    pub function: String,
}

impl Witness {
    /// Watches every drop of the machine.
    pub fn of_all() -> Self {
        Self::with_filter("protocol >= 0")
    }

    /// Watches the drops of packets with one EtherType.
    pub fn of_protocol(ethertype: u16) -> Self {
        Self::with_filter(&format!("protocol == {ethertype:#x}"))
    }

    /// Watches the drops of all packets but those with this EtherType.
    pub fn of_other_protocols(ethertype: u16) -> Self {
        Self::with_filter(&format!("protocol != {ethertype:#x}"))
    }

    fn with_filter(filter: &str) -> Self {
        Self {
            all: Instance::recording(filter),
            in_init: Instance::recording(&format!("({filter}) && ({})", in_process_1())),
        }
    }

    /// Begins anew, which is much cheaper than another witness.
    pub fn forget(&self) {
        for instance in [&self.all, &self.in_init] {
            // Opening it for writing empties the buffers and the counts (tracing_open, kernel/trace/trace.c).
            instance.write("trace", "");
        }
    }

    /// How many drops there were so far. Exact also when the buffer has wrapped.
    ///
    /// # Panics
    /// When the ring buffer had to refuse an event, so that nobody knows the number.
    pub fn count(&self) -> u64 {
        self.all.count()
    }

    /// Waits until it has seen this many drops; panics with what it saw if that is another number.
    pub fn expect(&self, drops: u64) {
        // A miss shows below, in more detail.
        let _seen = try_poll(SOON, || (self.count() >= drops).then_some(()));
        assert_eq!(self.count(), drops, "{:?}", self.kinds());
    }

    /// How many of them fell into the context of process 1, an interrupt's drops included.
    ///
    /// There are kernels that run no tracing program there, and count that nowhere (found on one with
    /// 6.18, where `bpf_trace_run4` compares `current->tgid` with 1).
    pub fn count_in_init(&self) -> u64 {
        self.in_init.count()
    }

    /// Asserts that `counted` is every drop that BPF programs were shown: all, or on such a kernel all
    /// but those in the context of process 1. Of the `nested` ones, any number may be among them.
    pub fn assert_all_seen(&self, counted: f64, nested: f64) {
        let (all, in_init) = (self.count(), self.count_in_init());
        let is_all = |all: u64| (0.0..=nested).contains(&(all as f64 - counted));
        assert!(
            is_all(all) || is_all(all - in_init),
            "{counted} counted of {all}, {nested} nested, {in_init} in the context of process 1"
        );
    }

    /// Whether the kernel's event has a field of this name, for instance `rx_sk`.
    pub fn has_field(&self, name: &str) -> bool {
        let format = read(&self.all.path.join("events/skb/kfree_skb/format"));
        // field:struct sock * rx_sk;	offset:32;	size:8;	signed:0;
        let mut fields = format.lines().filter_map(|line| line.split_once(';'));
        fields.any(|(field, _)| field.ends_with(&format!(" {name}")))
    }

    /// The drops that are still in the buffer (some thousand per CPU), in the order of time.
    pub fn drops(&self) -> Vec<Drop> {
        // A read beside a writer can miss an event, so it takes two reads that agree.
        let mut last = self.read_drops();
        for _ in 0..1000 {
            let next = self.read_drops();
            if next == last {
                return next;
            }
            last = next;
        }
        panic!("the trace does not stand still");
    }

    fn read_drops(&self) -> Vec<Drop> {
        read(&self.all.path.join("trace"))
            .lines()
            .filter(|line| line.contains(" kfree_skb: "))
            .map(|line| parse(line).unwrap_or_else(|| panic!("not a drop: {line}")))
            .collect()
    }

    /// How many of the drops still in the buffer are of this kind.
    pub fn count_of(&self, kind: &Drop) -> u64 {
        self.kinds().remove(kind).unwrap_or_default()
    }

    /// How many drops of each kind are still in the buffer.
    pub fn kinds(&self) -> BTreeMap<Drop, u64> {
        let mut kinds = BTreeMap::new();
        for drop in self.drops() {
            *kinds.entry(drop).or_default() += 1;
        }
        kinds
    }

    /// How many of the drops of this kind still in the buffer name the socket that was to receive the packet
    /// (`rx_sk`, 6.11 and later), and how many do not.
    pub fn by_receiver(&self, kind: &Drop) -> (u64, u64) {
        let trace = read(&self.all.path.join("trace"));
        let of_kind = trace
            .lines()
            .filter(|line| parse(line).as_ref() == Some(kind));
        let (with, without): (Vec<_>, Vec<_>) = of_kind.partition(|line| names_receiver(line));
        (with.len() as u64, without.len() as u64)
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
}

impl Instance {
    fn recording(filter: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let tracefs = mount();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("nd{}-{number}", process::id());
        let instances = format!("/proc/self/fd/{}/instances", tracefs.as_raw_fd());
        remove_those_of_the_dead(Path::new(&instances));
        let path = format!("{instances}/{name}");
        fs::create_dir(&path)
            .unwrap_or_else(|error| panic!("cannot create a tracing instance: {error}"));
        let instance = Self {
            path: path.into(),
            _tracefs: tracefs,
        };
        instance.write("buffer_size_kb", &BUFFER_KIB.to_string());
        instance.write("events/skb/kfree_skb/filter", filter);
        instance.write("events/skb/kfree_skb/enable", "1");
        instance
    }

    fn count(&self) -> u64 {
        let mut total = 0;
        for entry in fs::read_dir(self.path.join("per_cpu")).unwrap() {
            let stats = read(&entry.unwrap().path().join("stats"));
            let refused = stat(&stats, "commit overrun") + stat(&stats, "dropped events");
            assert_eq!(refused, 0, "the ring buffer refused {refused} events");
            total += stat(&stats, "entries") + stat(&stats, "overrun");
        }
        total
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.path.join(file), text)
            .unwrap_or_else(|error| panic!("cannot write {text:?} to tracefs {file}: {error}"));
    }
}

impl std::ops::Drop for Instance {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.path) {
            eprintln!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// A test that was killed leaves its instances behind, and they go on recording, which costs every drop.
fn remove_those_of_the_dead(instances: &Path) {
    for entry in fs::read_dir(instances).unwrap() {
        let name = entry.unwrap().file_name();
        let owner = name.to_str().and_then(|name| {
            let (pid, _) = name.strip_prefix("nd")?.split_once('-')?;
            pid.parse::<u32>().ok()
        });
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            // Another test may have been quicker.
            fs::remove_dir(instances.join(&name)).ok();
        }
    }
}

/// A filter for events in the context of any thread of process 1.
fn in_process_1() -> String {
    fs::read_dir("/proc/1/task")
        .unwrap()
        .map(|thread| {
            format!(
                "common_pid == {}",
                thread.unwrap().file_name().to_string_lossy()
            )
        })
        .collect::<Vec<_>>()
        .join(" || ")
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
    let place = after("location=")?;
    let symbol = match u64::from_str_radix(place, 16) {
        Ok(address) => symbols::function_at(address),
        Err(_) => place.to_owned(),
    };
    let function = symbol.split(['+', '.']).next()?;
    Some(Drop {
        reason: after("reason: ").unwrap_or_default().to_owned(),
        function: function.to_owned(),
    })
}

/// Whether a line names a receiving socket. Addresses are printed as hashes, but NULL is not.
fn names_receiver(line: &str) -> bool {
    let address = line
        .split_once("rx_sk=")
        .and_then(|(_, rest)| rest.split_whitespace().next());
    address.is_some_and(|address| address.contains(|c: char| c.is_ascii_hexdigit() && c != '0'))
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
