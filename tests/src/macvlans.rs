//! Many devices at once, as a source of many keys.

use std::os::fd::AsFd;

use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType, socket};

use crate::netns::{Handle, Namespace, Veth};
use crate::send::Flood;
use crate::sys;

/// Macvlans over one end of a veth pair whose other end is down, so that each drops what it is to send
/// (`drivers/net/macvlan.c` takes its carrier from below; `net/core/dev.c`, `__dev_direct_xmit`).
#[derive(Debug)]
pub struct Macvlans {
    /// The devices.
    pub names: Vec<String>,
    here: Handle,
    _under: Veth,
}

impl Macvlans {
    /// Creates so many in `here`.
    pub fn without_carrier(here: &Namespace, there: &Namespace, number: usize) -> Self {
        let under = Veth::between(here, there);
        there.ip(&["link", "set", "dev", &under.b, "down"]);
        let names: Vec<_> = (0..number).map(|n| format!("many{n}")).collect();
        let add = |name| format!("link add link {} name {name} up type macvlan\n", under.a);
        here.ip_batch(&names.iter().map(add).collect::<String>());
        Self {
            names,
            here: here.handle(),
            _under: under,
        }
    }

    /// Drops so many frames at each of these devices, and returns how many these are.
    ///
    /// All from one socket that is bound to no device: a bound one waits for an RCU grace period when it is
    /// closed, and so would take seconds for all of them.
    pub fn drop_frames(&self, names: &[String], each: u64) -> u64 {
        self.here.enter(|| {
            let socket = socket(AddressFamily::PACKET, SocketType::RAW, None).unwrap();
            sys::bypass_qdisc(socket.as_fd()).unwrap();
            for name in names {
                let ifindex = name_to_index(&socket, name).unwrap();
                let frame = Flood::over(name, 1).frame();
                for _ in 0..each {
                    // This is how the kernel says that it has dropped the frame.
                    let sent = sys::send_on(socket.as_fd(), &frame, ifindex);
                    assert_eq!(sent.unwrap_err().raw_os_error(), Some(libc::ENOBUFS));
                }
            }
            names.len() as u64 * each
        })
    }
}
