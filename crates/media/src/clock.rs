//! Wall time that never steps.
//!
//! The system's clock may be set while a call lasts; answer times and packet times must stay comparable all the same.
//! So the wall time is read once, and from there on the monotonic clock counts.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aimg_core::Timestamp;

/// A packet cannot have waited longer in the socket than this, not even while one process took over from another; a stamp
/// that says so was made before the system's clock was set.
const AGE_US_MAX: i64 = 5_000_000;

/// Two clocks read within so many microseconds are read at the same moment.
const READ_US_MAX: i64 = 20;

/// How often that is tried.
const READ_TRIES_MAX: usize = 3;

/// Tells the time. A copy tells the same.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    anchor: Instant,
    anchor_at: Timestamp,
}

impl Clock {
    /// Reads the system's clock, this once.
    pub fn anchored() -> Self {
        Self { anchor: Instant::now(), anchor_at: Timestamp::from_micros(realtime_us()) }
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.anchor_at + self.anchor.elapsed()
    }

    /// The time on both clocks, to convert the kernel's stamps of one batch. Read again when the thread was put aside in
    /// between, but not for ever.
    pub(crate) fn read(&self) -> Reading {
        let mut reading = self.read_once();
        for _ in 1..READ_TRIES_MAX {
            if reading.1 <= READ_US_MAX {
                break;
            }
            reading = self.read_once();
        }
        reading.0
    }

    /// A reading, and how long it took in microseconds.
    fn read_once(&self) -> (Reading, i64) {
        let now = self.now();
        let realtime_us = realtime_us();
        (Reading { now, realtime_us }, self.now().micros_since(now))
    }
}

/// The same moment on our clock and on the system's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// On ours.
    pub(crate) now: Timestamp,
    realtime_us: i64,
}

impl Reading {
    /// When a packet came that the kernel stamped at `stamp_us` of the system's clock. Only its age counts.
    pub(crate) fn arrival(&self, stamp_us: Option<i64>) -> Timestamp {
        let age_us = stamp_us.map_or(0, |stamp| self.realtime_us.saturating_sub(stamp).clamp(0, AGE_US_MAX));
        Timestamp::from_micros(self.now.as_micros() - age_us)
    }
}

fn realtime_us() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_counts_by_its_age() {
        let reading = Reading { now: Timestamp::from_micros(50_000_000), realtime_us: 90_000_000 };
        for (stamp_us, arrival_us) in [
            (None, 50_000_000),
            (Some(90_000_000), 50_000_000),
            (Some(89_980_000), 49_980_000),
            // The system's clock was set back, or forward, between stamp and reading.
            (Some(95_000_000), 50_000_000),
            (Some(1), 45_000_000),
            (Some(i64::MIN), 45_000_000),
        ] {
            assert_eq!(reading.arrival(stamp_us), Timestamp::from_micros(arrival_us), "{stamp_us:?}");
        }
    }

    #[test]
    fn copies_agree_and_time_does_not_go_back() {
        let clock = Clock::anchored();
        let copy = clock;
        let (first, second) = (clock.now(), copy.now());
        assert!(second >= first);
        assert!((clock.now().as_micros() - realtime_us()).abs() < 60_000_000);
    }
}
