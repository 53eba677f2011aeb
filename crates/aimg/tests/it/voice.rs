//! Whose voice is heard.

use aimg_audio::correlate::locate;
use aimg_audio::level::rms_dbfs;
use aimg_testbed::Speech;

use crate::stereo::SAMPLES_PER_MS;

/// What is looked for of a voice: pieces of its first seconds, one of which must be whole in a talk.
const PIECE_MS: usize = 500;
const LONG_PIECE_MS: usize = 1_200;
const STEP_MS: usize = 250;
const PIECES_MS: std::ops::Range<usize> = 0..8_000;
/// How alike a piece is to itself when it has come through Asterisk.
pub(crate) const LIKENESS_MIN: f64 = 0.9;

/// Whose voice it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Voice {
    Ann,
    Bob,
    Cid,
    /// What who waits hears.
    Music,
}

use Voice::{Ann, Bob, Cid, Music};

impl Voice {
    pub(crate) const ALL: [Self; 4] = [Ann, Bob, Cid, Music];

    pub(crate) fn speech(self) -> Speech {
        let name = match self {
            Ann => "demo-congrats",
            Bob => "demo-instruct",
            Cid => "demo-echotest",
            Music => "basic-pbx-ivr-main",
        };
        Speech::prompt(name).unwrap()
    }

    /// How much like this voice the channel is where it is most like it.
    pub(crate) fn likeness(self, channel: &[i16]) -> f64 {
        self.likeness_of_pieces(PIECE_MS, channel)
    }

    /// The same where several speak at once: the longer the pieces are, the less alike is what only sounds like one of them.
    pub(crate) fn likeness_among_others(self, channel: &[i16]) -> f64 {
        self.likeness_of_pieces(LONG_PIECE_MS, channel)
    }

    fn likeness_of_pieces(self, piece_ms: usize, channel: &[i16]) -> f64 {
        let speech = self.speech().samples();
        let pieces = PIECES_MS.step_by(STEP_MS).map(|ms| &speech[ms * SAMPLES_PER_MS..][..piece_ms * SAMPLES_PER_MS]);
        // Near silence everything is alike.
        let loud = pieces.filter(|piece| rms_dbfs(piece) > -35.0);
        loud.filter_map(|piece| Some(locate(piece, channel)?.peak)).fold(0.0, f64::max)
    }
}
