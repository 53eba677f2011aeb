//! From captured audio to text: a [`Transcriber`] follows a [`Tape`] and tells [`Segment`]s.
//!
//! The tape is the buffer: whatever a provider does, audio waits there and is read from where the last final segment ended.
//! So a provider that is down, slow or cut in the middle delays text and loses none, and whoever writes the tape waits for
//! nobody. A stream is open only while somebody speaks: in a long pause it is ended, and its place given back.
//!
//! Left to others: what the tape is made of, and what becomes of the segments. Places at a provider, and that they are given
//! fairly between tenants, are the provider's ([`SpeechToText::open`](crate::SpeechToText::open) waits for one).

mod choice;
mod conversation;
mod feed;
mod figures;
mod pauses;
mod recorded;
#[cfg(test)]
mod scripted;
mod segment;
mod tape;
#[cfg(test)]
mod tests;
mod transcriber;

use std::time::Duration;

use aimg_core::Backoff;

pub use figures::{Figures, Standing};
pub use recorded::Recorded;
pub use segment::Segment;
pub use tape::{Length, Tape};
pub use transcriber::{Ending, Reached, Transcriber};

/// How patient a [`Transcriber`] is.
#[derive(Clone, Debug)]
pub struct Config {
    /// Audio below this level is a pause, in dBFS (RMS of 20 ms). Higher costs quiet words, lower costs places.
    pub quiet_below_dbfs: f64,
    /// Audio before the first loud sample that is given to the provider too: words begin quietly.
    pub pre_roll: Duration,
    /// A stream that is to end does so in a pause that has lasted so long.
    pub cut_in_pause: Duration,
    /// A stream is ended, and its place given back, in a pause that has lasted so long.
    pub rest_in_pause: Duration,
    /// A provider that hears speech and says nothing for so long is asked to finish in the next pause, and after twice that
    /// time anywhere: it may hang, or what it hears may be no speech.
    pub answer_patience: Duration,
    /// A provider that takes no audio for so long hangs.
    pub take_patience: Duration,
    /// A provider that is to finish and says nothing for so long hangs.
    pub finish_patience: Duration,
    /// Waiting for a place at one provider for so long sends to the other one, where there is one.
    pub place_patience: Duration,
    /// So many failures in a row send to the other provider.
    pub failures_max: u32,
    /// After so long at the second provider the first one is tried again.
    pub first_again_after: Duration,
    /// How long is waited between attempts.
    pub backoff: Backoff,
    /// Once the tape is complete, so long without any progress ends in giving up.
    pub give_up_after: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            quiet_below_dbfs: -55.0,
            pre_roll: Duration::from_millis(300),
            cut_in_pause: Duration::from_millis(200),
            rest_in_pause: Duration::from_secs(8),
            answer_patience: Duration::from_secs(20),
            take_patience: Duration::from_secs(10),
            finish_patience: Duration::from_secs(15),
            place_patience: Duration::from_secs(20),
            failures_max: 3,
            first_again_after: Duration::from_secs(60),
            backoff: Backoff::new(Duration::from_millis(250), Duration::from_secs(15)),
            give_up_after: Duration::from_secs(600),
        }
    }
}
