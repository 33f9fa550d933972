//! What the unit tests of links share.

use super::{
    message::{Admin, Carrier, Link, OperState, Parent},
    sysfs::{Facts, Role},
    table::Change,
    transitions::between,
};
use crate::devices::IfIndex;

/// A link that works.
pub(crate) fn link(index: u32, name: &str) -> Link {
    Link {
        index: IfIndex(index),
        name: name.into(),
        admin: Admin::Up,
        carrier: Carrier::On,
        operstate: OperState(6),
        carrier_ups: 1,
        carrier_downs: 1,
        kind: "".into(),
        lower: None,
        master: None,
        address: [2, 0, 0, 0, 0, 1].into(),
        parent: Parent::Unknown,
        is_representor: false,
    }
}

/// What happened to a port of 1000 Mbit/s between two states.
pub(crate) fn change(before: &Link, after: Link) -> Change {
    Change {
        happened: between(before, &after),
        link: after,
        facts: Some(Facts {
            driver: "virtio_net".into(),
            bus_address: "virtio2".into(),
            physical: true,
            role: Role::Port,
        }),
        speed: Some(1000),
        left: None,
        outage: None,
    }
}
