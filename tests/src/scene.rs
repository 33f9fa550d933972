//! A host whose only link is a tap device with the test at its far end, an exporter in it, and one
//! question: does a cause of drops show with the right labels, and the right number of times?
//!
//! What the tap receives has gone through the whole stack when the write returns (`drivers/net/tun.c`,
//! `tun_get_user`), in the context of the calling thread. So a cause knows when its packets are gone.

use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::exporter::Exporter;
use crate::netns::Namespace;
use crate::packet::{FAR, FAR_MAC, FAR6, HOST, HOST_MAC, HOST6};
use crate::tap::Tap;
use crate::tracefs::{self, Witness};
use crate::wait::{SOON, try_poll, wait_until};

/// The name of the tap device in the host.
pub const DEVICE: &str = "scene0";

/// How often a cause is tried: an attempt that partly ran in the context of process 1, where some kernels
/// show BPF programs nothing, proves nothing.
const ATTEMPTS: usize = 5;

/// The host, its link and its exporter.
#[derive(Debug)]
pub struct Scene {
    /// The host.
    pub host: Namespace,
    tap: Tap,
    exporter: Exporter,
    kept: RefCell<Vec<Box<dyn Any>>>,
}

/// One way to lose packets, and what the exporter must say about them beside reason and function.
#[derive(Debug, Clone, Copy)]
pub struct Cause {
    /// What happens, for the messages of a test.
    pub what: &'static str,
    /// The label `state`.
    pub state: &'static str,
    /// The label `device`.
    pub device: &'static str,
    /// The label `netns`.
    pub netns: &'static str,
    /// Makes it happen and leaves the host as it was. Returns how many packets were lost, by the number
    /// of those sent or by a counter of the kernel.
    pub provoke: fn(&Scene) -> u64,
}

/// Packets by reason, function, state and device.
type Counts = BTreeMap<[String; 4], u64>;

impl Cause {
    /// Packets of no socket that are lost at the host's device.
    pub const fn at_device(what: &'static str, provoke: fn(&Scene) -> u64) -> Self {
        Self {
            what,
            state: "",
            device: DEVICE,
            netns: "host",
            provoke,
        }
    }

    /// The same of a TCP socket.
    #[must_use]
    pub const fn in_state(self, state: &'static str) -> Self {
        Self { state, ..self }
    }

    /// Packets that are not at any device yet, or no longer.
    #[must_use]
    pub const fn without_device(self) -> Self {
        Self { device: "", ..self }
    }

    /// Packets about which the kernel does not even know the namespace any more.
    #[must_use]
    pub const fn without_namespace(self) -> Self {
        Self { netns: "", ..self }
    }
}

impl Scene {
    /// Sets it up, with IPv4 only, and starts the exporter.
    pub fn new() -> Self {
        let host = Namespace::new();
        let tap = Tap::new(&host, DEVICE);
        let (host_mac, far_mac) = (mac(HOST_MAC), mac(FAR_MAC));
        host.ip(&["link", "set", "dev", DEVICE, "address", &host_mac, "up"]);
        // A tap device has no operational state to wait for.
        wait_until("the tap has carrier", SOON, || {
            host.ip(&["-o", "link", "show", "dev", DEVICE])
                .contains("LOWER_UP")
        });
        host.ip(&["addr", "add", &format!("{HOST}/24"), "dev", DEVICE]);
        // A permanent neighbour, so that nothing waits for ARP.
        let far = FAR.to_string();
        host.ip(&["neigh", "add", &far, "lladdr", &far_mac, "dev", DEVICE]);
        let exporter = Exporter::launch().namespace(&host).start();
        Self {
            host,
            tap,
            exporter,
            kept: RefCell::default(),
        }
    }

    /// Lets the host receive a frame so many times, and returns the number.
    pub fn receive(&self, frame: &[u8], times: u64) -> u64 {
        for _ in 0..times {
            self.tap.receive(frame).unwrap();
        }
        times
    }

    /// Lets the host receive a frame that its device itself drops, and says so to the writer.
    pub fn receive_in_vain(&self, frame: &[u8], times: u64) -> u64 {
        for _ in 0..times {
            self.tap.receive(frame).unwrap_err();
        }
        times
    }

    /// The oldest frame that the host has sent and nobody has looked at yet.
    pub fn sent(&self) -> Option<Vec<u8>> {
        self.tap.sent()
    }

    /// Runs a command in the host, its words divided by spaces, and returns its standard output.
    pub fn run(&self, command: &str) -> String {
        self.host.exec(&command.split(' ').collect::<Vec<_>>())
    }

    /// Sets a sysctl of the host's network, named by its path below `/proc/sys/net`.
    pub fn sysctl(&self, name: &str, value: &str) {
        let path = format!("/proc/sys/net/{name}");
        self.host.enter(|| {
            fs::write(&path, value).unwrap_or_else(|error| panic!("cannot set {name}: {error}"));
        });
    }

