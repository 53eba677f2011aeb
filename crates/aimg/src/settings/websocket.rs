//! What a service that recognises over a WebSocket is set up with.

use std::path::PathBuf;
use std::time::Duration;

use aimg_speech::websocket::Preset;
use secrecy::SecretString;

use super::reader::Reader;
use super::table;

/// A service that recognises over a WebSocket. Its protocol's file is read when the recogniser is made.
#[derive(Clone, Debug)]
pub(crate) struct WebsocketSpeech {
    /// Which one it is.
    pub(crate) preset: Preset,
    /// The file with what differs from that.
    pub(crate) protocol: Option<PathBuf>,
    /// What it knows us by.
    pub(crate) key: Option<SecretString>,
    /// The model, if not the preset's.
    pub(crate) model: Option<String>,
    /// The language of whoever names none.
    pub(crate) language: Option<String>,
    /// Who vouches for its certificate, if not whom the operating system trusts.
    pub(crate) authorities: Option<PathBuf>,
    /// How long an answer may take.
    pub(crate) request_timeout: Duration,
    /// Streams at once.
    pub(crate) streams_max: usize,
}

/// All of it is read, so that all mistakes are told; nothing comes of it where no service is named.
pub(super) fn read(reader: &mut Reader) -> Option<WebsocketSpeech> {
    let preset = reader.read(&table::WEBSOCKET_SPEECH_SERVICE);
    let protocol = reader.read(&table::WEBSOCKET_SPEECH_PROTOCOL);
    let key = reader.read(&table::WEBSOCKET_SPEECH_KEY);
    let model = reader.read(&table::WEBSOCKET_SPEECH_MODEL);
    let language = reader.read(&table::WEBSOCKET_SPEECH_LANGUAGE);
    let authorities = reader.read(&table::WEBSOCKET_SPEECH_CA);
    let request_timeout = reader.read(&table::WEBSOCKET_SPEECH_TIMEOUT);
    let streams_max = reader.read(&table::WEBSOCKET_SPEECH_STREAMS);
    if preset == Some(Preset::None) && protocol.is_none() {
        reader.reject(&table::WEBSOCKET_SPEECH_SERVICE, "of no use without speech.websocket.protocol");
    }
    Some(WebsocketSpeech { preset: preset?, protocol, key, model, language, authorities, request_timeout, streams_max })
}
