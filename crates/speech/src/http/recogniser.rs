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
use crate::vad::{Cutting, SAMPLE_RATE_HZ, Utterance, Utterances};

/// Pieces of audio that wait while an utterance is recognised: 2 s of 20 ms frames. Whoever has more waits.
const AUDIO_PIECES_MAX: usize = 100;
/// Hypotheses that wait to be taken.
const HEARD_MAX: usize = 64;
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
            // The detector's.
            sample_rates_hz: vec![SAMPLE_RATE_HZ],
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
        if options.sample_rate_hz != SAMPLE_RATE_HZ {
            let what = format!("{} Hz: it takes {SAMPLE_RATE_HZ} Hz", options.sample_rate_hz);
            return Err(self.service.error(ErrorKind::Invalid, what));
        }
        let (audio, pieces) = mpsc::channel(AUDIO_PIECES_MAX);
        let (told, heard) = mpsc::channel(HEARD_MAX);
        let conversation =
            Conversation { service: self.service.clone(), places: self.places.clone(), options: options.clone() };
        tokio::spawn(async move {
            tokio::select! {
                () = told.closed() => {}
                () = conversation.run(pieces, &told) => {}
            }
        });
        Ok(Stream { audio, heard })
    }

    async fn check(&self) -> Result<Health> {
        self.service.check().await
    }
}

/// One stream, of which the service gets one utterance after the other.
struct Conversation {
    service: Service,
    places: Places,
    options: StreamOptions,
}

impl Conversation {
    async fn run(self, mut pieces: mpsc::Receiver<Audio>, told: &mpsc::Sender<Result<Hypothesis>>) {
        // Whisper, which most of these services are, loses words beyond 30 s, and hears some in silence.
        let (mut cutter, mut ended) = (Utterances::new(Cutting::default()), Vec::new());
        loop {
            let piece = pieces.recv().await;
            let is_last = piece.is_none();
            match piece {
                Some(Audio::Samples(samples)) => cutter.push(&samples, &mut ended),
                Some(Audio::EndOfUtterance) | None => ended.extend(cutter.end()),
            }
            for utterance in ended.drain(..) {
                let heard = self.ask(&utterance).await.transpose();
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

    /// Asks what was said.
    async fn ask(&self, utterance: &Utterance) -> Result<Option<Hypothesis>> {
        let place = self.places.take(self.options.tenant).await;
        let _place = place
            .ok_or_else(|| self.service.error(ErrorKind::Busy, "too many wait for it: allow more requests at once"))?;
        let form = self.form(&utterance.samples)?;
        let request = self.service.request(true, "audio/transcriptions").multipart(form);
        let response = self.service.send(request, None).await?;
        let transcription: Transcription = self.service.json(response).await?;
        let [begin_ms, end_ms] =
            [utterance.start, utterance.end()].map(|sample| sample * 1_000 / u64::from(SAMPLE_RATE_HZ));
        Ok(hypothesis(transcription, begin_ms, end_ms))
    }

    fn form(&self, samples: &[i16]) -> Result<Form> {
        let settings = &self.service.settings;
        let file = Part::bytes(wav(samples)).file_name("utterance.wav").mime_str("audio/wav");
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
}

fn wav(samples: &[i16]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(samples.len() * 2);
    aimg_audio::linear::to_wav(samples, &mut bytes);
    let mut file = WavWriter::new(Cursor::new(Vec::new()), Format::mono(Encoding::Pcm16, SAMPLE_RATE_HZ))
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
