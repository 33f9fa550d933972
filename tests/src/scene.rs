//! A host on a wire, an exporter in it, and one question: does a cause of drops show with the right labels, and the
//! right number of times?

use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use crate::exporter::Exporter;
use crate::packet::{IPV4_CHECKSUM, Packet};
use crate::send::Flood;
use crate::tracefs::{Drop, Witness};
use crate::wait::{SOON, try_poll};
use crate::watch::{self, Dropped};
pub use crate::wire::DEVICE;
use crate::wire::Wire;

/// How often a cause is tried. An attempt with a wrong number proves nothing where a part ran in the context of
/// process 1, in which some kernels show BPF programs nothing, or where others on the machine share the series.
const ATTEMPTS: usize = 5;

/// Where nobody listens: the discard service.
pub const CLOSED: u16 = 9;

/// The wire, and the exporter in its host.
#[derive(Debug)]
pub struct Scene {
    wire: Wire,
    /// The exporter.
    pub exporter: Exporter,
    /// What the kernel's trace says, since the last question.
    pub witness: Witness,
    kept: RefCell<Vec<Box<dyn Any>>>,
}

/// One way to lose packets, and what the exporter must say about them beside reason and function.
#[derive(Debug, Clone, Copy)]
pub struct Cause {
    what: &'static str,
    state: &'static str,
    device: &'static str,
    netns: &'static str,
    provoke: fn(&Scene) -> u64,
}

impl Cause {
    /// Packets of no socket that are lost at the host's device.
    ///
    /// `provoke` makes it happen and leaves the host as it was. It returns how many packets were lost, by the number of
    /// those sent or by a counter of the kernel.
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

/// What every host refuses to receive, whatever its kernel. Each number of packets is another, so that none can stand
/// for another.
pub const ANYWHERE: [Cause; 5] = [
    Cause::at_device("no handler of the EtherType", |scene| {
        scene.send(&Flood::over(DEVICE, 1).frame(), 11)
    }),
    Cause::at_device("another host's hardware address", |scene| {
        let mut packet = Packet::udp(CLOSED);
        packet.to_mac[5] ^= 0xf0;
        scene.send(&packet.frame(), 12)
    }),
    Cause::at_device("a wrong IP checksum", |scene| {
        scene.send(&spoilt(&Packet::udp(CLOSED), IPV4_CHECKSUM), 13)
    }),
    Cause::at_device("UDP to a closed port", |scene| {
        scene.send(&Packet::udp(CLOSED).frame(), 31)
    }),
    Cause::at_device("netfilter, input", |scene| {
        let hook = "type filter hook input priority 0; udp dport 9 drop;";
        let table = format!("table ip t {{ chain c {{ {hook} }}; }}");
        scene.host.exec(&["nft", &table]);
        let packets = scene.send(&Packet::udp(CLOSED).frame(), 15);
        scene.run("nft delete table ip t");
        packets
    }),
];

/// A frame with one wrong byte.
pub fn spoilt(packet: &Packet, at: usize) -> Vec<u8> {
    let mut frame = packet.frame();
    frame[at] ^= 0x55;
    frame
}

impl Scene {
    /// Starts it.
    pub fn new() -> Self {
        let wire = Wire::new();
        Self {
            exporter: Exporter::launch().namespace(&wire.host).start(),
            wire,
            witness: Witness::of_all(),
            kept: RefCell::default(),
        }
    }

    /// Keeps something as long as the scene, because its end would drop packets once more.
    pub fn keep(&self, guard: impl Any) {
        self.kept.borrow_mut().push(Box::new(guard));
    }

    /// As [`watch::drops`], of the host.
    pub fn drops<T>(&self, work: impl FnOnce() -> T) -> Vec<Dropped> {
        watch::drops(&self.exporter, "host", &self.witness, work)
    }

    /// Provokes each cause and checks what the exporter says about it; returns how many different reasons they have.
    ///
    /// # Panics
    /// When two causes were one and the same to the kernel: then one of them is not what it says.
    pub fn check_all(&self, causes: &[Cause]) -> usize {
        let mut kinds = BTreeMap::new();
        for cause in causes {
            let kind = self.check(cause);
            println!("{}: {kind:?}", cause.what);
            if let Some(other) = kinds.insert(kind, cause.what) {
                panic!("{:?} and {other:?} are the same to the kernel", cause.what);
            }
        }
        let reasons = kinds.into_keys().map(|kind| kind.reason);
        reasons.collect::<BTreeSet<_>>().len()
    }

    /// Provokes a cause. Then the exporter must have counted exactly these packets of the host and no others, under
    /// the reason and function that the kernel's own trace has for as many.
    pub fn check(&self, cause: &Cause) -> Drop {
        let shared = cause.netns.is_empty();
        for _ in 0..ATTEMPTS {
            let before = self.exporter.scrape();
            let witness = &self.witness;
            witness.forget();
            let packets = (cause.provoke)(self);
            assert_ne!(packets, 0, "{}: no packet was lost", cause.what);
            let in_init = || witness.count_in_init() > 0;
            let mut dropped = Vec::new();
            // Some only fall when the kernel has waited for something. A miss shows below, in more detail.
            let _all = try_poll(SOON, || {
                let seen = in_init() && witness.kinds().into_values().any(|seen| seen >= packets);
                dropped = watch::grown(&before, &self.exporter.scrape(), cause.netns);
                let all = seen || dropped.iter().any(|drop| drop.packets >= packets);
                all.then_some(())
            });
            self.discard();
            if shared {
                dropped.retain(|drop| drop.packets == packets);
            }
            let is_right = matches!(&dropped[..], [one] if one.packets == packets);
            if is_right || !(shared || in_init()) {
                println!("{}: {packets} packets", cause.what);
                watch::hold_against(&mut dropped, witness);
                let has_receiver = dropped.iter().any(|drop| drop.has_receiver);
                watch::assert_one(&dropped, cause.state, cause.device, packets, has_receiver);
                return dropped.remove(0).kind;
            }
        }
        panic!("{}: each attempt was disturbed", cause.what);
    }
}

impl Default for Scene {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Scene {
    type Target = Wire;

    fn deref(&self) -> &Wire {
        &self.wire
    }
}
