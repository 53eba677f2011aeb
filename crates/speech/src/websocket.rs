//! Services that recognise over a WebSocket: [`Recogniser`], set up by [`Settings`], fitted to a service by a [`Protocol`].
//!
//! Such services differ in names and in little else: audio goes out in pieces, JSON comes back. What differs is data: two
//! presets, and whatever of them somebody overrides (`docs/websocket-recognisers.md`). Left to others: which addresses may be
//! reached; they are the operator's word.

mod answer;
mod connection;
mod protocol;
mod recogniser;
mod refusal;
mod stream;
mod template;

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

pub use protocol::{Answers, Preset, Protocol, TimeUnit, Unfit};
pub use recogniser::Recogniser;

/// How a service is reached, and what it is asked for when nobody says otherwise.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What errors call it.
    pub name: String,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// What stands for `{key}`.
    pub key: Option<SecretString>,
    /// The language of streams that name none, as BCP 47.
    pub language: Option<String>,
    /// Who vouches for its certificate (PEM); unset: whom the operating system trusts.
    pub authorities: Option<PathBuf>,
    /// How long connecting may take, with TLS and the WebSocket's handshake.
    pub connect_timeout: Duration,
    /// How long it may take to be ready, and to tell the rest when the audio has ended.
    pub request_timeout: Duration,
    /// Streams at once; others wait.
    pub streams_max: usize,
}

impl Settings {
    /// A service that speaks this protocol and wants no key.
    pub fn new(protocol: Protocol) -> Self {
        Self {
            name: "websocket".to_owned(),
            protocol,
            key: None,
            language: None,
            authorities: None,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            streams_max: 10,
        }
    }
}
