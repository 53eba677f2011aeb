//! How long to wait before the next attempt: capped, doubling, with full jitter.

use std::time::Duration;

/// Doublings after which the delay has reached any sensible cap.
const DOUBLINGS_MAX: u32 = 16;

/// The delays between attempts. Randomness is an argument.
#[derive(Debug)]
pub(crate) struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, failures: 0 }
    }

    /// The delay before the next attempt; `random` is in 0..=1. Full jitter spreads the nodes that lost one PBX together.
    pub(crate) fn next_delay(&mut self, random: f64) -> Duration {
        let ceiling = self.base.saturating_mul(1 << self.failures.min(DOUBLINGS_MAX)).min(self.cap);
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(random.clamp(0.0, 1.0))
    }

    /// The last attempt held: the next failure is a first one.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_cap_and_starts_over() {
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(1));
        let ceilings: Vec<u128> = (0..5).map(|_| backoff.next_delay(1.0).as_millis()).collect();
        assert_eq!(ceilings, [250, 500, 1000, 1000, 1000]);
        backoff.reset();
        assert_eq!(backoff.next_delay(0.5), Duration::from_millis(125));
    }

    #[test]
    fn many_failures_do_not_overflow() {
        let mut backoff = Backoff::new(Duration::from_secs(u64::MAX / 2), Duration::from_secs(15));
        for _ in 0..100 {
            assert!(backoff.next_delay(1.0) <= Duration::from_secs(15));
        }
    }
}
