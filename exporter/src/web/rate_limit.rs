//! `rate_limit`: a token bucket for all requests together.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Fills by one token in each interval, up to the burst.
pub(super) struct Bucket {
    interval: Duration,
    burst: u32,
    /// When it will be full.
    full_at: Mutex<Instant>,
}

impl Bucket {
    /// A full one. The interval is not zero.
    pub(super) fn new(interval: Duration, burst: u32) -> Self {
        Self {
            interval,
            burst,
            full_at: Mutex::new(Instant::now()),
        }
    }

    /// Takes a token, or says how long it takes until there is one.
    pub(super) fn take(&self) -> Result<(), Duration> {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let next = (*full_at).max(now) + self.interval;
        let empty = now + self.interval.saturating_mul(self.burst);
        if next > empty {
            return Err(next - empty);
        }
        *full_at = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_let_through_and_then_one_in_each_interval() {
        let second = Duration::from_secs(1);
        let bucket = Bucket::new(second, 3);
        for _ in 0..3 {
            assert_eq!(bucket.take(), Ok(()));
        }
        assert_eq!(bucket.take(), Err(second));
        advance(second / 4).await;
        assert_eq!(bucket.take(), Err(second * 3 / 4));
        advance(second * 3 / 4).await;
        assert_eq!(bucket.take(), Ok(()));
        assert_eq!(bucket.take(), Err(second));
        // It holds no more than the burst.
        advance(second * 100).await;
        for _ in 0..3 {
            assert_eq!(bucket.take(), Ok(()));
        }
        assert_eq!(bucket.take(), Err(second));
    }
}
