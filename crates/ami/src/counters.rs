//! What a client has counted since it was started, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// One number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The live numbers, shared by the tasks of a client.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) events: Counter,
    pub(crate) links_up: Counter,
    pub(crate) failures: Counter,
    pub(crate) overflows: Counter,
    pub(crate) unreadable_streams: Counter,
    pub(crate) skipped_lines: Counter,
    pub(crate) actions: Counter,
    pub(crate) action_timeouts: Counter,
    pub(crate) stray_messages: Counter,
}

impl Counters {
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            events: self.events.value(),
            links_up: self.links_up.value(),
            failures: self.failures.value(),
            overflows: self.overflows.value(),
            unreadable_streams: self.unreadable_streams.value(),
            skipped_lines: self.skipped_lines.value(),
            actions: self.actions.value(),
            action_timeouts: self.action_timeouts.value(),
            stray_messages: self.stray_messages.value(),
        }
    }
}

/// The numbers at one moment. Not `non_exhaustive`: who shows them takes them apart, so as to miss none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events read from Asterisk.
    pub events: u64,
    /// Times that the link came up, resync done.
    pub links_up: u64,
    /// Times that connecting failed or the link was lost.
    pub failures: u64,
    /// Of these: times that events waited past their bound.
    pub overflows: u64,
    /// Of these: times that a stream could not be read as AMI.
    pub unreadable_streams: u64,
    /// Lines without a key that were left out of their messages.
    pub skipped_lines: u64,
    /// Actions written to Asterisk, pings not counted.
    pub actions: u64,
    /// Of these: not answered in time.
    pub action_timeouts: u64,
    /// Messages on the actions connection that nobody waited for, such as an answer after its time-out.
    pub stray_messages: u64,
}
