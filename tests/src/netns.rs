//! Network namespaces and veth pairs that vanish with their guard (ip-netns(8), veth(4)).

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::panic;
use std::path::PathBuf;
use std::process::{self, Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, gettid, move_into_link_name_space};

use crate::rtnl;
use crate::send::name_to_index_here;
use crate::wait::{SOON, wait_until};

/// A network namespace of a test, with IPv6 off and `lo` up; deleted on drop.
///
/// IPv6 is off because a fresh device drops packets of its own with it (duplicate address detection, router
/// solicitations, multicast reports), and tests count exactly.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    handle: Handle,
}

/// An open namespace: enough to enter it, and valid as long as somebody holds it.
#[derive(Debug, Clone)]
pub struct Handle(Arc<File>);

impl Namespace {
    /// Creates a namespace under a name that no other test uses.
    pub fn new() -> Self {
        let name = unique("a");
        run(&["ip", "netns", "add", &name]);
        let opened = File::open(path_of(&name));
        let Ok(file) = opened else {
            panic!("cannot open namespace {name}: {opened:?}");
        };
        let namespace = Self {
            name,
            handle: Handle(Arc::new(file)),
        };
        namespace.enter(|| {
            for scope in ["all", "default"] {
                let path = format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6");
                match fs::write(&path, "1") {
                    // A kernel without IPv6 has nothing to turn off.
                    Err(error) if error.kind() != ErrorKind::NotFound => panic!("{path}: {error}"),
                    _ => {}
                }
            }
        });
        namespace.ip(&["link", "set", "lo", "up"]);
        namespace
    }

    /// One with so many veth pairs inside, `v0a` and `v0b` and so on, all up and with carrier.
    pub fn with_veths(pairs: usize) -> Self {
        let namespace = Self::new();
        let lines: String = (0..pairs)
            .map(|n| format!("link add v{n}a up type veth peer name v{n}b\nlink set v{n}b up\n"))
            .collect();
        namespace.ip_batch(&lines);
        namespace.wait_for_carrier(&format!("v{}a", pairs - 1));
        namespace
    }

    /// The name under `/run/netns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The inode that identifies the namespace in the kernel (`net.ns.inum`).
    pub fn inode(&self) -> u64 {
        self.handle.0.metadata().unwrap().ino()
    }

    /// Something to enter the namespace with that outlives a borrow of the guard.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs a command inside by `ip netns exec` and returns its standard output; panics when it fails.
    pub fn exec(&self, command: &[&str]) -> String {
        run(&[&["ip", "netns", "exec", &self.name], command].concat())
    }

    /// Runs `ip -n <namespace> ...` and returns its standard output; panics when it fails.
    pub fn ip(&self, arguments: &[&str]) -> String {
        run(&[&["ip", "-n", &self.name], arguments].concat())
    }

    /// Runs many `ip` commands, one per line, in one process (`ip -batch`); panics when one fails.
    pub fn ip_batch(&self, lines: &str) {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), lines).unwrap();
        self.ip(&["-batch", file.path().to_str().unwrap()]);
    }

    /// Runs a closure on a thread of its own inside the namespace; a panic in it is the caller's.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.handle.enter(work)
    }

    /// Waits until the device is up and the kernel has seen its carrier: from then on nothing is refused.
    pub fn wait_for_carrier(&self, device: &str) {
        self.enter(|| {
            let index = name_to_index_here(device);
            wait_until(&format!("{device} has carrier"), SOON, || {
                rtnl::carrier(index).works
            });
        });
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        report(&["ip", "netns", "del", &self.name]);
    }
}

impl Handle {
    /// As [`Namespace::enter`].
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        // A namespace belongs to a thread, so the thread ends with the work instead of finding its way back.
        let outcome = thread::scope(|scope| {
            scope
                .spawn(|| {
                    move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))
                        .unwrap();
                    work()
                })
                .join()
        });
        outcome.unwrap_or_else(|cause| panic::resume_unwind(cause))
    }
}

