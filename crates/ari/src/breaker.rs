//! When to stop asking a PBX that does not answer. No IO, no clock: the time and the random number are arguments.
//!
//! Without it, a frozen Asterisk would hold every request for its whole time-out, and the requests of hundreds of calls would
//! pile up behind each other. With it they fail at once and surely were not sent, so that whoever asked may ask again.

use std::time::{Duration, Instant};

use aimg_core::Backoff;

/// Whether requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// They are.
    Closed,
    /// They are refused, until one is let through to see whether the PBX answers again.
    Open {
        /// When that will be, from the moment of asking.
        retry_in: Duration,
    },
    /// One is under way to see; the others are refused.
    HalfOpen,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// An answer came, of whatever kind.
    Answered,
    /// No connection, or no answer.
    Silent,
    /// Given up by us before it could tell anything.
    Abandoned,
}

/// A request that was let through; to be told how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Ticket {
    /// Of an earlier period, a failure says nothing about this one.
    period: u64,
    is_probe: bool,
}

#[derive(Debug)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen,
}

#[derive(Debug)]
pub(crate) struct Breaker {
    failures_max: u32,
    backoff: Backoff,
    state: State,
    period: u64,
}

impl Breaker {
    /// Opens after so many failures in a row (0: never), for a while between half of a delay and all of it: `delay_min`
    /// first, twice that after each failed probe, up to `delay_max`.
    pub(crate) fn new(failures_max: u32, delay_min: Duration, delay_max: Duration) -> Self {
        Self {
            failures_max,
            backoff: Backoff::new(delay_min, delay_max),
            state: State::Closed { failures: 0 },
            period: 0,
        }
    }

    /// Lets a request through, or says for how long none will be (zero: until the probe under way has ended).
    pub(crate) fn admit(&mut self, now: Instant) -> Result<Ticket, Duration> {
        let is_probe = match self.state {
            State::Closed { .. } => false,
            State::Open { until } if now < until => return Err(until - now),
            State::Open { .. } => {
                self.state = State::HalfOpen;
                true
            }
            State::HalfOpen => return Err(Duration::ZERO),
        };
        Ok(Ticket { period: self.period, is_probe })
    }

    /// How a request ended; `random` is in 0..=1. True when the breaker opened by it.
    pub(crate) fn ended(&mut self, ticket: Ticket, outcome: Outcome, now: Instant, random: f64) -> bool {
        let is_current = ticket.period == self.period;
        match (outcome, &mut self.state) {
            (Outcome::Answered, _) => self.answered(),
            (Outcome::Silent, State::Closed { failures }) if is_current => {
                *failures = failures.saturating_add(1);
                if self.failures_max > 0 && *failures >= self.failures_max {
                    self.open(now, random);
                    return true;
                }
            }
            (Outcome::Silent, State::HalfOpen) if is_current && ticket.is_probe => {
                self.open(now, random);
                return true;
            }
            // The next request is the probe.
            (Outcome::Abandoned, State::HalfOpen) if is_current && ticket.is_probe => {
                self.state = State::Open { until: now };
            }
            _ => {}
        }
        false
    }

    /// The PBX lives: it answered, whoever asked.
    pub(crate) fn answered(&mut self) {
        if !matches!(self.state, State::Closed { .. }) {
            self.period += 1;
        }
        self.state = State::Closed { failures: 0 };
        self.backoff.reset();
    }

