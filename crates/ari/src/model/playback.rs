//! Playbacks.

use serde::Deserialize;

use super::{Extra, text_id};

text_id! {
    /// The id of a playback.
    PlaybackId
}

/// An audio file or prompt being played.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Playback {
    /// Its id.
    pub id: PlaybackId,
    /// What is played.
    #[serde(default)]
    pub media_uri: String,
    /// Where, such as `channel:1763900000.12`.
    #[serde(default)]
    pub target_uri: String,
    /// What is played next, of several.
    #[serde(default)]
    pub next_media_uri: Option<String>,
    /// Such as `queued`, `playing`, `paused`, `done` or `failed`.
    #[serde(default)]
    pub state: String,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}
