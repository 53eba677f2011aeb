//! A provider whose faults are scripted, and a tape whose words are numbers: what a real recogniser cannot be made to do at a
//! given moment. Word number n is a level that only n has, for a time that follows from n; so half a word is seen as such.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aimg_core::TenantId;
use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{Length, Tape};
use crate::error::{Error, ErrorKind, Result};
use crate::places::Places;
use crate::recognise::{Audio, Capabilities, Health, Hypothesis, Languages, SpeechToText, Stream, StreamOptions, Word};

pub(super) const RATE_HZ: u32 = 8_000;
const SAMPLES_PER_MS: u64 = 8;
/// Quiet after which a scripted provider takes an utterance as ended.
const ENDPOINT_MS: u64 = 400;
/// Words after which it does so without a pause.
const WORDS_MAX: usize = 12;

/// A level that no word has.
const NOISE: i16 = 1_000;

fn level(word: usize) -> i16 {
    i16::try_from(2_000 + 20 * word).unwrap()
}

fn word_ms(word: usize) -> u64 {
    200 + (word as u64 * 37) % 5 * 40
}

/// Samples, and the words in them with their places in ms.
#[derive(Clone, Debug, Default)]
pub(super) struct Talk(Vec<i16>, pub(super) Vec<(String, u64, u64)>);

impl Talk {
    pub(super) fn pause(&mut self, ms: u64) {
        self.0.resize(self.0.len() + (ms * SAMPLES_PER_MS) as usize, 0);
    }

    pub(super) fn word(&mut self) {
        let (word, start) = (self.1.len(), self.ms());
        self.0.resize(self.0.len() + (word_ms(word) * SAMPLES_PER_MS) as usize, level(word));
        self.1.push((word.to_string(), start, self.ms()));
        self.pause(80);
    }

    /// Loud, and no word.
    pub(super) fn noise(&mut self, ms: u64) {
        self.0.resize(self.0.len() + (ms * SAMPLES_PER_MS) as usize, NOISE);
    }

    /// So many utterances of a few words, with ordinary pauses.
    pub(super) fn utterances(&mut self, count: usize) {
        for utterance in 0..count {
            self.pause(700 + utterance as u64 % 3 * 100);
            (0..3 + utterance % 4).for_each(|_| self.word());
        }
        self.pause(700);
    }

    pub(super) fn ms(&self) -> u64 {
        self.0.len() as u64 / SAMPLES_PER_MS
    }

    /// As a tape that is written as time passes.
    pub(super) fn live(&self) -> ScriptedTape {
        ScriptedTape { samples: Arc::new(self.0.clone()), began_at: Some(Instant::now()) }
    }

    /// As a tape that is complete.
    pub(super) fn kept(&self) -> ScriptedTape {
        ScriptedTape { samples: Arc::new(self.0.clone()), began_at: None }
    }
}

#[derive(Clone, Debug)]
pub(super) struct ScriptedTape {
    samples: Arc<Vec<i16>>,
    began_at: Option<Instant>,
}

#[async_trait]
impl Tape for ScriptedTape {
    fn sample_rate_hz(&self) -> u32 {
        RATE_HZ
    }

    fn length(&self) -> Length {
        let all = self.samples.len() as u64;
        let passed = |since: Instant| since.elapsed().as_millis() as u64 * SAMPLES_PER_MS;
        let samples = self.began_at.map_or(all, |since| all.min(passed(since)));
        Length { samples, is_complete: samples == all }
    }

    async fn read(&mut self, from: u64, samples_max: usize) -> io::Result<Vec<i16>> {
        let all = self.samples.len() as u64;
        // Written in frames of 20 ms.
        let wanted = all.min(from + 20 * SAMPLES_PER_MS);
        if let Some(since) = self.began_at {
            sleep_until(since + Duration::from_millis(wanted.div_ceil(SAMPLES_PER_MS))).await;
        }
        let until = self.length().samples.min(from + samples_max as u64);
        Ok(self.samples[from as usize..until as usize].to_vec())
    }
}

