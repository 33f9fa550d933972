//! Bounds the lines of the log, and counts those that it holds back. Pure.

use std::time::{Duration, Instant};

/// Lines in each [`WINDOW`], for physical and for virtual links each. A cable that is pulled and put
/// back makes two lines; a loose one would make thousands.
const MOST_LINES: u32 = 30;

/// The time for which lines are counted.
const WINDOW: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Throttle {
    began: Option<Instant>,
    lines: u32,
    held_back: u64,
}

impl Throttle {
    /// Whether another line may be written.
    pub(super) fn admits(&mut self, now: Instant) -> bool {
        let began = *self.began.get_or_insert(now);
        if now.saturating_duration_since(began) >= WINDOW && self.held_back == 0 {
            (self.began, self.lines) = (Some(now), 0);
        }
        if self.lines < MOST_LINES {
            self.lines += 1;
            true
        } else {
            self.held_back += 1;
            false
        }
    }

    /// How many lines were held back, once their window is over.
    pub(super) fn take_held_back(&mut self, now: Instant) -> Option<u64> {
        if now < self.deadline()? {
            return None;
        }
        let held_back = self.held_back;
        *self = Self::default();
        Some(held_back)
    }

    /// When [`Throttle::take_held_back`] has something to say.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let began = self.began.filter(|_| self.held_back > 0)?;
        Some(began + WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_those_held_back_are_counted() {
        let start = Instant::now();
        let mut throttle = Throttle::default();
        let admitted = (0..100).filter(|_| throttle.admits(start)).count();
        assert_eq!(admitted, MOST_LINES as usize);
        assert_eq!(throttle.take_held_back(start), None);
        assert_eq!(throttle.deadline(), Some(start + WINDOW));
        assert_eq!(
            throttle.take_held_back(start + WINDOW),
            Some(100 - u64::from(MOST_LINES))
        );
        assert_eq!(throttle.deadline(), None);
        assert!(throttle.admits(start + WINDOW));
    }
}