/// A veth pair between two namespaces, both ends up; deleted on drop.
#[derive(Debug)]
pub struct Veth {
    /// The first namespace's end.
    pub a: String,
    /// The second namespace's end.
    pub b: String,
    // Keep both alive, so that the order in which a test drops its guards does not matter.
    namespaces: [Handle; 2],
}

impl Veth {
    /// A pair with unique device names.
    pub fn between(a: &Namespace, b: &Namespace) -> Self {
        let name = unique("");
        Self::named(a, &format!("{name}a"), b, &format!("{name}b"), None)
    }

    /// A pair with names, and where asked the ifindex of both ends, that the test chooses.
    pub fn named(
        a: &Namespace,
        name_a: &str,
        b: &Namespace,
        name_b: &str,
        ifindex: Option<u32>,
    ) -> Self {
        let ifindex = ifindex.map(|index| index.to_string());
        let index = |words: &mut Vec<_>| {
            if let Some(ifindex) = &ifindex {
                words.extend(["index".to_owned(), ifindex.clone()]);
            }
        };
        let mut words = owned(&["ip", "link", "add", "name", name_a]);
        index(&mut words);
        words.extend(owned(&[
            "netns",
            a.name(),
            "type",
            "veth",
            "peer",
            "name",
            name_b,
        ]));
        index(&mut words);
        words.extend(owned(&["netns", b.name()]));
        run(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let veth = Self {
            a: name_a.to_owned(),
            b: name_b.to_owned(),
            namespaces: [a.handle(), b.handle()],
        };
        a.ip(&["link", "set", "dev", name_a, "up"]);
        b.ip(&["link", "set", "dev", name_b, "up"]);
        a.wait_for_carrier(name_a);
        b.wait_for_carrier(name_b);
        veth
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        self.namespaces[0].enter(|| report(&["ip", "link", "del", "dev", &self.a]));
    }
}

/// Gives the device another name while it is up: packets may fall meanwhile (6.2 and later).
pub fn rename(namespace: &Namespace, device: &str, name: &str) {
    namespace.ip(&["link", "set", "dev", device, "name", name]);
}

/// A veth pair that belongs to nobody: it ends with the first of its namespaces. Both ends are up.
pub fn mortal_veth(a: &Namespace, name_a: &str, b: &Namespace, name_b: &str) {
    let peer = ["type", "veth", "peer", "name", name_b, "netns", b.name()];
    a.ip(&[&["link", "add", "name", name_a], &peer[..]].concat());
    a.ip(&["link", "set", "dev", name_a, "up"]);
    b.ip(&["link", "set", "dev", name_b, "up"]);
    a.wait_for_carrier(name_a);
    b.wait_for_carrier(name_b);
}

/// One more name of a namespace under `/run/netns`; taken away on drop.
#[derive(Debug)]
pub struct Alias<'a>(&'a str);

impl<'a> Alias<'a> {
    /// Gives it the name.
    pub fn new(namespace: &Handle, name: &'a str) -> Self {
        namespace.enter(|| {
            // A thread has its own entry in /proc, although no listing shows it (proc(5)).
            let thread = gettid().as_raw_nonzero().to_string();
            run(&["ip", "netns", "attach", name, &thread]);
        });
        Self(name)
    }
}

impl Drop for Alias<'_> {
    fn drop(&mut self) {
        report(&["ip", "netns", "del", self.0]);
    }
}

/// Runs a command and returns its standard output; panics with its standard error when it fails.
pub fn run(command: &[&str]) -> String {
    let output = output_of(command);
    assert!(
        output.status.success(),
        "{command:?}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn output_of(command: &[&str]) -> Output {
    Command::new(command[0])
        .args(&command[1..])
        .output()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"))
}

/// Runs a command of a drop, where a panic could end the whole test process.
pub(crate) fn report(command: &[&str]) {
    match Command::new(command[0]).args(&command[1..]).output() {
        Ok(output) if output.status.success() => {}
        other => eprintln!("{command:?}: {other:?}"),
    }
}

/// A name of at most 15 bytes (IFNAMSIZ) that no other test of this or another process uses.
fn unique(suffix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("nd{}-{number}{suffix}", process::id())
}

fn path_of(name: &str) -> PathBuf {
    PathBuf::from("/run/netns").join(name)
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}
