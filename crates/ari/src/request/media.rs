//! What is played to a channel or bridge, and what is recorded of it.

use std::fmt;

use super::Request;

/// What to play.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Play {
    /// One after the other: `sound:hello-world`, `recording:NAME`, `number:42`, `digits:123`, `characters:ab`, `tone:ring`.
    pub media: Vec<String>,
    /// The language of prompts; the channel's own unless told.
    pub language: Option<String>,
    /// Begin so far into the first sound, ms.
    pub offset_ms: Option<u32>,
    /// How far forward and reverse jump, ms; Asterisk's default is 3,000.
    pub skip_ms: Option<u32>,
}

impl Play {
    /// One sound by URI, from its beginning.
    pub fn one(media: impl Into<String>) -> Self {
        Self { media: vec![media.into()], ..Self::default() }
    }

    pub(super) fn asked<R>(&self, request: Request<R>) -> Request<R> {
        request
            .query_list("media", &self.media)
            .query_if("lang", self.language.as_ref())
            .query_if("offsetms", self.offset_ms)
            .query_if("skipms", self.skip_ms)
    }
}

/// What happens when a recording of that name exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IfExists {
    /// The request fails: a conflict.
    #[default]
    Fail,
    /// It is replaced.
    Overwrite,
    /// It is continued.
    Append,
}

impl fmt::Display for IfExists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fail => "fail",
            Self::Overwrite => "overwrite",
            Self::Append => "append",
        })
    }
}

/// A recording that Asterisk makes on its own disk. It hears one side: of a channel what its party says, of a bridge what
/// is mixed. Not how calls are captured; for announcements and voice mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its name, below Asterisk's directory of recordings.
    pub name: String,
    /// The file format, such as `wav`.
    pub format: String,
    /// It ends after so long, s; 0 for no limit.
    pub duration_max_s: u32,
    /// It ends after so much silence, s; 0 for no limit.
    pub silence_max_s: u32,
    /// When one of that name exists.
    pub if_exists: IfExists,
    /// Whether a beep is heard first.
    pub beep: bool,
    /// The key that ends it: `any`, `*`, `#`; none without.
    pub terminate_on: Option<String>,
}

impl Record {
    /// Without limits, beep and terminating key; fails when the name is taken.
    pub fn new(name: impl Into<String>, format: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            format: format.into(),
            duration_max_s: 0,
            silence_max_s: 0,
            if_exists: IfExists::Fail,
            beep: false,
            terminate_on: None,
        }
    }

    pub(super) fn asked<R>(&self, request: Request<R>) -> Request<R> {
        request
            .query("name", &self.name)
            .query("format", &self.format)
            .query("maxDurationSeconds", self.duration_max_s)
            .query("maxSilenceSeconds", self.silence_max_s)
            .query("ifExists", self.if_exists)
            .query_true("beep", self.beep)
            .query_if("terminateOn", self.terminate_on.as_ref())
    }
}