    pub(crate) fn state(&self, now: Instant) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { until } => BreakerState::Open { retry_in: until.saturating_duration_since(now) },
            State::HalfOpen => BreakerState::HalfOpen,
        }
    }

    fn open(&mut self, now: Instant, random: f64) {
        // Never less than half, so that a dead PBX is left alone; never all the same, so that nodes do not ask together.
        let delay = self.backoff.failed(0.5 + random.clamp(0.0, 1.0) / 2.0);
        self.period += 1;
        self.state = State::Open { until: now + delay };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIN: Duration = Duration::from_millis(500);
    const MAX: Duration = Duration::from_secs(15);

    fn breaker(failures_max: u32) -> Breaker {
        Breaker::new(failures_max, MIN, MAX)
    }

    /// Opened by failures at `now`, with the longest delay.
    fn opened(now: Instant) -> Breaker {
        let mut breaker = breaker(2);
        for last in [false, true] {
            let ticket = breaker.admit(now).unwrap();
            assert_eq!(breaker.ended(ticket, Outcome::Silent, now, 1.0), last);
        }
        breaker
    }

    #[test]
    fn opens_after_failures_in_a_row_only() {
        let (mut breaker, now) = (breaker(2), Instant::now());
        for outcome in [Outcome::Silent, Outcome::Answered, Outcome::Silent, Outcome::Abandoned] {
            let ticket = breaker.admit(now).unwrap();
            assert!(!breaker.ended(ticket, outcome, now, 0.0), "{outcome:?}");
        }
        let ticket = breaker.admit(now).unwrap();
        assert!(breaker.ended(ticket, Outcome::Silent, now, 0.0));
        assert_eq!(breaker.state(now), BreakerState::Open { retry_in: MIN / 2 });
        assert_eq!(breaker.admit(now), Err(MIN / 2));
    }

    #[test]
    fn one_probe_decides() {
        let now = Instant::now();
        for (outcome, expected) in [
            (Outcome::Answered, BreakerState::Closed),
            (Outcome::Silent, BreakerState::Open { retry_in: MIN * 2 }),
            (Outcome::Abandoned, BreakerState::Open { retry_in: Duration::ZERO }),
        ] {
            let mut breaker = opened(now);
            let later = now + MIN;
            let probe = breaker.admit(later).unwrap();
            assert_eq!(breaker.state(later), BreakerState::HalfOpen);
            assert_eq!(breaker.admit(later), Err(Duration::ZERO));
            breaker.ended(probe, outcome, later, 1.0);
            assert_eq!(breaker.state(later), expected, "{outcome:?}");
        }
    }

    #[test]
    fn late_news_of_an_earlier_period_is_good_news_only() {
        let now = Instant::now();
        let mut breaker = breaker(1);
        let tickets = [breaker.admit(now).unwrap(), breaker.admit(now).unwrap(), breaker.admit(now).unwrap()];
        assert!(breaker.ended(tickets[0], Outcome::Silent, now, 1.0));
        assert!(!breaker.ended(tickets[1], Outcome::Silent, now + MIN / 2, 1.0));
        assert_eq!(breaker.state(now), BreakerState::Open { retry_in: MIN });
        breaker.ended(tickets[2], Outcome::Answered, now, 1.0);
        assert_eq!(breaker.state(now), BreakerState::Closed);
    }

    #[test]
    fn zero_failures_never_open() {
        let (mut breaker, now) = (breaker(0), Instant::now());
        for _ in 0..100 {
            let ticket = breaker.admit(now).unwrap();
            assert!(!breaker.ended(ticket, Outcome::Silent, now, 0.0));
        }
    }

    proptest! {
        /// Requests begin and end in any order, at any time, with any outcome.
        #[test]
        fn a_dead_pbx_is_left_alone_and_a_living_one_is_asked(
            failures_max in 1_u32..5,
            steps in proptest::collection::vec((0_u64..2_000, 0_u8..5, any::<prop::sample::Index>(), 0.0..1.0), 1..300),
        ) {
            let mut breaker = breaker(failures_max);
            let mut now = Instant::now();
            let mut under_way: Vec<Ticket> = Vec::new();
            let mut opened_at: Option<Instant> = None;
            for (passed_ms, act, which, random) in steps {
                now += Duration::from_millis(passed_ms);
                let before = breaker.state(now);
                if act < 2 || under_way.is_empty() {
                    match (breaker.admit(now), before) {
                        (Ok(ticket), BreakerState::Closed | BreakerState::Open { retry_in: Duration::ZERO }) => {
                            under_way.push(ticket);
                        }
                        (Err(_), BreakerState::HalfOpen) => {
                            // Somebody whose end will be told is the probe, so that nobody waits for ever.
                            prop_assert!(under_way.iter().any(|t| t.is_probe && t.period == breaker.period));
                        }
                        (Err(retry_in), BreakerState::Open { .. }) => prop_assert!(retry_in <= MAX),
                        other => prop_assert!(false, "{other:?}"),
                    }
                    continue;
                }
                let ticket = under_way.swap_remove(which.index(under_way.len()));
                let outcome = [Outcome::Answered, Outcome::Silent, Outcome::Abandoned][usize::from(act - 2)];
                let opens = breaker.ended(ticket, outcome, now, random);
                let after = breaker.state(now);
                match outcome {
                    Outcome::Answered => prop_assert_eq!(after, BreakerState::Closed),
                    _ if opens => {
                        let BreakerState::Open { retry_in } = after else { panic!("{after:?}") };
                        prop_assert!((MIN / 2..=MAX).contains(&retry_in));
                        // Between two openings a delay has passed, or an answer has come.
                        if let Some(opened_at) = opened_at {
                            prop_assert!(now - opened_at >= MIN / 2);
                        }
                    }
                    _ => prop_assert!(after == before || outcome == Outcome::Abandoned),
                }
                opened_at = match after {
                    BreakerState::Closed => None,
                    _ if opens => Some(now),
                    _ => opened_at,
                };
            }
        }
    }
}
