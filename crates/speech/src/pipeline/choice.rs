//! Which of two providers is next, and when.

use std::sync::Arc;
use std::time::Duration;

use aimg_core::Backoff;
use tokio::time::Instant;

use super::Config;
use crate::error::Error;
use crate::recognise::SpeechToText;

/// One provider, or two of which the first is preferred.
pub(super) struct Choice {
    providers: Vec<Arc<dyn SpeechToText>>,
    /// The index of the one that is used.
    current: usize,
    /// Its failures in a row.
    failures: u32,
    failures_max: u32,
    /// Since when the second one is used.
    second_since: Option<Instant>,
    first_again_after: Duration,
    /// Changes since something was heard.
    changes: u32,
    /// Whether every failure since something was heard is one that lasts.
    all_last: bool,
    backoff: Backoff,
}

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    /// When to try again.
    pub(super) after: Duration,
    /// Whether with the other provider.
    pub(super) goes_over: bool,
}

impl Choice {
    pub(super) fn new(first: Arc<dyn SpeechToText>, second: Option<Arc<dyn SpeechToText>>, config: &Config) -> Self {
        Self {
            providers: std::iter::once(first).chain(second).collect(),
            current: 0,
            failures: 0,
            failures_max: config.failures_max.max(1),
            second_since: None,
            first_again_after: config.first_again_after,
            changes: 0,
            all_last: true,
            backoff: config.backoff.clone(),
        }
    }

    /// The provider to be used.
    pub(super) fn provider(&self) -> Arc<dyn SpeechToText> {
        Arc::clone(&self.providers[self.current])
    }

    /// Whether there is another one to go to.
    pub(super) fn has_other(&self) -> bool {
        self.providers.len() > 1
    }

    /// Whether it is time to try the first one again.
    pub(super) fn wants_first(&self, now: Instant) -> bool {
        self.second_since.is_some_and(|since| now.duration_since(since) >= self.first_again_after)
    }

    /// Goes back to the first one: it is left again at its first failure.
    pub(super) fn go_back(&mut self) {
        self.current = 0;
        self.second_since = None;
        self.failures = self.failures_max - 1;
    }

    /// The provider told something.
    pub(super) fn told(&mut self) {
        self.failures = 0;
        self.changes = 0;
        self.all_last = true;
        self.backoff.reset();
    }

    /// The provider failed; `random` is in 0..=1.
    pub(super) fn failed(&mut self, error: &Error, now: Instant, random: f64) -> Next {
        let lasts = !error.kind.may_pass();
        self.failures += 1;
        self.all_last &= lasts;
        let goes_over = self.has_other() && (lasts || self.failures >= self.failures_max);
        if goes_over {
            self.current = (self.current + 1) % self.providers.len();
            self.second_since = (self.current > 0).then_some(now);
            self.failures = 0;
            self.changes += 1;
        }
        // Who goes over and has not been there waits for nothing.
        let is_first_change = goes_over && self.changes == 1;
        let after = if is_first_change { Duration::ZERO } else { self.backoff.failed(random) };
        Next { after, goes_over }
    }

    /// Whether every provider refused in a way that lasts, and nothing was heard since.
    pub(super) fn is_hopeless(&self) -> bool {
        self.all_last && (!self.has_other() || self.changes > 1)
    }
}
