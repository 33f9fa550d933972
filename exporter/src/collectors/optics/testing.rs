//! For tests of this collector.

use crate::{collectors::FollowedLink, devices::IfIndex, kernel::name::Name};

/// A port.
pub(super) fn link(index: u32, name: &str) -> FollowedLink {
    FollowedLink {
        index: IfIndex(index),
        name: Name::from(name),
        driver: Name::from("mlx5_core"),
        physical: true,
        is_bond: false,
        bond: None,
        serial: u64::from(index),
    }
}
