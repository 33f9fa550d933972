//! What the unit tests of links share.

use super::message::{Admin, Carrier, Link, OperState, Parent};
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
    }
}
