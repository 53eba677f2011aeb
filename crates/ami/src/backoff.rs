//! How long to wait before connecting again: exponential, capped, with full jitter, so that many gateways do not come
//! back to a restarted Asterisk at the same moment.

use std::time::Duration;

/// The waits after failures in a row.
#[derive(Debug)]
pub(crate) struct Backoff {
    delay_min: Duration,
    delay_max: Duration,
    failures: u32,
}

impl Backoff {
    /// Waits up to `delay_min` after the first failure, twice that after the second, and so on up to `delay_max`.
    pub(crate) fn new(delay_min: Duration, delay_max: Duration) -> Self {
        Self { delay_min, delay_max, failures: 0 }
    }

    /// The wait after one more failure; `random` is in 0..1.
    pub(crate) fn failed(&mut self, random: f64) -> Duration {
        let doubled = self.delay_min.saturating_mul(2u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        doubled.min(self.delay_max).mul_f64(random)
    }

    /// The failures are over.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_begin_anew() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(500), ms(3000));
        let bounds: Vec<_> = (0..40).map(|_| backoff.failed(1.0)).collect();
        assert_eq!(bounds[..4], [ms(500), ms(1000), ms(2000), ms(3000)]);
        assert!(bounds[4..].iter().all(|bound| *bound == ms(3000)));
        assert_eq!(backoff.failed(0.5), ms(1500));
        assert_eq!(backoff.failed(0.0), ms(0));
        backoff.reset();
        assert_eq!(backoff.failed(1.0), ms(500));
    }
}
