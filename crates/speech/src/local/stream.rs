//! One stream: its samples to 16 kHz, cut into utterances, each recognised while it grows and when it has ended.

use std::collections::VecDeque;
use std::sync::Arc;

use aimg_audio::resample::Resampler;
use tokio::sync::{mpsc, oneshot};

use super::engine::Heard;
use super::workers::Workers;
use crate::error::{Error, ErrorKind, Result};
use crate::places::Place;
use crate::recognise::{Audio, Hypothesis, StreamOptions, Word};
use crate::vad::{Cutting, SAMPLE_RATE_HZ, Utterance, Utterances};

/// Utterances of a stream that have ended and are not recognised yet. Beyond it, audio waits with whoever sends it.
const PENDING_MAX: usize = 2;
/// How much longer an utterance is when its interim text is made anew: 800 ms.
const INTERIM_SAMPLES: usize = SAMPLE_RATE_HZ as usize * 8 / 10;

type Answer = oneshot::Receiver<std::result::Result<Heard, String>>;

/// What a stream works with.
pub(super) struct Ears {
    provider: String,
    options: StreamOptions,
    workers: Arc<Workers>,
    /// Held for as long as the stream lasts.
    _place: Place,
    rate: Option<Rate>,
    utterances: Utterances,
    /// Utterances that have ended, the oldest first.
    pending: VecDeque<Asked>,
    interim: Option<Asked>,
    /// How long the utterance that has begun was when it was last recognised.
    glanced: (u64, usize),
}

/// An utterance that is being recognised, in samples from the stream's first.
struct Asked {
    start: u64,
    end: u64,
    answer: Answer,
}

/// What happened next.
enum Next {
    Audio(Option<Audio>),
    Final(Answered),
    Interim(Answered),
    Gone,
}

type Answered = std::result::Result<std::result::Result<Heard, String>, oneshot::error::RecvError>;

impl Ears {
    pub(super) fn new(
        provider: &str,
        options: &StreamOptions,
        cutting: Cutting,
        workers: Arc<Workers>,
        place: Place,
    ) -> Result<Self> {
        let rate = match options.sample_rate_hz {
            SAMPLE_RATE_HZ => None,
            hz => Some(Rate::new(hz).ok_or_else(|| Error {
                provider: provider.to_owned(),
                kind: ErrorKind::Invalid,
                what: format!("a sample rate of {hz} Hz: use one of its capabilities"),
            })?),
        };
        Ok(Self {
            provider: provider.to_owned(),
            options: options.clone(),
            workers,
            _place: place,
            rate,
            utterances: Utterances::new(cutting),
            pending: VecDeque::new(),
            interim: None,
            glanced: (0, 0),
        })
    }

    /// Listens until the audio has ended and all of it is told, or nobody wants to know.
    pub(super) async fn listen(mut self, mut audio: mpsc::Receiver<Audio>, heard: mpsc::Sender<Result<Hypothesis>>) {
        let mut has_ended = false;
        while !(has_ended && self.pending.is_empty()) {
            let may_hear = !has_ended && self.pending.len() < PENDING_MAX;
            let next = tokio::select! {
                biased;
                () = heard.closed() => Next::Gone,
                answered = answer(self.pending.front_mut()) => Next::Final(answered),
                answered = answer(self.interim.as_mut()) => Next::Interim(answered),
                piece = audio.recv(), if may_hear => Next::Audio(piece),
            };
            let told = match next {
                Next::Gone => return,
                Next::Audio(piece) => {
                    has_ended = piece.is_none();
                    self.take(piece);
                    None
                }
                Next::Final(answered) => self.pending.pop_front().and_then(|asked| self.told(&asked, true, answered)),
                Next::Interim(answered) => {
                    let asked = self.interim.take();
                    // Of an utterance that has ended meanwhile the final text says more.
                    asked.filter(|asked| self.is_open(asked.start)).and_then(|asked| self.told(&asked, false, answered))
                }
            };
            if let Some(told) = told {
                let is_last = told.is_err();
                if heard.send(told).await.is_err() || is_last {
                    return;
                }
            }
        }
    }

    /// Takes a piece of audio, or its end.
    fn take(&mut self, piece: Option<Audio>) {
        let mut ended = Vec::new();
        match piece {
            Some(Audio::Samples(samples)) => match &mut self.rate {
                None => self.utterances.push(&samples, &mut ended),
                Some(rate) => self.utterances.push(&rate.push(&samples), &mut ended),
            },
            Some(Audio::EndOfUtterance) => ended.extend(self.utterances.end()),
            None => {
                if let Some(rate) = &mut self.rate {
                    self.utterances.push(&rate.end(), &mut ended);
                }
                ended.extend(self.utterances.end());
            }
        }
        for utterance in ended {
            self.recognise(utterance);
        }
        self.glance();
    }

