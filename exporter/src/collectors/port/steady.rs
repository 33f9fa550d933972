//! A counter that never falls, over one of a driver that may begin anew. Pure.
//!
//! Drivers count from 0 again when they reset the card, and some answer with 0 while they do it. So
//! a fall is believed when it is seen twice: if the second reading is back at the old height, nothing
//! was lost, and otherwise what was counted before is added for good. What a driver counted between
//! our last reading and its reset is lost; nobody else has it either.

/// What was served, and what the driver said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steady {
    /// Counted before the driver began anew.
    before: u64,
    /// What the driver said last, resets that are not believed yet aside.
    last: u64,
    /// The last reading was lower.
    fell: bool,
}

impl Steady {
    /// Takes what the driver says.
    pub fn update(&mut self, reading: u64) {
        if reading >= self.last {
            self.last = reading;
            self.fell = false;
        } else if self.fell {
            self.before = self.before.saturating_add(self.last);
            self.last = reading;
            self.fell = false;
        } else {
            self.fell = true;
        }
    }

    /// The driver counts from this reading on in another place, and what was served stays.
    pub fn go_on_from(&mut self, reading: u64) {
        self.before = self.value().saturating_sub(reading);
        self.last = reading;
        self.fell = false;
    }

    /// What to serve.
    pub fn value(self) -> u64 {
        self.before.saturating_add(self.last)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn served(readings: &[u64]) -> Vec<u64> {
        let mut steady = Steady::default();
        let serve = |&reading| {
            steady.update(reading);
            steady.value()
        };
        readings.iter().map(serve).collect()
    }

    #[test]
    fn a_reset_goes_on_from_where_it_was() {
        assert_eq!(served(&[5, 7, 2, 3, 9]), [5, 7, 7, 10, 16]);
    }

    #[test]
    fn a_zero_in_the_middle_of_a_reset_counts_nothing_twice() {
        assert_eq!(served(&[1000, 0, 1001]), [1000, 1000, 1001]);
    }

    #[test]
    fn a_counter_of_32_bits_goes_on_when_it_wraps() {
        let max = u64::from(u32::MAX);
        assert_eq!(served(&[max, 2, 2]), [max, max, max + 2]);
    }

    #[test]
    fn a_count_that_moves_to_another_place_goes_on_from_what_was_served() {
        let mut steady = Steady::default();
        steady.update(5);
        steady.go_on_from(3);
        assert_eq!(steady.value(), 5);
        steady.update(4);
        assert_eq!(steady.value(), 6);
        steady.go_on_from(7);
        assert_eq!(steady.value(), 7, "what it has counted more than we");
    }

    proptest! {
        #[test]
        fn what_is_served_never_falls(readings in prop::collection::vec(any::<u64>(), 0..50)) {
            prop_assert!(served(&readings).is_sorted());
        }
    }
}
