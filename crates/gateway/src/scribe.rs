//! The text of calls: written down while they go on, and made from their recordings where that was not possible.
//!
//! Live, both directions of a part are heard beside the capture and put on rolls in memory, which two transcribers follow
//! (`live`). Whatever ends that early (a recogniser that is too far behind, a machine that is too busy, the end of this
//! process) leaves the transcript running in the store; from there it is found and finished with the recording (`owed`). So a
//! recogniser delays text and loses none, and a capture never waits for one.

mod board;
mod live;
mod owed;
mod roll;
mod script;
mod sides;
mod wishes;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aimg_core::{Codec, NodeId, SessionRow};
use aimg_media::Clock;
use aimg_speech::Providers;
use aimg_store::Store;
use tokio::task::JoinSet;

pub(crate) use board::Board;
pub use board::SpeechCounts;

use crate::ears::Ears;
use crate::herald::Herald;
use crate::journal::Journal;

/// Writes down what is said. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Scribe {
    parts: Arc<Parts>,
    board: Board,
    /// Nothing once it has stopped.
    tasks: Arc<Mutex<Option<JoinSet<()>>>>,
}

/// What it works with.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) providers: Providers,
    pub(crate) store: Store,
    pub(crate) journal: Journal,
    pub(crate) herald: Herald,
    pub(crate) ears: Ears,
    pub(crate) clock: Clock,
    pub(crate) node: NodeId,
    pub(crate) recordings_dir: PathBuf,
}

impl Scribe {
    pub(crate) fn new(parts: Parts) -> Self {
        let tasks = Arc::new(Mutex::new(Some(JoinSet::new())));
        Self { parts: Arc::new(parts), board: Board::default(), tasks }
    }

    /// How it goes, for as long as somebody looks.
    pub(crate) fn board(&self) -> Board {
        self.board.clone()
    }

    /// Begins to make what earlier runs owe, and what is asked for.
    pub(crate) fn start(&self) {
        self.spawn(owed::work(self.clone()));
    }

    /// The flows of a part are open: it is followed to its end.
    pub(crate) fn follow(&self, session: SessionRow, part: u16, codec: Codec) {
        if self.parts.providers.recognisers().is_empty() {
            return;
        }
        self.spawn(live::follow(self.clone(), session, part, codec));
    }

    /// Leaves everything as it is: the next run goes on.
    pub(crate) async fn stop(&self) {
        let tasks = self.tasks().take();
        if let Some(mut tasks) = tasks {
            tasks.shutdown().await;
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(tasks) = &mut *self.tasks() {
            // Those that have ended are forgotten.
            while tasks.try_join_next().is_some() {}
            tasks.spawn(task);
        }
    }

    fn tasks(&self) -> MutexGuard<'_, Option<JoinSet<()>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
