//! Both sides of a part, transcribed beside each other.

use aimg_core::{Direction, Timestamp};
use aimg_speech::pipeline::{Config, Ending, Reached, Tape, Transcriber};
use aimg_speech::{Error, ErrorKind};
use tokio::sync::mpsc;

use super::board::Board;
use super::script::Script;
use super::wishes::Wishes;

/// Segments that wait to be written, of each side; while there is no room, its tape waits.
const SEGMENTS_MAX: usize = 16;

/// What is transcribed, and by whom.
pub(super) struct Sides<T> {
    /// In the order of [`Direction::BOTH`].
    pub(super) tapes: [T; 2],
    /// Where each goes on.
    pub(super) from: [Reached; 2],
    pub(super) wishes: Wishes,
    pub(super) config: Config,
}

/// Follows both tapes to their ends. `origin` is asked, once something was said, when they begin.
pub(super) async fn transcribe<T: Tape>(
    board: &Board,
    script: &Script,
    sides: Sides<T>,
    origin: impl Fn() -> Timestamp,
) -> [(Ending, Reached); 2] {
    let Sides { tapes: [caller, callee], from, wishes, config } = sides;
    let side = |tape, speaker: Direction| {
        let (wishes, config, origin) = (wishes.clone(), config.clone(), &origin);
        let from = from[speaker.index()];
        async move {
            let Some(first) = wishes.first else {
                let what = "no recogniser is set up".to_owned();
                let error = Error { provider: script.row.provider.clone(), kind: ErrorKind::Unsupported, what };
                return (Ending::GaveUp(error), from);
            };
            let (told, mut segments) = mpsc::channel(SEGMENTS_MAX);
            let transcriber = Transcriber::new(tape, first, wishes.second, wishes.options, config, told).from(from);
            let _counted = board.transcribing(transcriber.figures());
            let writing = async {
                while let Some(segment) = segments.recv().await {
                    script.write(speaker, origin(), segment).await;
                }
            };
            tokio::join!(transcriber.run(), writing).0
        }
    };
    let (caller, callee) = tokio::join!(side(caller, Direction::Caller), side(callee, Direction::Callee));
    [caller, callee]
}
