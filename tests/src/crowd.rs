//! Many devices that drop: a cheap source of many keys.

use crate::netns::{Namespace, Veth};
use crate::send::Flood;

/// Macvlans on a veth end without carrier. They have none either, so what is sent on one past its qdisc is
/// dropped in the sender's context, under that device (`__dev_direct_xmit`, `net/core/dev.c`).
#[derive(Debug)]
pub struct Crowd<'a> {
    namespace: &'a Namespace,
    /// Their names, in the order of their birth.
    pub devices: Vec<String>,
    // The macvlans vanish with it.
    _lower: Veth,
}

impl<'a> Crowd<'a> {
    /// This many devices in `namespace`; `peer` holds the far end of what they stand on.
    pub fn new(namespace: &'a Namespace, peer: &Namespace, size: usize) -> Self {
        let lower = Veth::between(namespace, peer);
        peer.ip(&["link", "set", "dev", &lower.b, "down"]);
        let devices: Vec<_> = (0..size).map(|number| format!("crowd{number}")).collect();
        let commands: String = devices
            .iter()
            .map(|device| {
                let over = &lower.a;
                format!("link add link {over} name {device} up type macvlan mode private\n")
            })
            .collect();
        namespace.exec(&["sh", "-c", &format!("ip -batch - <<END\n{commands}END")]);
        Self {
            namespace,
            devices,
            _lower: lower,
        }
    }

    /// Drops `frames` frames at each device, one device after the other.
    pub fn drop_at_all(&self, frames: u64) {
        self.drop_at(&self.devices, frames);
    }

    /// The same at some of them.
    pub fn drop_at(&self, devices: &[String], frames: u64) {
        self.namespace.enter(|| {
            for device in devices {
                let flood = Flood {
                    bypass_qdisc: true,
                    ..Flood::over(device, frames)
                };
                assert_eq!(flood.send(), frames);
            }
        });
    }
}
