//! Speech to text and text to speech: providers behind two traits.
//!
//! A [`SpeechToText`] opens a [`Stream`]: audio of one direction in, [`Hypothesis`] out, both over bounded channels, so that
//! neither side can flood the other. A [`TextToSpeech`] makes [`Speech`] of a text, whose first audio comes as early as the
//! provider can. Whoever uses them asks for the [`Capabilities`] and does not care who the provider is.
//!
//! What is done when a provider fails is in [`pipeline`], which [`mod@file`] goes through as well; an [`Error`] says whether trying
//! again can help. Left to others: where
//! audio comes from and what becomes of text.

mod axis;
pub mod cache;
mod error;
pub mod file;
pub mod http;
mod joined;
pub mod local;
pub mod models;
pub mod pipeline;
mod places;
mod providers;
mod recognise;
pub mod redact;
pub mod riva;
pub mod subtitles;
mod synthesise;
pub mod vad;
pub mod voice;
pub mod websocket;

pub use error::{Error, ErrorKind, Result};
pub use places::{Load, Place, Places};
pub use providers::Providers;
pub use recognise::{
    Audio, Boost, Capabilities, Health, Hypothesis, Languages, SpeechToText, Stream, StreamOptions, Word,
};
pub use synthesise::{Speech, TextToSpeech, VoiceOptions};
