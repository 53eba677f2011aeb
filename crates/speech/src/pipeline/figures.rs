//! How a transcriber is doing.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts of one transcriber, read while it runs.
#[derive(Debug, Default)]
pub struct Figures {
    behind_ms: AtomicU64,
    streams: AtomicU64,
    retries: AtomicU64,
    changes: AtomicU64,
    finals: AtomicU64,
    live_finals: AtomicU64,
    final_delay_ms_sum: AtomicU64,
    final_delay_ms_max: AtomicU64,
}

/// What the counts came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Audio on the tape that no provider has been given yet, in milliseconds; at most a second old.
    pub behind_ms: u64,
    /// Streams that were opened.
    pub streams: u64,
    /// Streams that failed, or could not be opened.
    pub retries: u64,
    /// How often it went over to the other provider.
    pub changes: u64,
    /// Final segments.
    pub finals: u64,
    /// Those of them that came while the tape was still growing.
    pub live_finals: u64,
    /// From the last audio of an utterance to its final text, of all live finals together, in milliseconds.
    pub final_delay_ms_sum: u64,
    /// The longest of them.
    pub final_delay_ms_max: u64,
}

impl Figures {
    /// What they came to.
    pub fn standing(&self) -> Standing {
        Standing {
            behind_ms: self.behind_ms.load(Relaxed),
            streams: self.streams.load(Relaxed),
            retries: self.retries.load(Relaxed),
            changes: self.changes.load(Relaxed),
            finals: self.finals.load(Relaxed),
            live_finals: self.live_finals.load(Relaxed),
            final_delay_ms_sum: self.final_delay_ms_sum.load(Relaxed),
            final_delay_ms_max: self.final_delay_ms_max.load(Relaxed),
        }
    }

    pub(super) fn behind(&self, ms: u64) {
        self.behind_ms.store(ms, Relaxed);
    }

    pub(super) fn opened(&self) {
        self.streams.fetch_add(1, Relaxed);
    }

    pub(super) fn failed(&self, goes_over: bool) {
        self.retries.fetch_add(1, Relaxed);
        self.changes.fetch_add(goes_over.into(), Relaxed);
    }

    pub(super) fn went_back(&self) {
        self.changes.fetch_add(1, Relaxed);
    }

    /// A final came; so long after its audio, where the tape is still growing.
    pub(super) fn told(&self, delay_ms: Option<u64>) {
        self.finals.fetch_add(1, Relaxed);
        if let Some(ms) = delay_ms {
            self.live_finals.fetch_add(1, Relaxed);
            self.final_delay_ms_sum.fetch_add(ms, Relaxed);
            self.final_delay_ms_max.fetch_max(ms, Relaxed);
        }
    }
}
