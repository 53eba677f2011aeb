//! Text to speech.

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::error::Result;
use crate::recognise::Health;

/// Turns text into speech.
#[async_trait]
pub trait TextToSpeech: Send + Sync {
    /// Its name, as it is configured.
    fn name(&self) -> &str;

    /// Begins to speak `text`. The audio comes in pieces as it is made.
    async fn speak(&self, text: &str, options: &VoiceOptions) -> Result<Speech>;

    /// Asks whether it works, without speaking.
    async fn check(&self) -> Result<Health>;
}

/// How a text is to be spoken. What is unset is the provider's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct VoiceOptions {
    /// The voice by the provider's name.
    pub voice: Option<String>,
    /// The language as BCP 47.
    pub language: Option<String>,
    /// The rate that suits best, in Hz. [`Speech::sample_rate_hz`] says what it became.
    pub sample_rate_hz: Option<u32>,
}

/// A text being spoken. Dropping it stops the provider's work.
#[derive(Debug)]
pub struct Speech {
    /// Of the samples, in Hz.
    pub sample_rate_hz: u32,
    /// Linear samples, mono, in order. An error is the last: what came before it was spoken.
    pub audio: mpsc::Receiver<Result<Vec<i16>>>,
}
