//! Riva as a [`SpeechToText`].

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use super::answer::Answers;
use super::connection::Connection;
use super::proto::asr::riva_speech_recognition_client::RivaSpeechRecognitionClient as Client;
use super::proto::asr::{RecognizeRequest, RivaSpeechRecognitionConfigRequest, StreamingRecognitionConfig};
use super::request;
use super::settings::Settings;
use super::stream::{self, Opening};
use crate::axis::Axis;
use crate::error::{ErrorKind, Result};
use crate::places::{Load, Place, Places};
use crate::recognise::{Capabilities, Health, Hypothesis, Languages, SpeechToText, Stream, StreamOptions};

/// Chunks of a second where nobody says otherwise: 100 ms.
const CHUNKS_A_SECOND: u32 = 10;

/// A Riva server that recognises.
#[derive(Debug)]
pub struct Recogniser {
    settings: Settings,
    connection: Arc<Connection>,
    places: Places,
}

impl Recogniser {
    /// Checks the settings and reads the certificates; connects to nobody.
    pub fn new(settings: Settings) -> Result<Self> {
        let connection = Arc::new(Connection::new(&settings, &settings.asr)?);
        let places = Places::new(settings.requests_max);
        Ok(Self { settings, connection, places })
    }

    /// How many streams and requests run, and how many wait.
    pub fn load(&self) -> Load {
        self.places.load()
    }

    /// Recognises a whole recording in one request; better, where there is an offline model, and no sooner than at its end.
    /// [`StreamOptions::interim`] means nothing here.
    pub async fn recognise(&self, options: &StreamOptions, samples: &[i16]) -> Result<Vec<Hypothesis>> {
        let config = request::recognition(&self.settings, options)?;
        let audio = stream::bytes(samples, config.encoding());
        let bytes_max = self.settings.audio_bytes_max;
        if audio.len() > bytes_max {
            let what = format!(
                "{} bytes of audio at once: split it, or raise TRANSCRIPTION_MAX_AUDIO_SIZE = {bytes_max}",
                audio.len()
            );
            return Err(self.settings.error(ErrorKind::Invalid, what));
        }
        let _place = self.place(options).await?;
        let mut client = Client::new(self.connection.channel().await?);
        let mut answers = Answers::new(config.diarization_config.is_some());
        let request = RecognizeRequest { config: Some(config), audio };
        let answer = client.recognize(self.connection.request(request));
        let response = self.connection.answer(self.settings.request_timeout, answer, None).await?.into_inner();
        let mut axis = Axis::new(options.sample_rate_hz);
        axis.sent(samples.len());
        Ok(answers.whole(response.results, &axis))
    }

    async fn place(&self, options: &StreamOptions) -> Result<Place> {
        self.places.take(options.tenant).await.ok_or_else(|| {
            self.settings
                .error(ErrorKind::Busy, "too many wait for it: raise RIVA_MAX_CONCURRENT_REQUESTS, or add a server")
        })
    }
}

#[async_trait]
impl SpeechToText for Recogniser {
    fn name(&self) -> &str {
        &self.settings.name
    }

    /// Riva resamples by itself, so the rate of a phone is as good as any.
    fn capabilities(&self) -> Capabilities {
        let mut sample_rates_hz = vec![self.settings.sample_rate_hz, 8_000, 16_000, 48_000];
        let mut known = std::collections::HashSet::new();
        sample_rates_hz.retain(|&rate| known.insert(rate));
        Capabilities {
            sample_rates_hz,
            interim: true,
            word_times: self.settings.word_times,
            speakers: self.settings.speakers,
            end_of_utterance: true,
            languages: Languages::Any,
            streams_max: Some(self.settings.requests_max),
            stream_max: None,
        }
    }

    async fn open(&self, options: &StreamOptions) -> Result<Stream> {
        let config = request::recognition(&self.settings, options)?;
        let place = self.place(options).await?;
        let channel = self.connection.channel().await?;
        let rate = options.sample_rate_hz;
        let opening = Opening {
            encoding: config.encoding(),
            config: StreamingRecognitionConfig { config: Some(config), interim_results: options.interim },
            sample_rate_hz: rate,
            chunk_samples: self.settings.chunk_samples.unwrap_or((rate / CHUNKS_A_SECOND) as usize).max(1),
            request_timeout: self.settings.request_timeout,
        };
        Ok(stream::begin(self.connection.clone(), channel, opening, place))
    }

    async fn check(&self) -> Result<Health> {
        let asked = Instant::now();
        let mut client = Client::new(self.connection.channel().await?);
        let request = self.connection.request(RivaSpeechRecognitionConfigRequest::default());
        let answer = client.get_riva_speech_recognition_config(request);
        let response = self.connection.answer(self.settings.request_timeout, answer, None).await?.into_inner();
        let models = response.model_config.into_iter();
        let models = models.map(|model| (model.model_name, model.parameters.into_iter().collect())).collect();
        Ok(Health { models, answered_after_ms: asked.elapsed().as_millis() as u64 })
    }
}
