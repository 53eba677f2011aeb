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
use tokio::sync::{OnceCell, mpsc};

use crate::error::{Error, ErrorKind, Result};
use crate::models;
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
    places: Places,
    is_multilingual: bool,
    /// They come with the first stream.
    workers: OnceCell<Arc<Workers>>,
}

impl LocalRecogniser {
    /// Only looks at the processor, and at how the model's file begins. The model is loaded, and the workers are started, with the first stream,
    /// which waits some 100 ms for it: who never recognises pays nothing, and a start of the program is not delayed.
    pub fn new(config: Config) -> Result<Self> {
        let failed = |kind, what| Error { provider: config.name.clone(), kind, what };
        engine::check_processor().map_err(|what| failed(ErrorKind::Unsupported, what))?;
        let is_multilingual = models::is_multilingual(&config.model)
            .map_err(|error| failed(ErrorKind::Invalid, format!("{error}: verify it with `aimg models verify`")))?;
        let places = Places::new(config.streams_max);
        Ok(Self { config, places, is_multilingual, workers: OnceCell::new() })
    }

    /// The same with the model loaded. Blocks for some 100 ms.
    pub fn start(config: Config) -> Result<Self> {
        let workers = OnceCell::new_with(Some(Arc::new(load(&config)?)));
        Ok(Self { workers, ..Self::new(config)? })
    }

    async fn workers(&self) -> Result<&Arc<Workers>> {
        let load = async || {
            let config = self.config.clone();
            match tokio::task::spawn_blocking(move || load(&config)).await {
                Ok(loaded) => loaded.map(Arc::new),
                Err(lost) => Err(self.error(ErrorKind::Internal, format!("the model was not loaded: {lost}"))),
            }
        };
        self.workers.get_or_try_init(load).await
    }

    /// How much its workers have to do.
    pub fn work(&self) -> Work {
        self.workers.get().map(|workers| workers.work()).unwrap_or_default()
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

fn load(config: &Config) -> Result<Workers> {
    let failed = |kind| move |what| Error { provider: config.name.clone(), kind, what };
    let engine = Engine::load(&config.model).map_err(failed(ErrorKind::Invalid))?;
    Workers::start(&engine, config.workers.max(1)).map_err(failed(ErrorKind::Internal))
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
        let workers = Arc::clone(self.workers().await?);
        let ears = Ears::new(&self.config.name, &options, self.config.cutting, workers, place)?;
        let (audio, audio_in) = mpsc::channel(AUDIO_MAX);
        let (heard_out, heard) = mpsc::channel(HEARD_MAX);
        tokio::spawn(ears.listen(audio_in, heard_out));
        Ok(Stream { audio, heard })
    }

    async fn check(&self) -> Result<Health> {
        let asked = Instant::now();
        self.workers().await?;
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
