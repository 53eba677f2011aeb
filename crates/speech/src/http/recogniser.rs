//! Recognition, one utterance a request.

use std::io::Cursor;

use aimg_audio::wav::{Encoding, Format, WavWriter};
use async_trait::async_trait;
use reqwest::Client;
use reqwest::multipart::{Form, Part};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::{Service, Settings};
use crate::error::{ErrorKind, Result};
use crate::places::{Load, Places};
use crate::recognise::{Audio, Capabilities, Health, Hypothesis, Languages, SpeechToText, Stream, StreamOptions, Word};

/// Pieces of audio that wait while an utterance is recognised: 2 s of 20 ms frames. Whoever has more waits.
const AUDIO_PIECES_MAX: usize = 100;
/// Hypotheses that wait to be taken.
const HEARD_MAX: usize = 64;
/// Whisper, which most of these services are, loses words beyond 30 s.
const UTTERANCE_S_MAX: usize = 28;
/// What is not louder is not asked about: Whisper hears words in silence.
const SILENCE_DBFS: f64 = -50.0;

/// A service that recognises.
#[derive(Debug)]
pub struct Recogniser {
    service: Service,
    places: Places,
}

#[derive(Deserialize)]
struct Transcription {
    text: String,
    language: Option<String>,
    #[serde(default)]
    words: Vec<Timed>,
}

/// Times are in s from the utterance's begin.
#[derive(Deserialize)]
struct Timed {
    word: String,
    start: f64,
    end: f64,
}

impl Recogniser {
    /// `client` decides which addresses may be reached.
    pub fn new(settings: Settings, client: Client) -> Self {
        let places = Places::new(settings.requests_max);
        Self { service: Service { settings, client }, places }
    }

    /// How many requests run, and how many wait.
    pub fn load(&self) -> Load {
        self.places.load()
    }
}

#[async_trait]
impl SpeechToText for Recogniser {
    fn name(&self) -> &str {
        &self.service.settings.name
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            sample_rates_hz: vec![16_000, 8_000, 48_000],
            interim: false,
            word_times: self.service.settings.word_times,
            speakers: false,
            end_of_utterance: true,
            languages: Languages::Any,
            // A stream takes a place only while an utterance is being recognised.
            streams_max: None,
            stream_max: None,
        }
    }

    async fn open(&self, options: &StreamOptions) -> Result<Stream> {
        if options.sample_rate_hz == 0 {
            return Err(self.service.error(ErrorKind::Invalid, "0 Hz is no rate"));
        }
        let (audio, pieces) = mpsc::channel(AUDIO_PIECES_MAX);
        let (told, heard) = mpsc::channel(HEARD_MAX);
        let utterances = Utterances {
            service: self.service.clone(),
            places: self.places.clone(),
            options: options.clone(),
            samples: Vec::new(),
            begin: 0,
        };
        tokio::spawn(async move {
            tokio::select! {
                () = told.closed() => {}
                () = utterances.run(pieces, &told) => {}
            }
        });
        Ok(Stream { audio, heard })
    }

    async fn check(&self) -> Result<Health> {
        self.service.check().await
    }
}

/// One stream, cut into utterances.
struct Utterances {
    service: Service,
    places: Places,
    options: StreamOptions,
    /// Of the utterance that is being said.
    samples: Vec<i16>,
    /// The stream's sample at which it begins.
    begin: u64,
}

impl Utterances {
    async fn run(mut self, mut pieces: mpsc::Receiver<Audio>, told: &mpsc::Sender<Result<Hypothesis>>) {
        let samples_max = UTTERANCE_S_MAX * self.options.sample_rate_hz as usize;
        loop {
            let piece = pieces.recv().await;
            let is_last = piece.is_none();
            let ends = match piece {
                Some(Audio::Samples(samples)) => {
                    self.samples.extend(samples);
                    self.samples.len() >= samples_max
                }
                Some(Audio::EndOfUtterance) | None => true,
            };
            if ends {
                let heard = self.cut().await.transpose();
                let failed = matches!(heard, Some(Err(_)));
                if let Some(heard) = heard {
                    // Who does not listen does not care.
                    told.send(heard).await.ok();
                }
                if failed {
                    return;
                }
            }
            if is_last {
                return;
            }
        }
    }

