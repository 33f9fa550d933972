//! A host with an exporter, and a peer at the other end of its cable.

use std::ops::Deref;

use crate::exporter::Exporter;
use crate::launch::Launch;
use crate::links::{self, Link, Transitions};
use crate::netns::{Namespace, Veth};
use crate::send::{self, Flood};
use crate::tracefs::{Drop, Witness};
use crate::watched::Watched;

/// Both, and the cable: a veth pair.
#[derive(Debug)]
pub struct Pair {
    watched: Watched,
    /// The namespace at the other end.
    pub peer: Namespace,
    /// The cable; `a` is the host's end.
    pub veth: Veth,
}

impl Pair {
    /// With an exporter as it is by default.
    pub fn new() -> Self {
        Self::with(Exporter::launch())
    }

    /// With an exporter that is started in the host so.
    pub fn with(launch: Launch) -> Self {
        let (host, peer) = (Namespace::new(), Namespace::new());
        let veth = Veth::between(&host, &peer);
        Self::over(host, peer, veth, launch)
    }

    /// Starts an exporter in a host that is connected already.
    pub fn over(host: Namespace, peer: Namespace, veth: Veth, launch: Launch) -> Self {
        Self {
            watched: Watched::launch(host, launch),
            peer,
            veth,
        }
    }

    /// Drops frames at the host's end, waits until all have fallen, and tells what they were to the kernel.
    pub fn drop_frames(&self, frames: u64) -> Drop {
        let witness = Witness::of_protocol(send::ETHERTYPE);
        self.peer.enter(|| Flood::over(&self.veth.b, frames).send());
        witness.expect(frames);
        witness.only_kind()
    }

    /// Takes the peer's end `up` or `down`.
    pub fn set_peer(&self, state: &str) {
        self.peer.ip(&["link", "set", "dev", &self.veth.b, state]);
    }

    /// Pulls the cable, and waits until the kernel has announced it.
    pub fn lose_carrier(&self) -> Link {
        self.set_peer("down");
        self.settled(&self.veth.a, "down", true, false)
    }

    /// Plugs it in, and waits until the link works.
    pub fn regain_carrier(&self) -> Link {
        self.set_peer("up");
        self.settled(&self.veth.a, "up", true, true)
    }

    /// Takes the peer's end down and up, as fast as it goes.
    pub fn flap(&self, times: usize) {
        self.peer.ip_batch(&down_and_up(&self.veth.b, times));
    }

    /// How often the kernel says that the host's end got and lost carrier.
    pub fn carrier_counts(&self) -> (u64, u64) {
        links::carrier_counts(&self.host, &self.veth.a)
    }

    /// The transitions of the host's end once the exporter knows all that the kernel knows.
    pub fn transitions_here(&self) -> Transitions {
        self.transitions(&self.veth.a)
    }
}

impl Default for Pair {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Pair {
    type Target = Watched;

    fn deref(&self) -> &Watched {
        &self.watched
    }
}

/// `ip` commands that take a device down and up so often.
pub fn down_and_up(device: &str, times: usize) -> String {
    format!("link set dev {device} down\nlink set dev {device} up\n").repeat(times)
}
