//! Errands: what a command made in Asterisk and must be removed again.
//!
//! An errand is written down before its objects are asked for, under the ids that they will have. Whoever takes it out of
//! the book undoes it, once: who guards it, when its channel goes or the link breaks, or who was asked to end it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aimg_core::{SessionId, Uniqueid};
use tokio::sync::Notify;

use super::ControlError;

/// Errands of one link at once.
pub(super) const ERRANDS_MAX: usize = 256;

/// What an errand does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Plays something into a call.
    Play,
    /// Keeps this channel on hold.
    Hold(Uniqueid),
    /// Lets somebody listen.
    Listen,
}

/// One errand, and what is to be undone at its end.
#[derive(Clone, Debug)]
pub(super) struct Errand {
    pub(super) session: SessionId,
    pub(super) kind: Kind,
    /// Channels of ours to hang up.
    pub(super) channels: Vec<Uniqueid>,
    /// The bridge to destroy.
    pub(super) bridge: Option<String>,
    /// Channels whose speech is silenced.
    pub(super) silenced: Vec<Uniqueid>,
    /// Told when it is over.
    pub(super) over: Arc<Notify>,
}

impl Errand {
    pub(super) fn new(session: SessionId, kind: Kind) -> Self {
        Self { session, kind, channels: Vec::new(), bridge: None, silenced: Vec::new(), over: Arc::default() }
    }
}

/// The book of one link.
#[derive(Debug, Default)]
pub(super) struct Errands {
    number: AtomicU32,
    book: Mutex<HashMap<u32, Errand>>,
}

impl Errands {
    /// The first number is `seed`'s: what an earlier run left has others, in all likelihood.
    pub(super) fn new(seed: u64) -> Self {
        Self { number: AtomicU32::new(seed as u32), ..Self::default() }
    }

    /// Writes one down; its number.
    pub(super) fn begin(&self, errand: impl FnOnce(u32) -> Errand) -> Result<u32, ControlError> {
        let mut book = self.book();
        if book.len() >= ERRANDS_MAX {
            return Err(ControlError::Busy { what: "playbacks, holds and listeners", waiting_max: ERRANDS_MAX });
        }
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        book.insert(number, errand(number));
        Ok(number)
    }

    /// Adds to what is to be undone; false when it is over.
    pub(super) fn silences(&self, number: u32, channel: Uniqueid) -> bool {
        self.book().get_mut(&number).map(|errand| errand.silenced.push(channel)).is_some()
    }

    /// Takes one out: who gets it has to undo it.
    pub(super) fn end(&self, number: u32) -> Option<Errand> {
        let errand = self.book().remove(&number)?;
        errand.over.notify_one();
        Some(errand)
    }

    /// Which there are that fit.
    pub(super) fn find(&self, fits: impl Fn(u32, &Errand) -> bool) -> Vec<u32> {
        self.book().iter().filter(|(number, errand)| fits(**number, errand)).map(|(number, _)| *number).collect()
    }

    /// What tells that one is over; nothing when it is.
    pub(super) fn over(&self, number: u32) -> Option<Arc<Notify>> {
        self.book().get(&number).map(|errand| Arc::clone(&errand.over))
    }

    pub(super) fn is_there(&self, number: u32) -> bool {
        self.book().contains_key(&number)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.book().is_empty()
    }

    fn book(&self) -> MutexGuard<'_, HashMap<u32, Errand>> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errand_is_undone_once_and_there_are_not_too_many() {
        let errands = Errands::new(7);
        let session = SessionId::from_uuid(uuid::Uuid::from_u128(1));
        let begin = || errands.begin(|_| Errand::new(session, Kind::Play));
        let number = begin().unwrap();
        assert_eq!((number, errands.is_there(7)), (7, true));
        assert!(errands.end(number).is_some() && errands.end(number).is_none() && errands.is_empty());
        assert!((0..ERRANDS_MAX).all(|_| begin().is_ok()));
        assert!(matches!(begin(), Err(ControlError::Busy { .. })));
    }
}