    /// Ends the utterance, and asks what was said where anything was.
    async fn cut(&mut self) -> Result<Option<Hypothesis>> {
        let samples = std::mem::take(&mut self.samples);
        let begin_ms = self.ms(self.begin);
        self.begin += samples.len() as u64;
        let end_ms = self.ms(self.begin);
        if aimg_audio::level::peak_dbfs(&samples) <= SILENCE_DBFS {
            return Ok(None);
        }
        let place = self.places.take(self.options.tenant).await;
        let _place = place
            .ok_or_else(|| self.service.error(ErrorKind::Busy, "too many wait for it: allow more requests at once"))?;
        let request = self.service.request(true, "audio/transcriptions").multipart(self.form(&samples)?);
        let response = self.service.send(request, None).await?;
        let transcription: Transcription = self.service.json(response).await?;
        Ok(hypothesis(transcription, begin_ms, end_ms))
    }

    fn form(&self, samples: &[i16]) -> Result<Form> {
        let settings = &self.service.settings;
        let file =
            Part::bytes(wav(samples, self.options.sample_rate_hz)).file_name("utterance.wav").mime_str("audio/wav");
        let file = file.expect("it is a media type");
        let model = self.options.model.as_ref().unwrap_or(&settings.model).clone();
        let format = if settings.word_times { "verbose_json" } else { "json" };
        let mut form = Form::new().part("file", file).text("model", model).text("response_format", format);
        if settings.word_times {
            form = form.text("timestamp_granularities[]", "word");
        }
        if let Some(language) = self.options.language.as_ref().or(settings.language.as_ref()) {
            // The service knows languages without their countries.
            form = form.text("language", language.split('-').next().unwrap_or_default().to_owned());
        }
        if !self.options.boosts.is_empty() {
            let phrases: Vec<&str> = self.options.boosts.iter().map(|boost| boost.phrase.as_str()).collect();
            form = form.text("prompt", phrases.join(", "));
        }
        Ok(self.options.custom.iter().fold(form, |form, (name, value)| form.text(name.clone(), value.clone())))
    }

    fn ms(&self, sample: u64) -> u64 {
        sample * 1_000 / u64::from(self.options.sample_rate_hz)
    }
}

fn wav(samples: &[i16], sample_rate_hz: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(samples.len() * 2);
    aimg_audio::linear::to_wav(samples, &mut bytes);
    let mut file = WavWriter::new(Cursor::new(Vec::new()), Format::mono(Encoding::Pcm16, sample_rate_hz))
        .expect("memory takes all");
    file.write(&bytes).expect("memory takes all, and samples are whole");
    file.finish().expect("memory takes all").into_inner()
}

/// What was said, if anything was, on the stream's axis. Without times of words it is as long as the utterance.
fn hypothesis(transcription: Transcription, begin_ms: u64, end_ms: u64) -> Option<Hypothesis> {
    let text = transcription.text.trim().to_owned();
    // Negative ones become 0, and a service may see an end a little after the utterance's.
    let ms = |s: f64| begin_ms.saturating_add((s * 1_000.0).round() as u64).min(end_ms);
    let words = transcription.words.iter().map(|timed| Word {
        word: timed.word.trim().to_owned(),
        start_ms: ms(timed.start),
        end_ms: ms(timed.end.max(timed.start)),
        confidence: None,
        speaker: None,
    });
    let words: Vec<Word> = words.filter(|word| !word.word.is_empty()).collect();
    (!text.is_empty()).then(|| Hypothesis {
        text,
        is_final: true,
        start_ms: words.first().map_or(begin_ms, |word| word.start_ms),
        end_ms: words.last().map_or(end_ms, |word| word.end_ms),
        until_ms: end_ms,
        confidence: None,
        stability: None,
        language: transcription.language,
        words,
        alternatives: Vec::new(),
    })
}
