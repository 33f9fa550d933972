//! What comes and goes while packets fall: devices under other names, namespaces that end.

use std::os::fd::AsFd;
use std::thread;

use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SendFlags, SocketType, send, socket};
use rustix::thread::gettid;

use crate::netns::{Handle, Namespace, report, run};
use crate::send::Flood;
use crate::sys;
use crate::tracefs::Witness;
use crate::wait::{SOON, try_poll};

impl Flood {
    /// As [`Flood::send`], but ends early, without a word, when the device goes away or down. Returns the
    /// number of frames that the kernel took.
    pub fn send_until_gone(&self) -> u64 {
        let any = socket(AddressFamily::PACKET, SocketType::DGRAM, None).unwrap();
        let Ok(ifindex) = name_to_index(&any, &self.device) else {
            return 0;
        };
        let socket = socket(AddressFamily::PACKET, SocketType::RAW, None).unwrap();
        if sys::bind_for_sending(socket.as_fd(), ifindex).is_err() {
            return 0;
        }
        let frame = self.frame();
        let mut sent = 0;
        while sent < self.frames {
            match send(&socket, &frame, SendFlags::empty()) {
                Ok(_) => sent += 1,
                Err(Errno::NOBUFS | Errno::AGAIN | Errno::INTR) => thread::yield_now(),
                // As packet_snd says it when the device is down, unbound and gone (net/packet/af_packet.c).
                Err(Errno::NETDOWN | Errno::NXIO | Errno::NODEV) => break,
                Err(error) => panic!("cannot send on {}: {error}", self.device),
            }
        }
        sent
    }
}

impl Witness {
    /// Waits until it has seen this many drops; panics with what it saw if that is another number.
    pub fn expect(&self, drops: u64) {
        // A miss shows below, in more detail.
        let _seen = try_poll(SOON, || (self.count() >= drops).then_some(()));
        assert_eq!(self.count(), drops, "{:?}", self.kinds());
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