    /// Keeps something as long as the scene, because its end would drop packets once more.
    pub fn keep(&self, guard: impl Any) {
        self.kept.borrow_mut().push(Box::new(guard));
    }

    /// Gives the device an IPv6 address, without messages of its own: no detection of duplicates, no
    /// link-local address, no question for routers.
    pub fn enable_ipv6(&self) {
        let settings = [
            ("addr_gen_mode", "1"),
            ("accept_dad", "0"),
            ("accept_ra", "0"),
            ("router_solicitations", "0"),
            ("disable_ipv6", "0"),
        ];
        for (name, value) in settings {
            self.sysctl(&format!("ipv6/conf/{DEVICE}/{name}"), value);
        }
        let (host, far, mac) = (format!("{HOST6}/64"), FAR6.to_string(), mac(FAR_MAC));
        self.host.ip(&["addr", "replace", &host, "dev", DEVICE]);
        self.host
            .ip(&["neigh", "replace", &far, "lladdr", &mac, "dev", DEVICE]);
    }

    /// Provokes each cause and checks what the exporter says about it; returns their different reasons.
    ///
    /// # Panics
    /// When two causes were one and the same to the kernel: then one of them is not what it says.
    pub fn check_all(&self, causes: &[Cause]) -> BTreeSet<String> {
        let kinds = causes.iter().map(|cause| (cause.what, self.check(cause)));
        let mut names = BTreeMap::new();
        for (what, kind) in kinds {
            println!("{what}: {} in {}", kind.reason, kind.function);
            if let Some(other) = names.insert(kind, what) {
                panic!("{what:?} and {other:?} are the same to the kernel");
            }
        }
        names.into_keys().map(|kind| kind.reason).collect()
    }

    /// Provokes a cause. Then the exporter must have counted exactly these packets and no others, under
    /// the reason and function that the kernel's own trace names for as many.
    pub fn check(&self, cause: &Cause) -> tracefs::Drop {
        for _ in 0..ATTEMPTS {
            let before = self.counts(cause.netns);
            let witness = Witness::of_all();
            let packets = (cause.provoke)(self);
            assert_ne!(packets, 0, "{}: no packet was lost", cause.what);
            let kinds = kinds_of(packets, &witness, cause.what);
            let in_init = witness.count_in_init();
            let grown = grown(&before, &self.counts(cause.netns));
            self.discard();
            if in_init == 0 {
                return assert_matches(cause, packets, &kinds, &grown);
            }
        }
        panic!("{}: each attempt ran in process 1", cause.what);
    }

    /// What the exporter has counted of a namespace, except on `lo`, over which it is asked.
    fn counts(&self, netns: &str) -> Counts {
        let metrics = self.exporter.scrape();
        let labels = [("netns", netns)];
        metrics
            .series("netdrop_dropped_packets_total", &labels)
            .map(|sample| {
                let labels = ["reason", "function", "state", "device"];
                let key = labels.map(|label| sample.labels[label].clone());
                (key, sample.value as u64)
            })
            .filter(|(key, _)| key[3] != "lo")
            .collect()
    }

    /// Throws away what the host has sent, or its device would be full one day.
    fn discard(&self) {
        while self.sent().is_some() {}
    }
}

impl Default for Scene {
    fn default() -> Self {
        Self::new()
    }
}

/// The kinds of drop of which the kernel's trace has exactly so many; others, of the rest of the machine,
/// may be in it too.
fn kinds_of(packets: u64, witness: &Witness, what: &str) -> Vec<tracefs::Drop> {
    let kinds = try_poll(SOON, || {
        let mut kinds = witness.kinds();
        kinds.retain(|_, count| *count == packets);
        (!kinds.is_empty()).then(|| kinds.into_keys().collect())
    });
    kinds.unwrap_or_else(|| panic!("{what}: {packets} lost, but seen {:?}", witness.kinds()))
}

fn grown(before: &Counts, after: &Counts) -> Counts {
    let grown = after.iter().map(|(key, count)| {
        let was = before.get(key).copied().unwrap_or(0);
        (key.clone(), count - was)
    });
    grown.filter(|(_, count)| *count > 0).collect()
}

fn assert_matches(
    cause: &Cause,
    packets: u64,
    kinds: &[tracefs::Drop],
    grown: &Counts,
) -> tracefs::Drop {
    let counts_of = |kind: &tracefs::Drop| {
        let key = [&kind.reason, &kind.function, cause.state, cause.device].map(str::to_owned);
        Counts::from([(key, packets)])
    };
    let matching = kinds.iter().find(|kind| counts_of(kind) == *grown);
    let what = cause.what;
    let found = matching.unwrap_or_else(|| panic!("{what}: {packets} of {kinds:?}, not {grown:?}"));
    found.clone()
}

fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}
