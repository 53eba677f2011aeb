//! Wall time that never steps.
//!
//! The system's clock may be set while a call lasts; answer times and packet times must stay comparable all the same.
//! So the wall time is read once, and from there on the monotonic clock counts. The kernel's stamps of packets do step:
//! [`Stamps`] takes them over to this clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aimg_core::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// A packet that seems to have waited longer in the socket than this has a stamp that nobody can make sense of.
const AGE_US_MAX: i64 = 60_000_000;

/// Both clocks are read one after the other: a packet may seem to come from so far in the future.
const READ_ERROR_US_MAX: i64 = 5_000;

/// Two clocks read within so many microseconds are read at the same moment.
const READ_US_MAX: i64 = 20;

/// How often that is tried.
const READ_TRIES_MAX: usize = 3;

/// Tells the time. A copy tells the same, and so does one in another process on the same machine, made with
/// [`Clock::ahead_by`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// How far it is ahead of the kernel's monotonic clock.
    ahead_us: i64,
}

impl Clock {
    /// Reads the system's clock, this once.
    pub fn anchored() -> Self {
        Self { ahead_us: realtime_us() - monotonic_us() }
    }

    /// The clock that is so many microseconds ahead of this machine's monotonic clock.
    pub const fn ahead_by(us: i64) -> Self {
        Self { ahead_us: us }
    }

    /// How far it is ahead of this machine's monotonic clock, in microseconds: for the process that takes over.
    pub const fn ahead_us(&self) -> i64 {
        self.ahead_us
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_micros(monotonic_us() + self.ahead_us)
    }
}

/// Converts the kernel's stamps, which are of the system's clock, across its steps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamps {
    clock: Clock,
    /// How far the system's clock is ahead of ours.
    ahead_us: i64,
    /// What that was before the system's clock was set, and how long packets may come that were stamped before.
    before: Option<(i64, Timestamp)>,
}

impl Stamps {
    pub(crate) fn new(clock: Clock) -> Self {
        let mut stamps = Self { clock, ahead_us: 0, before: None };
        (_, stamps.ahead_us) = stamps.read_both();
        stamps
    }

    /// The time on both clocks, to convert the stamps of one batch.
    pub(crate) fn read(&mut self) -> Reading {
        let (now, ahead_us) = self.read_both();
        self.note(now, ahead_us)
    }

    fn note(&mut self, now: Timestamp, ahead_us: i64) -> Reading {
        if (ahead_us - self.ahead_us).abs() > READ_ERROR_US_MAX {
            self.before = Some((self.ahead_us, now + Duration::from_micros(AGE_US_MAX.unsigned_abs())));
        }
        self.ahead_us = ahead_us;
        self.before = self.before.filter(|(_, until)| now < *until);
        Reading { now, ahead_us, ahead_before_us: self.before.map(|(ahead_us, _)| ahead_us) }
    }

    /// Our clock, and how far the system's is ahead of it. Read again when the thread was put aside in between, but not
    /// for ever.
    fn read_both(&self) -> (Timestamp, i64) {
        let mut best = (i64::MAX, (Timestamp::default(), 0));
        for _ in 0..READ_TRIES_MAX {
            let now = self.clock.now();
            let ahead_us = realtime_us() - now.as_micros();
            let took_us = self.clock.now().micros_since(now);
            if took_us < best.0 {
                best = (took_us, (now, ahead_us));
            }
            if took_us <= READ_US_MAX {
                break;
            }
        }
        best.1
    }
}

/// The same moment on our clock and on the system's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// On ours.
    pub(crate) now: Timestamp,
    /// How far the system's is ahead.
    ahead_us: i64,
    /// And was before it was set.
    ahead_before_us: Option<i64>,
}

impl Reading {
    /// When a packet came that the kernel stamped at `stamp_us` of the system's clock.
    ///
    /// A packet has waited for much less than a clock is set by. So of the clock as it is and as it was before, the one
    /// holds by which the packet is the younger, and not of the future.
    pub(crate) fn arrival(&self, stamp_us: Option<i64>) -> Timestamp {
        let now_us = self.now.as_micros();
        let age = |ahead_us: i64| Some(now_us.saturating_add(ahead_us).saturating_sub(stamp_us?));
        let ages = [Some(self.ahead_us), self.ahead_before_us].into_iter().flatten().filter_map(age);
        let age_us = ages.filter(|age| (-READ_ERROR_US_MAX..=AGE_US_MAX).contains(age)).min().unwrap_or(0);
        Timestamp::from_micros(now_us - age_us.max(0))
    }
}

fn realtime_us() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX)
}

fn monotonic_us() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_US: i64 = 3_600_000_000;

    fn at(us: i64) -> Timestamp {
        Timestamp::from_micros(us)
    }

    #[test]
    fn a_stamp_counts_by_its_age() {
        let reading = Reading { now: at(90_000_000), ahead_us: HOUR_US, ahead_before_us: None };
        for (stamp_us, arrival_us) in [
            (None, 90_000_000),
            (Some(HOUR_US + 90_000_000), 90_000_000),
            (Some(HOUR_US + 89_980_000), 89_980_000),
            // The shard was put aside for long.
            (Some(HOUR_US + 50_000_000), 50_000_000),
            // The two clocks are not read at quite the same moment.
            (Some(HOUR_US + 90_000_300), 90_000_000),
            (Some(2 * HOUR_US), 90_000_000),
            (Some(1), 90_000_000),
            (Some(i64::MIN), 90_000_000),
        ] {
            assert_eq!(reading.arrival(stamp_us), at(arrival_us), "{stamp_us:?}");
        }
    }

    #[test]
    fn a_step_of_the_systems_clock_moves_no_packet() {
        for step_us in [HOUR_US, -HOUR_US, 2_000_000, -2_000_000] {
            let mut stamps = Stamps { clock: Clock::ahead_by(0), ahead_us: 0, before: None };
            // A packet each 20 ms, stamped by the system's clock and read up to 30 ms later; the clock is set in between.
            let system_us = |us: i64| if us >= 1_010_000 { us + step_us } else { us };
            for sent_us in (0..2_000_000).step_by(20_000) {
                let read_us = sent_us + 30_000;
                let reading = stamps.note(at(read_us), system_us(read_us) - read_us);
                assert_eq!(reading.arrival(Some(system_us(sent_us))), at(sent_us), "set by {step_us} µs");
            }
            // Later only the clock as it is counts, also for what has waited long.
            let late_us = 2 * AGE_US_MAX;
            let reading = stamps.note(at(late_us), step_us);
            let sent_us = late_us - 10_000_000;
            assert_eq!(reading.arrival(Some(sent_us + step_us)), at(sent_us));
        }
    }

    #[test]
    fn copies_agree_also_in_another_process_and_time_does_not_go_back() {
        let clock = Clock::anchored();
        let (copy, heir) = (clock, Clock::ahead_by(clock.ahead_us()));
        let times = [clock.now(), copy.now(), heir.now(), clock.now()];
        assert!(times.is_sorted(), "{times:?}");
        assert!((clock.now().as_micros() - realtime_us()).abs() < 60_000_000);
    }
}