    fn recognise(&mut self, utterance: Utterance) {
        let (start, end) = (utterance.start, utterance.end());
        let answer = self.workers.recognise(self.options.tenant, self.options.language.clone(), utterance.samples);
        self.pending.push_back(Asked { start, end, answer });
    }

    /// Asks for an interim text where one is wanted, and the utterance has grown since the last.
    fn glance(&mut self) {
        let Some((start, samples)) = self.utterances.open() else { return };
        let before = if self.glanced.0 == start { self.glanced.1 } else { 0 };
        let is_due = samples.len() >= before + INTERIM_SAMPLES;
        if !self.options.interim || self.interim.is_some() || !self.pending.is_empty() || !is_due {
            return;
        }
        self.glanced = (start, samples.len());
        let end = start + samples.len() as u64;
        let answer = self.workers.glance(self.options.tenant, self.options.language.clone(), samples);
        self.interim = answer.map(|answer| Asked { start, end, answer });
    }

    fn is_open(&self, start: u64) -> bool {
        self.utterances.open().is_some_and(|(open, _)| open == start)
    }

    /// What is told of an answer; nothing where nothing was said.
    fn told(&self, asked: &Asked, is_final: bool, answered: Answered) -> Option<Result<Hypothesis>> {
        let failed = |what: String| Error { provider: self.provider.clone(), kind: ErrorKind::Internal, what };
        match answered {
            Err(_) => Some(Err(failed("its workers have ended".to_owned()))),
            Ok(Err(what)) => Some(Err(failed(what))),
            Ok(Ok(heard)) if heard.words.is_empty() => None,
            Ok(Ok(heard)) => Some(Ok(hypothesis(asked, is_final, heard, self.options.language.clone()))),
        }
    }
}

/// The answer of what was asked; never, where nothing was.
async fn answer(asked: Option<&mut Asked>) -> Answered {
    match asked {
        Some(asked) => (&mut asked.answer).await,
        None => std::future::pending().await,
    }
}

fn hypothesis(asked: &Asked, is_final: bool, heard: Heard, language: Option<String>) -> Hypothesis {
    let offset_ms = ms(asked.start);
    let later = |word: Word| Word { start_ms: word.start_ms + offset_ms, end_ms: word.end_ms + offset_ms, ..word };
    let words: Vec<Word> = heard.words.into_iter().map(later).collect();
    Hypothesis {
        text: heard.text,
        is_final,
        start_ms: words.first().map_or(offset_ms, |word| word.start_ms),
        end_ms: words.last().map_or(ms(asked.end), |word| word.end_ms),
        until_ms: if is_final { ms(asked.end) } else { offset_ms },
        confidence: heard.confidence,
        stability: None,
        language,
        words,
        alternatives: Vec::new(),
    }
}

fn ms(samples: u64) -> u64 {
    samples * 1_000 / u64::from(SAMPLE_RATE_HZ)
}

/// Takes samples of one rate to [`SAMPLE_RATE_HZ`], in pieces of any length.
struct Rate {
    resampler: Resampler,
    /// Samples of 20 ms.
    frame_samples: usize,
    rest: Vec<i16>,
}

impl Rate {
    fn new(hz: u32) -> Option<Self> {
        let resampler = Resampler::new(hz, SAMPLE_RATE_HZ).ok()?;
        Some(Self { resampler, frame_samples: hz as usize / 50, rest: Vec::new() })
    }

    fn push(&mut self, samples: &[i16]) -> Vec<i16> {
        self.rest.extend_from_slice(samples);
        let mut out = Vec::new();
        let mut frames = self.rest.chunks_exact(self.frame_samples);
        for frame in &mut frames {
            self.resampler.push(frame, &mut out);
        }
        self.rest = frames.remainder().to_vec();
        out
    }

    /// What the filter still holds back, with silence after it.
    fn end(&mut self) -> Vec<i16> {
        let mut out = Vec::new();
        self.resampler.push(&std::mem::take(&mut self.rest), &mut out);
        let end = self.resampler.latency_samples() + out.len();
        while out.len() < end {
            self.resampler.push(&[], &mut out);
        }
        out
    }
}
