//! What recognises and speaks besides Riva, and how files are transcribed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aimg_gateway::SaidDir;
use aimg_speech::{http, voice};

use super::reader::Reader;
use super::table;
use super::websocket::{self, WebsocketSpeech};

/// Everything about speech but Riva.
#[derive(Clone, Debug)]
pub(crate) struct SpeechSettings {
    /// A service with OpenAI's API, if one is used.
    pub(crate) http: Option<HttpSpeech>,
    /// Where what is said into calls is for Asterisk to read.
    pub(crate) said: SaidDir,
    /// A service over a WebSocket, if one is used.
    pub(crate) websocket: Option<WebsocketSpeech>,
    /// The directory of the local recogniser's models.
    pub(crate) models_dir: PathBuf,
    /// Its model.
    pub(crate) model: String,
    /// Its threads, if not one a core.
    pub(crate) workers: Option<usize>,
    /// Its streams at once.
    pub(crate) streams_max: usize,
    /// The program that speaks, if one does.
    pub(crate) voice: Option<voice::Config>,
    /// The largest file that is transcribed.
    pub(crate) audio_bytes_max: usize,
    /// How long the transcript of a file is kept; zero keeps none.
    pub(crate) cache_ttl: Duration,
}

/// A service with OpenAI's API, and what of it is used.
#[derive(Clone, Debug)]
pub(crate) struct HttpSpeech {
    /// How it is reached.
    pub(crate) settings: http::Settings,
    /// Whether it recognises.
    pub(crate) recognises: bool,
    /// Whether it speaks.
    pub(crate) speaks: bool,
}

pub(super) fn read(reader: &mut Reader, data_dir: &Path) -> SpeechSettings {
    SpeechSettings {
        http: read_http(reader),
        said: read_said(reader, data_dir),
        websocket: websocket::read(reader),
        models_dir: reader.read_or(&table::LOCAL_MODELS_DIR, data_dir.join("models").display()),
        model: reader.read(&table::LOCAL_MODEL),
        workers: reader.read(&table::LOCAL_WORKERS),
        streams_max: reader.read(&table::LOCAL_STREAMS_MAX),
        voice: read_voice(reader),
        audio_bytes_max: reader.read(&table::TRANSCRIPTION_MAX_AUDIO_SIZE),
        cache_ttl: Duration::from_secs(reader.read(&table::TRANSCRIPTION_CACHE_TTL)),
    }
}

/// Asterisk knows no directory of ours: its paths begin at the root.
fn read_said(reader: &mut Reader, data_dir: &Path) -> SaidDir {
    let path: PathBuf = reader.read_or(&table::SAID_DIR, data_dir.join("said").display());
    let path = std::path::absolute(&path).unwrap_or(path);
    let seen_as = reader.read_or(&table::SAID_SEEN_AS, path.display());
    SaidDir { path, seen_as }
}

/// All of it is read, so that all mistakes are told; nothing comes of it where no service is named.
fn read_http(reader: &mut Reader) -> Option<HttpSpeech> {
    let url = reader.read(&table::HTTP_SPEECH_URL);
    let key = reader.read(&table::HTTP_SPEECH_KEY);
    let model = reader.read(&table::HTTP_SPEECH_MODEL);
    let language = reader.read(&table::HTTP_SPEECH_LANGUAGE);
    let word_times = reader.read(&table::HTTP_SPEECH_WORD_TIMES);
    let voice_model = reader.read(&table::HTTP_SPEECH_VOICE_MODEL);
    let voice = reader.read(&table::HTTP_SPEECH_VOICE);
    let speech_rate_hz = reader.read(&table::HTTP_SPEECH_RATE);
    let request_timeout = reader.read(&table::HTTP_SPEECH_TIMEOUT);
    let requests_max = reader.read(&table::HTTP_SPEECH_REQUESTS);
    let (recognises, speaks) = (model.is_some(), voice_model.is_some());
    let settings = http::Settings {
        key,
        model: model.unwrap_or_default(),
        language,
        word_times,
        voice_model: voice_model.unwrap_or_default(),
        voice,
        speech_rate_hz,
        request_timeout,
        requests_max,
        ..http::Settings::new(url?)
    };
    Some(HttpSpeech { settings, recognises, speaks })
}

fn read_voice(reader: &mut Reader) -> Option<voice::Config> {
    let program = reader.read(&table::VOICE_PROGRAM);
    let arguments = reader.read(&table::VOICE_ARGUMENTS);
    let voice = reader.read(&table::VOICE_NAME);
    let time_max = reader.read(&table::VOICE_TIMEOUT);
    let program = program?;
    let name = Path::new(&program).file_stem().map_or_else(|| program.clone(), |name| name.to_string_lossy().into());
    Some(voice::Config { program, arguments, voice, time_max, ..voice::Config::flite(name) })
}
