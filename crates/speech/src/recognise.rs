//! Speech to text: a streaming session.

use std::collections::BTreeMap;
use std::time::Duration;

use aimg_core::TenantId;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::error::Result;

/// Turns speech into text.
#[async_trait]
pub trait SpeechToText: Send + Sync {
    /// Its name, as it is configured.
    fn name(&self) -> &str;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Opens a stream for the audio of one direction. Waits for a place where the provider allows only so many at once.
    async fn open(&self, options: &StreamOptions) -> Result<Stream>;

    /// Asks whether it works, and what it has, without recognising anything.
    async fn check(&self) -> Result<Health>;
}

/// One streaming session. Both channels are bounded, and the provider cuts the audio as it likes it.
///
/// Dropping `audio` ends the stream: what is still to be recognised is, and then `heard` ends. A `heard` that ends before, with
/// or without an error as its last, has broken off; what it gave holds up to the last final's `until_ms`.
#[derive(Debug)]
pub struct Stream {
    /// What is said, in order and without holes.
    pub audio: mpsc::Sender<Audio>,
    /// What is heard, in order of time. An interim hypothesis is replaced by the next one, a final one stays.
    pub heard: mpsc::Receiver<Result<Hypothesis>>,
}

/// A piece of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audio {
    /// Linear samples, mono, at the stream's rate.
    Samples(Vec<i16>),
    /// The speaker has ended an utterance: it is to be made final now. For providers that have
    /// [`Capabilities::end_of_utterance`]; others pass it over.
    EndOfUtterance,
}

/// What a stream is to be like.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamOptions {
    /// Whose audio it is: providers that have to choose are fair between tenants.
    pub tenant: TenantId,
    /// Of the samples, in Hz: one of [`Capabilities::sample_rates_hz`].
    pub sample_rate_hz: u32,
    /// The language as BCP 47 (`en-US`), or the provider's own default.
    pub language: Option<String>,
    /// The model by the provider's name, or its default for the language.
    pub model: Option<String>,
    /// Whether interim hypotheses are wanted.
    pub interim: bool,
    /// The most speakers to be told apart; unset: they are not.
    pub speakers_max: Option<u8>,
    /// Words and phrases that are likely.
    pub boosts: Vec<Boost>,
    /// Settings by the provider's own names.
    pub custom: BTreeMap<String, String>,
}

impl StreamOptions {
    /// A stream without wishes.
    pub fn new(tenant: TenantId, sample_rate_hz: u32) -> Self {
        Self {
            tenant,
            sample_rate_hz,
            language: None,
            model: None,
            interim: true,
            speakers_max: None,
            boosts: Vec::new(),
            custom: BTreeMap::new(),
        }
    }
}

/// A phrase that is likelier than usual.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boost {
    /// The phrase.
    pub phrase: String,
    /// How much likelier, on the provider's scale (Riva: -20 to 20).
    pub weight: f32,
}

/// What a provider can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The rates it takes, the best first, in Hz.
    pub sample_rates_hz: Vec<u32>,
    /// Whether it gives interim hypotheses.
    pub interim: bool,
    /// Whether it gives the times of words.
    pub word_times: bool,
    /// Whether it can tell speakers apart.
    pub speakers: bool,
    /// Whether it ends an utterance when it is told to.
    pub end_of_utterance: bool,
    /// Which languages it knows.
    pub languages: Languages,
    /// The most streams at once.
    pub streams_max: Option<usize>,
    /// The longest a stream may be.
    pub stream_max: Option<Duration>,
}

/// Which languages a provider knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Languages {
    /// Only the provider can tell.
    Any,
    /// These, as BCP 47.
    These(Vec<String>),
}

/// One thing heard.
#[derive(Clone, Debug, PartialEq)]
pub struct Hypothesis {
    /// The text.
    pub text: String,
    /// Whether it stays as it is.
    pub is_final: bool,
    /// Where it begins, counted from the stream's first sample.
    pub start_ms: u64,
    /// Where it ends, counted from the stream's first sample.
    pub end_ms: u64,
    /// Of a final one: all that was said before this place has been told. A stream that takes over begins here.
    pub until_ms: u64,
    /// How sure the provider is, from 0 to 1.
    pub confidence: Option<f32>,
    /// How stable an interim one is, from 0 to 1.
    pub stability: Option<f32>,
    /// In which language (BCP 47), where the provider says.
    pub language: Option<String>,
    /// Its words, where the provider gives them.
    pub words: Vec<Word>,
    /// What else it may have been, the likeliest first.
    pub alternatives: Vec<String>,
}

/// A word and its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Word {
    /// The word, as it stands in the text.
    pub word: String,
    /// Where it begins, counted from the stream's first sample.
    pub start_ms: u64,
    /// Where it ends.
    pub end_ms: u64,
    /// How sure the provider is, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f32>,
    /// Which speaker, where they are told apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speaker: Option<u32>,
}

/// What a provider says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Health {
    /// The models it has, with what it says of them.
    pub models: BTreeMap<String, BTreeMap<String, String>>,
    /// How long the answer took, in milliseconds.
    pub answered_after_ms: u64,
}
