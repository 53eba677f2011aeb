//! How transcribing goes: what runs, what is owed, and what came of it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aimg_core::TranscriptId;
use aimg_speech::pipeline::{Figures, Reached, Standing};

use super::roll::Room;

/// Transcripts of which is remembered how far they came. Of those beyond it is read from the store.
const OWED_MAX: usize = 10_000;

/// Counts and places. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board {
    state: Arc<Mutex<State>>,
    pub(super) room: Room,
}

#[derive(Debug, Default)]
struct State {
    /// Being written while their calls go on.
    live: HashSet<TranscriptId>,
    /// To be finished from the recording.
    owed: HashMap<TranscriptId, [Reached; 2]>,
    owed_now: u64,
    running: Vec<Arc<Figures>>,
    /// Of those that have ended.
    past: SpeechCounts,
}

/// How transcribing goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpeechCounts {
    /// Transcripts that are written while their calls go on.
    pub live: u64,
    /// Transcripts that wait to be made, or finished, from a recording.
    pub owed: u64,
    /// Audio that waits in memory to be recognised, in bytes.
    pub waiting_bytes: u64,
    /// The most audio of one direction that no recogniser has been given yet, in milliseconds.
    pub behind_ms_max: u64,
    /// Streams that were opened.
    pub streams: u64,
    /// Streams that failed, or could not be opened.
    pub retries: u64,
    /// How often the other recogniser took over.
    pub changes: u64,
    /// Final segments.
    pub finals: u64,
    /// Final segments of calls that went on.
    pub live_finals: u64,
    /// From the last audio of an utterance to its final text, of all live ones together, in milliseconds.
    pub final_delay_ms_sum: u64,
    /// The longest of them, in milliseconds.
    pub final_delay_ms_max: u64,
}

impl SpeechCounts {
    fn add(&mut self, standing: Standing) {
        let Standing { behind_ms, streams, retries, changes, finals, live_finals, .. } = standing;
        self.behind_ms_max = self.behind_ms_max.max(behind_ms);
        self.streams += streams;
        self.retries += retries;
        self.changes += changes;
        self.finals += finals;
        self.live_finals += live_finals;
        self.final_delay_ms_sum += standing.final_delay_ms_sum;
        self.final_delay_ms_max = self.final_delay_ms_max.max(standing.final_delay_ms_max);
    }
}

impl Board {
    /// A transcript that is written live, until this is dropped.
    pub(super) fn live(&self, id: TranscriptId) -> Live {
        self.state().live.insert(id);
        Live { board: self.clone(), id }
    }

    pub(super) fn is_live(&self, id: TranscriptId) -> bool {
        self.state().live.contains(&id)
    }

    /// The rest of a transcript is to be made from the recording.
    pub(super) fn owe(&self, id: TranscriptId, reached: [Reached; 2]) {
        let mut state = self.state();
        if state.owed.len() < OWED_MAX {
            state.owed.insert(id, reached);
        }
    }

    /// How far a transcript came that is owed, where it is remembered.
    pub(super) fn reached(&self, id: TranscriptId) -> Option<[Reached; 2]> {
        self.state().owed.get(&id).copied()
    }

    /// A transcript is not owed any more.
    pub(super) fn settle(&self, id: TranscriptId) {
        self.state().owed.remove(&id);
    }

    /// So many are owed now.
    pub(super) fn owed(&self, count: u64) {
        self.state().owed_now = count;
    }

    /// One direction is being transcribed, until this is dropped.
    pub(super) fn transcribing(&self, figures: Arc<Figures>) -> Transcribing {
        self.state().running.push(Arc::clone(&figures));
        Transcribing { board: self.clone(), figures }
    }

    /// What it came to.
    pub(crate) fn counts(&self) -> SpeechCounts {
        let state = self.state();
        let mut counts = SpeechCounts { behind_ms_max: 0, ..state.past };
        for figures in &state.running {
            counts.add(figures.standing());
        }
        SpeechCounts { live: state.live.len() as u64, owed: state.owed_now, waiting_bytes: self.room.bytes(), ..counts }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Board::live`].
#[derive(Debug)]
pub(super) struct Live {
    board: Board,
    id: TranscriptId,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.board.state().live.remove(&self.id);
    }
}

/// See [`Board::transcribing`].
#[derive(Debug)]
pub(super) struct Transcribing {
    board: Board,
    figures: Arc<Figures>,
}

impl Drop for Transcribing {
    fn drop(&mut self) {
        let mut state = self.board.state();
        state.running.retain(|figures| !Arc::ptr_eq(figures, &self.figures));
        // Who has ended is not behind.
        state.past.add(Standing { behind_ms: 0, ..self.figures.standing() });
    }
}