/// What one stream does.
#[derive(Clone, Debug, Default)]
pub(super) struct Behaviour {
    /// It is not opened at all.
    pub(super) refuses: Option<ErrorKind>,
    /// So long after it was opened it breaks off.
    pub(super) breaks_after: Option<Duration>,
    /// And says nothing about it.
    pub(super) breaks_silently: bool,
    /// So long after it was opened it hears nothing any more.
    pub(super) deaf_after: Option<Duration>,
    /// So long after it was opened it takes nothing any more.
    pub(super) stuck_after: Option<Duration>,
    /// It breaks off instead of finishing.
    pub(super) never_finishes: bool,
    /// Its answers come so late.
    pub(super) late_by: Duration,
    /// For each 100 ms of audio it needs so long.
    pub(super) works_for: Duration,
}

pub(super) type Script = dyn Fn(usize, Duration) -> Behaviour + Send + Sync;

/// A stream that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// The audio that it took.
    pub(super) given_ms: u64,
    /// When it was open, since the beginning.
    pub(super) during: Range<Duration>,
    /// Who opened it.
    pub(super) tenant: TenantId,
}

/// A provider; its streams behave as the script says, by their number and the time since the beginning.
pub(super) struct Scripted {
    name: &'static str,
    script: Box<Script>,
    places: Places,
    began_at: Instant,
    asked: AtomicUsize,
    pub(super) stream_max: Option<Duration>,
    /// Those that have ended.
    pub(super) streams: Arc<Mutex<Vec<Ended>>>,
}

impl Scripted {
    pub(super) fn new(
        name: &'static str,
        places_max: usize,
        script: impl Fn(usize, Duration) -> Behaviour + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            script: Box::new(script),
            places: Places::new(places_max),
            began_at: Instant::now(),
            asked: AtomicUsize::new(0),
            stream_max: None,
            streams: Arc::default(),
        }
    }

    pub(super) fn taken(&self) -> usize {
        self.places.load().taken
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl SpeechToText for Scripted {
    fn name(&self) -> &str {
        self.name
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            sample_rates_hz: vec![16_000, RATE_HZ],
            interim: true,
            word_times: true,
            speakers: false,
            end_of_utterance: false,
            languages: Languages::Any,
            streams_max: None,
            stream_max: self.stream_max,
        }
    }

    async fn open(&self, options: &StreamOptions) -> Result<Stream> {
        assert_eq!(options.sample_rate_hz, RATE_HZ, "it takes the rate of the tape");
        let behaviour = (self.script)(self.asked.fetch_add(1, Ordering::Relaxed), self.began_at.elapsed());
        let error = |kind| Error { provider: self.name.to_owned(), kind, what: "scripted".to_owned() };
        if let Some(kind) = behaviour.refuses {
            return Err(error(kind));
        }
        let place = self.places.take(options.tenant).await.unwrap();
        let (audio, pieces) = mpsc::channel(20);
        let (told, heard) = mpsc::channel(16);
        let (streams, began_at, tenant) = (self.streams.clone(), self.began_at, options.tenant);
        let opened_at = Instant::now();
        let broken = error(ErrorKind::BrokenOff);
        tokio::spawn(async move {
            let recogniser = Recogniser::new(behaviour, told);
            let is_whole = tokio::select! {
                () = recogniser.told.closed() => true,
                is_whole = recogniser.clone().run(pieces, opened_at) => is_whole,
            };
            if !is_whole && !recogniser.behaviour.breaks_silently {
                recogniser.told.send(Err(broken)).await.ok();
            }
            let given_ms = recogniser.given_ms.lock().unwrap().to_owned();
            let during = (opened_at - began_at)..began_at.elapsed();
            streams.lock().unwrap().push(Ended { given_ms, during, tenant });
            drop(place);
        });
        Ok(Stream { audio, heard })
    }

    async fn check(&self) -> Result<Health> {
        Ok(Health::default())
    }
}

/// Hears the levels of one stream.
#[derive(Clone, Debug)]
struct Recogniser {
    behaviour: Behaviour,
    told: mpsc::Sender<Result<Hypothesis>>,
    position: u64,
    /// The level that is being heard, and since when.
    current: (i16, u64),
    words: Vec<Word>,
    /// How much it was given, in ms.
    given_ms: Arc<Mutex<u64>>,
}

impl Recogniser {
    fn new(behaviour: Behaviour, told: mpsc::Sender<Result<Hypothesis>>) -> Self {
        Self { behaviour, told, position: 0, current: (0, 0), words: Vec::new(), given_ms: Arc::default() }
    }

