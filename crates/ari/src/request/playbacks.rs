//! Requests about what is being played.

use std::fmt;

use super::{Method, Request};
use crate::model::{Playback, PlaybackId};

/// What is done with a playback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// From the beginning again.
    Restart,
    /// Silence until [`Control::Unpause`].
    Pause,
    /// Goes on.
    Unpause,
    /// Jumps back by [`super::Play::skip_ms`].
    Reverse,
    /// Jumps forward by [`super::Play::skip_ms`].
    Forward,
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Restart => "restart",
            Self::Pause => "pause",
            Self::Unpause => "unpause",
            Self::Reverse => "reverse",
            Self::Forward => "forward",
        })
    }
}

/// One playback; 404 when it is over.
pub fn one(id: &PlaybackId) -> Request<Playback> {
    Request::json(Method::Get, &["playbacks", id.as_str()])
}

/// Ends a playback.
pub fn stop(id: &PlaybackId) -> Request<()> {
    Request::plain(Method::Delete, &["playbacks", id.as_str()])
}

/// Pauses, continues, winds. A conflict when it is not in a state for that; a server error (500) for a moment after
/// PlaybackStarted, which Asterisk tells before it can be controlled.
pub fn control(id: &PlaybackId, control: Control) -> Request<()> {
    Request::plain(Method::Post, &["playbacks", id.as_str(), "control"]).query("operation", control)
}
