//! What happened to a link between two of its states. Pure.
//!
//! The kernel's carrier counts say how often the carrier changed, also where it folded quick flaps
//! into one message (`net/core/link_watch.c`) and where messages were lost.

use super::message::{Admin, Carrier, Link};

/// What can happen to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// Somebody set it down.
    AdminDown,
    /// Somebody set it up.
    AdminUp,
    /// It lost its carrier while it was set up; the kernel does not say why.
    CarrierDown,
    /// It got a carrier.
    CarrierUp,
    /// It was removed.
    Removed,
}

impl Transition {
    /// All, sorted by label.
    pub const ALL: [Self; 5] = [
        Self::AdminDown,
        Self::AdminUp,
        Self::CarrierDown,
        Self::CarrierUp,
        Self::Removed,
    ];

    /// The value of the label `transition`.
    pub fn label(self) -> &'static str {
        match self {
            Self::AdminDown => "admin_down",
            Self::AdminUp => "admin_up",
            Self::CarrierDown => "carrier_down",
            Self::CarrierUp => "carrier_up",
            Self::Removed => "removed",
        }
    }
}

/// One value for each transition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerTransition<T>([T; Transition::ALL.len()]);

impl<T: Copy> PerTransition<T> {
    /// The value of one.
    pub fn get(&self, transition: Transition) -> T {
        self.0[transition as usize]
    }

    /// To change the value of one.
    pub fn get_mut(&mut self, transition: Transition) -> &mut T {
        &mut self.0[transition as usize]
    }

    /// All, sorted by label.
    pub fn iter(&self) -> impl Iterator<Item = (Transition, T)> + '_ {
        Transition::ALL.into_iter().zip(self.0)
    }
}

/// How often each transition happened from one state of a link to the next that is known.
///
/// An admin change has no count in the kernel, so it is at most one. While IFF_UP is clear, nothing
/// is carrier loss; where it becomes clear, one loss is the admin's.
pub fn between(before: &Link, after: &Link) -> PerTransition<u32> {
    let downs = after.carrier_downs.wrapping_sub(before.carrier_downs);
    let mut happened = PerTransition::default();
    let lost = match (before.admin, after.admin) {
        (Admin::Up, Admin::Up) => downs,
        (Admin::Up, Admin::Down) => {
            *happened.get_mut(Transition::AdminDown) = 1;
            downs.saturating_sub(1)
        }
        (Admin::Down, Admin::Up) => {
            *happened.get_mut(Transition::AdminUp) = 1;
            0
        }
        (Admin::Down, Admin::Down) => 0,
    };
    *happened.get_mut(Transition::CarrierDown) = lost;
    *happened.get_mut(Transition::CarrierUp) = after.carrier_ups.wrapping_sub(before.carrier_ups);
    happened
}

/// Whether both can be states of one device. If not, the index was used again, and the message that
/// said that the first had gone was lost.
///
/// The kernel's counts only grow, and wrap at 2^32: a step of more than half of that is one back.
/// A successor of the same kind with higher counts cannot be told from the device itself.
pub fn is_same_device(before: &Link, after: &Link) -> bool {
    let grew = |before: u32, after: u32| after.wrapping_sub(before) <= u32::MAX / 2;
    before.kind == after.kind
        && grew(before.carrier_ups, after.carrier_ups)
        && grew(before.carrier_downs, after.carrier_downs)
}

/// Whether the link can carry packets, as far as it can know.
pub fn works(link: &Link) -> bool {
    (link.admin, link.carrier) == (Admin::Up, Carrier::On)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collectors::link::testing::link;

    /// (admin down, admin up, carrier down, carrier up, removed) from `before` to `after`, each given as
    /// (admin, carrier ups, carrier downs).
    fn happened(before: (Admin, u32, u32), after: (Admin, u32, u32)) -> [u32; 5] {
        let state = |(admin, ups, downs)| Link {
            admin,
            carrier_ups: ups,
            carrier_downs: downs,
            ..link(2, "eth0")
        };
        between(&state(before), &state(after)).0
    }

    #[test]
    fn carrier_loss_while_admin_up_is_carrier_down() {
        assert_eq!(
            happened((Admin::Up, 5, 5), (Admin::Up, 5, 6)),
            [0, 0, 1, 0, 0]
        );
    }

    #[test]
    fn flaps_that_were_folded_are_all_counted() {
        assert_eq!(
            happened((Admin::Up, 5, 5), (Admin::Up, 305, 305)),
            [0, 0, 300, 300, 0]
        );
    }

    #[test]
    fn an_admin_down_takes_one_carrier_loss_at_most() {
        let up = (Admin::Up, 5, 5);
        assert_eq!(happened(up, (Admin::Down, 5, 5)), [1, 0, 0, 0, 0]);
        assert_eq!(happened(up, (Admin::Down, 5, 6)), [1, 0, 0, 0, 0]);
        assert_eq!(happened(up, (Admin::Down, 6, 8)), [1, 0, 2, 1, 0]);
    }

    #[test]
    fn nothing_is_carrier_loss_while_admin_down() {
        let down = (Admin::Down, 5, 5);
        assert_eq!(happened(down, (Admin::Down, 6, 7)), [0, 0, 0, 1, 0]);
        assert_eq!(happened(down, (Admin::Up, 6, 7)), [0, 1, 0, 1, 0]);
    }

    #[test]
    fn the_kernels_counts_wrap() {
        let max = u32::MAX;
        assert_eq!(
            happened((Admin::Up, max, max - 1), (Admin::Up, 1, 2)),
            [0, 0, 4, 2, 0]
        );
        let link = |ups| Link {
            carrier_ups: ups,
            ..link(2, "eth0")
        };
        assert!(is_same_device(&link(max), &link(0)));
        assert!(!is_same_device(&link(1), &link(0)));
    }
}
