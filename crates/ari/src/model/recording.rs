//! Recordings that Asterisk makes and keeps.

use serde::Deserialize;

use super::Extra;

/// A recording being made.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct LiveRecording {
    /// Its name.
    pub name: String,
    /// The file format, such as `wav`.
    #[serde(default)]
    pub format: String,
    /// What is recorded, such as `channel:1763900000.12`.
    #[serde(default)]
    pub target_uri: String,
    /// Such as `queued`, `recording`, `paused`, `done`, `failed` or `canceled`.
    #[serde(default)]
    pub state: String,
    /// How long it is, seconds, once it is done.
    #[serde(default, rename = "duration")]
    pub duration_s: Option<u32>,
    /// How much of that was speech, seconds.
    #[serde(default, rename = "talking_duration")]
    pub talking_s: Option<u32>,
    /// How much of that was silence, seconds.
    #[serde(default, rename = "silence_duration")]
    pub silence_s: Option<u32>,
    /// Why it failed.
    #[serde(default)]
    pub cause: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A recording that is done.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct StoredRecording {
    /// Its name.
    pub name: String,
    /// The file format.
    #[serde(default)]
    pub format: String,
}
