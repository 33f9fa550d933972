//! Which losses of a carrier count. Pure.
//!
//! A port that has just appeared or was just set up negotiates, and may lose its carrier a few times.
//! So what happens in this time is decided at its end: it is a loss if the carrier is still gone.
//!
//! Time is that of the monotonic clock, and order that of the kernel's messages and counts.

use std::time::{Duration, Instant};

use crate::collectors::link::{
    message::{Admin, Carrier, Link},
    transitions::{PerTransition, Transition, works},
};

/// What is known of the carrier of one device.
#[derive(Debug)]
pub(super) struct CarrierHistory {
    /// Whether it was seen to work, or to have worked since it is known. A carrier while it is set
    /// down is none: many drivers register with one and take it back at once.
    worked: bool,
    /// Until when it settles.
    settles_at: Instant,
    /// When it is decided whether the carrier that is missing now is a loss.
    undecided: Option<Instant>,
    /// Whether the carrier that is missing now was counted.
    counted: bool,
    losses: u64,
}

impl CarrierHistory {
    /// Of a device that was just seen first.
    pub(super) fn new(link: &Link, now: Instant, settle: Duration) -> Self {
        Self {
            worked: works(link),
            settles_at: now + settle,
            undecided: None,
            counted: false,
            losses: 0,
        }
    }

    /// Takes what happened until the device was in this state.
    pub(super) fn change(
        &mut self,
        after: &Link,
        happened: PerTransition<u32>,
        now: Instant,
        settle: Duration,
    ) {
        let lost = happened.get(Transition::CarrierDown);
        let was_set_up = after.admin == Admin::Up || happened.get(Transition::AdminDown) > 0;
        if happened.get(Transition::AdminUp) > 0 {
            self.settles_at = now + settle;
        }
        if works(after) || was_set_up && happened.get(Transition::CarrierUp) > 0 {
            self.worked = true;
            self.counted = false;
        }
        self.undecided = None;
        if now < self.settles_at {
            let is_missing = is_without_carrier(after) && self.worked && !self.counted;
            self.undecided = is_missing.then_some(self.settles_at);
        } else if lost > 0 {
            self.losses += u64::from(lost);
            self.counted = true;
        }
    }

    /// Counts a loss that has outlasted the time to settle, and returns whether there was one.
    pub(super) fn decide(&mut self, now: Instant) -> bool {
        let is_due = self.undecided.is_some_and(|at| now >= at);
        if is_due {
            self.undecided = None;
            self.counted = true;
            self.losses += 1;
        }
        is_due
    }

    /// When [`CarrierHistory::decide`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.undecided
    }

    /// How many losses count.
    pub(super) fn losses(&self) -> u64 {
        self.losses
    }

    /// Whether the device is set up, has no carrier and had one: by the kernel's count, or because it
    /// was seen. Drivers that register with a carrier count none. (The count of losses tells nothing:
    /// such drivers take the carrier back when nobody ever plugged in a cable.)
    pub(super) fn is_lost(&self, link: &Link) -> bool {
        is_without_carrier(link) && (self.worked || link.carrier_ups > 0)
    }
}

fn is_without_carrier(link: &Link) -> bool {
    (link.admin, link.carrier) == (Admin::Up, Carrier::Off)
}