    /// Whether it finished.
    async fn run(mut self, mut pieces: mpsc::Receiver<Audio>, opened_at: Instant) -> bool {
        let (answers, mut due) = mpsc::channel::<(Instant, Hypothesis)>(1_000);
        let told = self.told.clone();
        let telling = tokio::spawn(async move {
            while let Some((at, hypothesis)) = due.recv().await {
                sleep_until(at).await;
                if told.send(Ok(hypothesis)).await.is_err() {
                    break;
                }
            }
        });
        let is_whole = match self.behaviour.breaks_after {
            Some(after) => {
                let hearing = self.hear(&mut pieces, opened_at, &answers);
                tokio::time::timeout_at(opened_at + after, hearing).await.is_ok()
            }
            None => {
                self.hear(&mut pieces, opened_at, &answers).await;
                true
            }
        };
        if !is_whole || self.behaviour.never_finishes {
            telling.abort();
            return false;
        }
        drop(answers);
        telling.await.unwrap();
        true
    }

    async fn hear(
        &mut self,
        pieces: &mut mpsc::Receiver<Audio>,
        opened_at: Instant,
        answers: &mpsc::Sender<(Instant, Hypothesis)>,
    ) {
        let since = |after: Option<Duration>| after.is_some_and(|after| opened_at.elapsed() >= after);
        let mut is_deaf = false;
        while let Some(piece) = pieces.recv().await {
            let Audio::Samples(samples) = piece else { continue };
            if since(self.behaviour.stuck_after) {
                std::future::pending::<()>().await;
            }
            sleep(self.behaviour.works_for * samples.len() as u32 / 800).await;
            is_deaf |= since(self.behaviour.deaf_after);
            *self.given_ms.lock().unwrap() += samples.len() as u64 / SAMPLES_PER_MS;
            if is_deaf {
                continue;
            }
            for sample in samples {
                if let Some(hypothesis) = self.sample(sample) {
                    answers.send((Instant::now() + self.behaviour.late_by, hypothesis)).await.unwrap();
                }
            }
        }
        if is_deaf {
            std::future::pending::<()>().await;
        }
        if let Some(hypothesis) = self.sample(0) {
            answers.send((Instant::now() + self.behaviour.late_by, hypothesis)).await.unwrap();
        }
        if !self.words.is_empty() && !self.behaviour.never_finishes {
            let last = self.hypothesis(true, self.position / SAMPLES_PER_MS);
            answers.send((Instant::now() + self.behaviour.late_by, last)).await.unwrap();
        }
    }

    fn sample(&mut self, sample: i16) -> Option<Hypothesis> {
        let (level_now, since) = self.current;
        let ms = |position| position / SAMPLES_PER_MS;
        let mut hypothesis = None;
        if sample != level_now {
            self.current = (sample, self.position);
            if level_now > NOISE {
                let number = usize::try_from((level_now - 2_000) / 20).unwrap();
                let is_whole = self.position - since == word_ms(number) * SAMPLES_PER_MS;
                let word = if is_whole { number.to_string() } else { format!("{number}?") };
                let (start_ms, end_ms) = (ms(since), ms(self.position));
                self.words.push(Word { word, start_ms, end_ms, confidence: None, speaker: None });
                hypothesis = Some(self.hypothesis(self.words.len() == WORDS_MAX, end_ms));
            }
        } else if level_now == 0 && self.position - since == ENDPOINT_MS * SAMPLES_PER_MS && !self.words.is_empty() {
            hypothesis = Some(self.hypothesis(true, ms(self.position) - ENDPOINT_MS / 2));
        }
        self.position += 1;
        hypothesis
    }

    fn hypothesis(&mut self, is_final: bool, until_ms: u64) -> Hypothesis {
        let words = if is_final { std::mem::take(&mut self.words) } else { self.words.clone() };
        let texts: Vec<&str> = words.iter().map(|word| word.word.as_str()).collect();
        Hypothesis {
            text: texts.join(" "),
            is_final,
            start_ms: words.first().map_or(0, |word| word.start_ms),
            end_ms: words.last().map_or(0, |word| word.end_ms),
            until_ms: if is_final { until_ms } else { 0 },
            confidence: None,
            stability: None,
            language: None,
            words,
            alternatives: Vec::new(),
        }
    }
}

/// Waits for something that must come within an hour of scripted time.
pub(super) async fn within_an_hour<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(3_600), future).await.expect("it comes to an end")
}
