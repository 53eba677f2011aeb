//! Interarrival jitter (RFC 3550 section 6.4.1 and appendix A.8).

use aimg_core::Timestamp;

/// The running estimate. Times are kept in 1/16 of a unit of the RTP clock, as the RFC's integer form does.
#[derive(Clone, Debug)]
pub struct Jitter {
    clock_rate_hz: u32,
    /// Arrival minus RTP time of the packet before, in clock units, modulo 2^32.
    transit: Option<u32>,
    /// The estimate times 16.
    scaled: u64,
}

impl Jitter {
    /// Begins with no packet seen. `clock_rate_hz` is the codec's RTP clock.
    pub const fn new(clock_rate_hz: u32) -> Self {
        Self { clock_rate_hz, transit: None, scaled: 0 }
    }

    /// Takes the next packet in order of arrival.
    pub fn observe(&mut self, arrival: Timestamp, rtp_timestamp: u32) {
        // Only differences count, modulo 2^32: the cut loses nothing.
        let units = i128::from(arrival.as_micros()) * i128::from(self.clock_rate_hz) / 1_000_000;
        let transit = (units as u32).wrapping_sub(rtp_timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let change = u64::from(transit.wrapping_sub(before).cast_signed().unsigned_abs());
            self.scaled = self.scaled + change - ((self.scaled + 8) >> 4);
        }
    }

    /// Forgets the packet before, not the estimate: the RTP clock has jumped.
    pub const fn restart(&mut self) {
        self.transit = None;
    }

    /// The estimate in units of the RTP clock, as RTCP would report it.
    pub const fn clock_units(&self) -> u64 {
        self.scaled >> 4
    }

    /// The estimate in milliseconds.
    pub fn ms(&self) -> f64 {
        if self.clock_rate_hz == 0 {
            return 0.0;
        }
        self.scaled as f64 / 16.0 * 1_000.0 / f64::from(self.clock_rate_hz)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(packets: impl IntoIterator<Item = (i64, u32)>) -> Jitter {
        let mut jitter = Jitter::new(8_000);
        for (arrival_us, rtp_timestamp) in packets {
            jitter.observe(Timestamp::from_micros(arrival_us), rtp_timestamp);
        }
        jitter
    }

    #[test]
    fn even_spacing_has_none() {
        assert_eq!(fed((0..100).map(|i| (i * 20_000, i as u32 * 160))).clock_units(), 0);
    }

    #[test]
    fn one_late_packet_counts_a_sixteenth_of_its_lateness() {
        // 10 ms late = 80 units; 80 / 16 = 5 units = 0.625 ms.
        let jitter = fed([(0, 0), (30_000, 160)]);
        assert_eq!(jitter.clock_units(), 5);
        assert!((jitter.ms() - 0.625).abs() < 1e-9);
    }

    #[test]
    fn alternating_by_5_ms_settles_at_5_ms() {
        let jitter = fed((0..2_000).map(|i| (i * 20_000 + (i % 2) * 5_000, i as u32 * 160)));
        assert!((jitter.ms() - 5.0).abs() < 0.2, "{}", jitter.ms());
    }

    #[test]
    fn the_rtp_clock_may_wrap_and_restart() {
        let start = u32::MAX - 320;
        assert_eq!(fed((0..10).map(|i| (i * 20_000, start.wrapping_add(i as u32 * 160)))).clock_units(), 0);

        let mut jitter = fed([(0, 0), (20_000, 160)]);
        jitter.restart();
        jitter.observe(Timestamp::from_micros(40_000), 4_000_000_000);
        assert_eq!(jitter.clock_units(), 0);
    }
}
