//! Somebody who listens to a stream.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::watch;

use crate::bus::Shared;
use crate::stream::Stream;
use crate::{Notice, Published};

/// Notices that are looked at in one go: whoever sends them may be slow, and others want the stream too.
pub const TAKEN_MAX: usize = 256;

/// What was asked for is not remembered any more, or never was: look at the state of things anew, and go on from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what came after this number is not remembered; read the state of things anew and go on after {last}")]
pub struct Gone {
    /// The last number of the stream.
    pub last: u64,
}

/// A place in a stream. It is told of notices in their order, each once; one that falls behind what is remembered skips to
/// the newest and is told how many it missed.
#[derive(Debug)]
pub struct Subscription {
    shared: Arc<Shared>,
    stream: Arc<Stream>,
    head: watch::Receiver<u64>,
    /// The last notice that it was told of.
    seq: u64,
}

impl Subscription {
    pub(crate) fn new(shared: Arc<Shared>, stream: Arc<Stream>) -> Self {
        shared.counters.subscriptions.fetch_add(1, Ordering::Relaxed);
        let head = stream.head.subscribe();
        let seq = stream.history().last();
        Self { shared, stream, head, seq }
    }

    /// The number up to which it was told.
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// Goes back (or forth) to a number that somebody has seen. Returns how many notices come after it.
    pub fn resume_after(&mut self, seq: u64) -> Result<u64, Gone> {
        let history = self.stream.history();
        let last = history.last();
        if history.after(seq).is_none() {
            drop(history);
            self.shared.counters.resyncs.fetch_add(1, Ordering::Relaxed);
            return Err(Gone { last });
        }
        drop(history);
        self.seq = seq;
        Ok(last - seq)
    }

    /// Goes on with what comes from here on.
    pub fn skip_to_newest(&mut self) {
        self.seq = self.stream.history().last();
    }

    /// Takes what there is of what is wanted, in order, up to [`TAKEN_MAX`] notices looked at. Returns how many were missed
    /// before the first of them. Nothing taken and nothing missed does not mean that there is nothing more.
    pub fn take(&mut self, wants: impl Fn(&Notice) -> bool, into: &mut Vec<Arc<Published>>) -> u64 {
        let history = self.stream.history();
        let Some(after) = history.after(self.seq) else {
            let missed = history.last().saturating_sub(self.seq);
            self.seq = history.last();
            drop(history);
            self.shared.counters.missed.fetch_add(missed, Ordering::Relaxed);
            return missed;
        };
        let mut seq = self.seq;
        for published in after.take(TAKEN_MAX) {
            seq = published.seq;
            if wants(&published.notice) {
                into.push(Arc::clone(published));
            }
        }
        self.seq = seq;
        0
    }

    /// Waits for the beat after which there is something that it was not told of. May be dropped and called again.
    pub async fn ready(&mut self) {
        let seq = self.seq;
        // The stream is never closed: the subscription keeps it.
        let _ = self.head.wait_for(|head| *head > seq).await;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.counters.subscriptions.fetch_sub(1, Ordering::Relaxed);
    }
}
