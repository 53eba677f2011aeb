//! One stream of notices: numbered, and the last ones remembered.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use crate::Notice;

/// A notice in a stream.
#[derive(Debug)]
pub struct Published {
    /// Its number in the stream. The first is 1, and each is the one before plus 1.
    pub seq: u64,
    /// What happened.
    pub notice: Arc<Notice>,
    form: OnceLock<Bytes>,
}

impl Published {
    /// The form in which it is sent, which is the same for all who listen to the stream: made by the first who asks.
    pub fn form(&self, make: impl FnOnce(&Self) -> Bytes) -> &Bytes {
        self.form.get_or_init(|| make(self))
    }
}

#[derive(Debug)]
pub(crate) struct Stream {
    history: Mutex<History>,
    /// The number of the last notice, as of the last beat.
    pub(crate) head: watch::Sender<u64>,
    /// It has notices that the beat has not told of.
    pub(crate) waits_for_beat: AtomicBool,
}

#[derive(Debug)]
pub(crate) struct History {
    kept: VecDeque<(Arc<Published>, usize)>,
    kept_bytes: usize,
    /// The number of the last notice; 0 before the first.
    last: u64,
    notices_max: usize,
    bytes_max: usize,
}

impl Stream {
    pub(crate) fn new(notices_max: usize, bytes_max: usize) -> Self {
        let history = History { kept: VecDeque::new(), kept_bytes: 0, last: 0, notices_max, bytes_max };
        Self { history: Mutex::new(history), head: watch::Sender::new(0), waits_for_beat: AtomicBool::new(false) }
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl History {
    /// Takes a notice, and forgets the oldest ones for it.
    pub(crate) fn push(&mut self, notice: Arc<Notice>, bytes: usize) {
        self.last += 1;
        self.kept.push_back((Arc::new(Published { seq: self.last, notice, form: OnceLock::new() }), bytes));
        self.kept_bytes += bytes;
        while self.kept.len() > self.notices_max || self.kept_bytes > self.bytes_max {
            let Some((_, bytes)) = self.kept.pop_front() else { break };
            self.kept_bytes -= bytes;
        }
    }

    /// The number of the last notice; 0 before the first.
    pub(crate) const fn last(&self) -> u64 {
        self.last
    }

    /// What is remembered: how many notices, and how many bytes they take, about.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.kept.len(), self.kept_bytes)
    }

    /// The notices after a number, oldest first; nothing where some of them are forgotten, or there was no such number yet.
    pub(crate) fn after(&self, seq: u64) -> Option<impl Iterator<Item = &Arc<Published>>> {
        let wanted = usize::try_from(self.last.checked_sub(seq)?).ok()?;
        let skipped = self.kept.len().checked_sub(wanted)?;
        Some(self.kept.range(skipped..).map(|(published, _)| published))
    }
}
