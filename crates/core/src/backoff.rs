//! How long to wait before the next attempt: capped, doubling, with full jitter.

use std::time::Duration;

/// Doublings after which a delay has reached any sensible cap.
const DOUBLINGS_MAX: u32 = 16;

/// The delays between attempts. Full jitter spreads the nodes that lost one peer together.
#[derive(Clone, Debug)]
pub struct Backoff {
    delay_min: Duration,
    delay_max: Duration,
    failures: u32,
}

impl Backoff {
    /// Waits up to `delay_min` after the first failure, twice that after the second, and so on up to `delay_max`.
    pub const fn new(delay_min: Duration, delay_max: Duration) -> Self {
        Self { delay_min, delay_max, failures: 0 }
    }

    /// The delay after one more failure; `random` is in 0..=1.
    pub fn failed(&mut self, random: f64) -> Duration {
        let ceiling = self.delay_min.saturating_mul(1 << self.failures.min(DOUBLINGS_MAX)).min(self.delay_max);
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(random.clamp(0.0, 1.0))
    }

    /// The last attempt held: the next failure is a first one.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_cap_and_starts_over() {
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(1));
        let ceilings: Vec<u128> = (0..5).map(|_| backoff.failed(1.0).as_millis()).collect();
        assert_eq!(ceilings, [250, 500, 1000, 1000, 1000]);
        backoff.reset();
        assert_eq!(backoff.failed(0.5), Duration::from_millis(125));
    }

    #[test]
    fn many_failures_do_not_overflow() {
        let mut backoff = Backoff::new(Duration::from_secs(u64::MAX / 2), Duration::from_secs(15));
        for _ in 0..100 {
            assert!(backoff.failed(1.0) <= Duration::from_secs(15));
        }
    }
}
