//! The local recogniser: Whisper in this process, without network, account or GPU.
//!
//! It is no streaming engine. A detector of voice cuts the stream into utterances; while one grows it is recognised again and
//! again, for interim texts, and when it has ended for the final one. All streams share a few threads: finals go before
//! interims, which are left out where there is too much to do, and tenants take turns. Whoever sends audio faster than it can
//! be recognised waits.

mod engine;
mod queue;
mod stream;
mod workers;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::error::{Error, ErrorKind, Result};
use crate::places::{Load, Places};
use crate::recognise::{Capabilities, Health, Languages, SpeechToText, Stream, StreamOptions};
use crate::vad::Cutting;
use engine::Engine;
use stream::Ears;
pub use workers::Work;
use workers::Workers;

/// The rates that it takes: its own first.
const SAMPLE_RATES_HZ: [u32; 7] = [16_000, 8_000, 48_000, 44_100, 32_000, 24_000, 22_050];
/// Pieces of audio that wait in a stream: of 20 ms each, a second.
const AUDIO_MAX: usize = 50;
/// Hypotheses that wait for who listens.
const HEARD_MAX: usize = 16;

/// What the local recogniser is to be like.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Its name as a provider.
    pub name: String,
    /// The model's file, as [`Models::path`](crate::models::Models::path) gives it.
    pub model: PathBuf,
    /// Threads that recognise. Each takes about 100 MB.
    pub workers: usize,
    /// Streams at once; more wait for a place. Each takes up to 3 MB.
    pub streams_max: usize,
    /// How speech is cut into utterances.
    pub cutting: Cutting,
}

impl Config {
    /// A worker for each core, and 64 streams.
    pub fn new(name: impl Into<String>, model: impl Into<PathBuf>) -> Self {
        let (name, model) = (name.into(), model.into());
        let workers = thread::available_parallelism().map_or(1, usize::from);
        Self { name, model, workers, streams_max: 64, cutting: Cutting::default() }
    }
}

/// Whisper, behind a detector of voice.
#[derive(Debug)]
pub struct LocalRecogniser {
    config: Config,
    workers: Arc<Workers>,
    places: Places,
    is_multilingual: bool,
}

impl LocalRecogniser {
    /// Loads the model and starts the workers. Blocks for some 100 ms.
    pub fn start(config: Config) -> Result<Self> {
        let failed = |kind| {
            let provider = config.name.clone();
            move |what| Error { provider, kind, what }
        };
        let engine = Engine::load(&config.model).map_err(failed(ErrorKind::Invalid))?;
        let workers = Workers::start(&engine, config.workers.max(1)).map_err(failed(ErrorKind::Internal))?;
        let places = Places::new(config.streams_max);
        Ok(Self { workers: Arc::new(workers), places, is_multilingual: engine.is_multilingual(), config })
    }

    /// How much its workers have to do.
    pub fn work(&self) -> Work {
        self.workers.work()
    }

    /// How many streams there are, and who waits for a place.
    pub fn load(&self) -> Load {
        self.places.load()
    }

    fn error(&self, kind: ErrorKind, what: impl Into<String>) -> Error {
        Error { provider: self.config.name.clone(), kind, what: what.into() }
    }

    /// Whisper knows a language by its first letters (`en`).
    fn language(&self, wanted: Option<&str>) -> Result<Option<String>> {
        let Some(wanted) = wanted else { return Ok(None) };
        let short = wanted.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
        if whisper_rs::get_lang_id(&short).is_none() {
            return Err(self.error(ErrorKind::Invalid, format!("language {wanted} is not one of Whisper's")));
        }
        if !self.is_multilingual && short != "en" {
            let what =
                format!("the model knows English only, not {wanted}: get a multilingual one with `aimg models pull`");
            return Err(self.error(ErrorKind::Invalid, what));
        }
        Ok(Some(short))
    }
}

#[async_trait]
impl SpeechToText for LocalRecogniser {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn capabilities(&self) -> Capabilities {
        let english = || Languages::These(vec!["en".to_owned()]);
        Capabilities {
            sample_rates_hz: SAMPLE_RATES_HZ.to_vec(),
            interim: true,
            word_times: true,
            speakers: false,
            end_of_utterance: true,
            languages: if self.is_multilingual { Languages::Any } else { english() },
            streams_max: Some(self.config.streams_max),
            stream_max: None,
        }
    }

    async fn open(&self, options: &StreamOptions) -> Result<Stream> {
        if !SAMPLE_RATES_HZ.contains(&options.sample_rate_hz) {
            let what = format!("a sample rate of {} Hz: it takes {SAMPLE_RATES_HZ:?}", options.sample_rate_hz);
            return Err(self.error(ErrorKind::Invalid, what));
        }
        let language = self.language(options.language.as_deref())?;
        let options = StreamOptions { language, ..options.clone() };
        let place = self.places.take(options.tenant).await;
        let place = place.ok_or_else(|| self.error(ErrorKind::Busy, "too many streams wait for a place"))?;
        let ears = Ears::new(&self.config.name, &options, self.config.cutting, Arc::clone(&self.workers), place)?;
        let (audio, audio_in) = mpsc::channel(AUDIO_MAX);
        let (heard_out, heard) = mpsc::channel(HEARD_MAX);
        tokio::spawn(ears.listen(audio_in, heard_out));
        Ok(Stream { audio, heard })
    }

    async fn check(&self) -> Result<Health> {
        let asked = Instant::now();
        let work = self.work();
        let about = BTreeMap::from([
            ("languages".to_owned(), if self.is_multilingual { "many" } else { "en" }.to_owned()),
            ("workers".to_owned(), self.config.workers.to_string()),
            ("finals_waiting".to_owned(), work.finals_waiting.to_string()),
        ]);
        let model = self.config.model.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let answered_after_ms = asked.elapsed().as_millis() as u64;
        Ok(Health { models: BTreeMap::from([(model, about)]), answered_after_ms })
    }
}
