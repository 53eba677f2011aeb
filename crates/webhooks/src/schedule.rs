//! When a message that did not arrive is tried again.

use std::time::Duration;

/// A pause is as long as it is written, or shorter or longer by up to this part of it: messages that failed together are not
/// sent together again.
const JITTER: f64 = 0.2;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// The pauses between attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule(Vec<Duration>);

impl Default for Schedule {
    /// Fourteen attempts within about three days.
    fn default() -> Self {
        let seconds = [5, 30, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR];
        let later = [8 * HOUR, 12 * HOUR, 12 * HOUR, 16 * HOUR, 16 * HOUR];
        Self(seconds.into_iter().chain(later).map(Duration::from_secs).collect())
    }
}

impl Schedule {
    /// These pauses, in their order.
    pub fn new(pauses: Vec<Duration>) -> Self {
        Self(pauses)
    }

    /// The pause after an attempt, the first being 1; nothing when it was the last one. `random` is in 0..=1.
    pub fn pause_after(&self, attempt: u32, random: f64) -> Option<Duration> {
        let pause = self.0.get(usize::try_from(attempt.checked_sub(1)?).ok()?)?;
        Some(pause.mul_f64(1.0 - JITTER + 2.0 * JITTER * random.clamp(0.0, 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_for_about_three_days_and_end() {
        let schedule = Schedule::default();
        let pauses: Vec<Duration> = (1..).map_while(|attempt| schedule.pause_after(attempt, 0.5)).collect();
        assert!(pauses.is_sorted(), "{pauses:?}");
        let hours = pauses.iter().sum::<Duration>().as_secs() / HOUR;
        assert!((70..=74).contains(&hours), "{hours} h");
        assert_eq!(pauses[0], Duration::from_secs(5));
        assert_eq!(schedule.pause_after(1, 0.0), Some(Duration::from_secs(4)));
        assert_eq!(schedule.pause_after(1, 1.0), Some(Duration::from_secs(6)));
        assert_eq!(schedule.pause_after(0, 0.5), None);
        assert_eq!(schedule.pause_after(u32::MAX, 0.5), None);
    }
}
