//! One stream: the tape is given to a provider, and what it hears is told, until there is reason to end it.

use std::io;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::feed::Feed;
use super::pauses::Pauses;
use super::transcriber::{Transcriber, samples};
use super::{Length, Segment, Tape};
use crate::error::{Error, ErrorKind};
use crate::recognise::{Audio, Capabilities, Hypothesis, Stream};

/// How often it is looked whether the provider hangs.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A stream is ended in a pause after this share of its longest time, in percent.
const ENDS_IN_PAUSE_PERCENT: u32 = 80;
/// And anywhere after this share.
const ENDS_ANYWHERE_PERCENT: u32 = 95;

/// How a stream came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The tape ended, and all of it is told.
    Whole,
    /// The tape goes on, from where all is told.
    Cut,
}

/// Why a stream did not come to its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// The provider failed.
    Failed(Error),
    /// The tape cannot be read.
    Unreadable(io::Error),
    /// Nobody takes the segments any more.
    Unheard,
}

/// Whether a stream is to end though nothing failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wish {
    /// It goes on.
    None,
    /// In the next pause.
    InPause,
    /// Here.
    Here,
}

/// A stream that is open.
pub(super) struct Conversation<'a, T> {
    of: &'a mut Transcriber<T>,
    provider: &'a str,
    audio: mpsc::Sender<Audio>,
    heard: mpsc::Receiver<crate::Result<Hypothesis>>,
    feed: Feed,
    rate_hz: u32,
    stream_max: Option<Duration>,
    /// Where on the tape it begins.
    origin: u64,
    /// What was given, and where it is quiet.
    pauses: Pauses,
    /// Resampled, and not yet taken, with the time since when it waits.
    outgoing: Option<(Audio, Instant)>,
    opened_at: Instant,
    /// Since when speech has been given and nothing was heard.
    asked_at: Option<Instant>,
    has_finals: bool,
}

impl<'a, T: Tape> Conversation<'a, T> {
    pub(super) fn new(
        of: &'a mut Transcriber<T>,
        provider: &'a str,
        capabilities: &Capabilities,
        stream: Stream,
        feed: Feed,
        origin: u64,
    ) -> Self {
        let rate_hz = of.tape.sample_rate_hz();
        let pauses = Pauses::new(rate_hz, of.config.quiet_below_dbfs, origin);
        Self {
            of,
            provider,
            audio: stream.audio,
            heard: stream.heard,
            feed,
            rate_hz,
            stream_max: capabilities.stream_max,
            origin,
            pauses,
            outgoing: None,
            opened_at: Instant::now(),
            asked_at: None,
            has_finals: false,
        }
    }

    pub(super) async fn run(mut self) -> Result<End, Stop> {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let (from, samples_max) = (self.pauses.position(), self.of.piece_samples());
            let is_full = self.outgoing.is_some();
            tokio::select! {
                biased;
                heard = self.heard.recv() => match heard {
                    Some(Ok(hypothesis)) => self.take(hypothesis).await?,
                    Some(Err(error)) => return Err(Stop::Failed(error)),
                    None => return Err(self.failed(ErrorKind::BrokenOff, "it ended the stream while audio was coming")),
                },
                _ = look.tick() => {
                    self.of.observe(self.pauses.position());
                    self.check_taking()?;
                }
                room = self.audio.clone().reserve_owned(), if is_full => {
                    let Ok(room) = room else { return Err(self.refused().await) };
                    if let Some((audio, _)) = self.outgoing.take() {
                        room.send(audio);
                    }
                }
                read = self.of.tape.read(from, samples_max), if !is_full => {
                    let samples = read.map_err(Stop::Unreadable)?;
                    if samples.is_empty() {
                        return self.finish(End::Whole).await;
                    }
                    self.give(samples);
                }
            }
            if let Some(wish) = self.ends() {
                // Half a word would become a wrong one: what is not final yet is heard again, unless nothing ever was.
                if wish == Wish::Here && self.has_finals {
                    return Ok(End::Cut);
                }
                return self.finish(End::Cut).await;
            }
        }
    }

    fn give(&mut self, samples: Vec<i16>) {
        if self.pauses.push(&samples) {
            self.asked_at.get_or_insert_with(Instant::now);
        }
        let samples = self.feed.push(samples);
        if !samples.is_empty() {
            self.outgoing = Some((Audio::Samples(samples), Instant::now()));
        }
    }

    /// Tells what was heard.
    async fn take(&mut self, hypothesis: Hypothesis) -> Result<(), Stop> {
        self.asked_at = None;
        let is_final = hypothesis.is_final;
        let origin_ms = self.origin * 1_000 / u64::from(self.rate_hz);
        let until_ms = hypothesis.until_ms.max(hypothesis.end_ms);
        let segment = Segment::of(hypothesis, self.of.number, origin_ms, self.provider);
        let end_ms = segment.end_ms;
        if !segment.text.is_empty() && self.of.segments.send(segment).await.is_err() {
            return Err(Stop::Unheard);
        }
        if is_final {
            let until = self.origin + samples(Duration::from_millis(until_ms), self.rate_hz);
            // Nobody can have told what was not given.
            self.of.told = self.of.told.max(until.min(self.pauses.position()));
            self.of.tape.forget(self.of.told);
            self.of.number += 1;
            self.of.progress_at = Instant::now();
            self.of.choice.told();
            self.has_finals = true;
            let Length { samples, is_complete } = self.of.tape.length();
            let delay_ms = (samples * 1_000 / u64::from(self.rate_hz)).saturating_sub(end_ms);
            self.of.figures.told((!is_complete).then_some(delay_ms));
        }
        Ok(())
    }

    /// Whether, and how, it is to end here.
    fn ends(&self) -> Option<Wish> {
        let config = &self.of.config;
        let quiet = self.pauses.quiet_samples();
        let is_pause = |time| quiet >= samples(time, self.rate_hz);
        match self.wish(Instant::now()) {
            _ if is_pause(config.rest_in_pause) => Some(Wish::InPause),
            Wish::InPause | Wish::Here if is_pause(config.cut_in_pause) => Some(Wish::InPause),
            Wish::Here => Some(Wish::Here),
            Wish::InPause | Wish::None => None,
        }
    }

    fn wish(&self, now: Instant) -> Wish {
        let by_time = |passed: Duration, in_pause: Duration, here: Duration| match () {
            () if passed >= here => Wish::Here,
            () if passed >= in_pause => Wish::InPause,
            () => Wish::None,
        };
        // Providers count either; while it catches up, there is more audio than time.
        let given = (self.pauses.position() - self.origin) * 1_000 / u64::from(self.rate_hz);
        let age = Duration::from_millis(given).max(now.duration_since(self.opened_at));
        let of_age = self.stream_max.map_or(Wish::None, |max| {
            by_time(age, max * ENDS_IN_PAUSE_PERCENT / 100, max * ENDS_ANYWHERE_PERCENT / 100)
        });
        let patience = self.of.config.answer_patience;
        let of_answers = self.asked_at.map_or(Wish::None, |at| by_time(now.duration_since(at), patience, patience * 2));
        let of_choice = if self.of.choice.wants_first(now) { Wish::InPause } else { Wish::None };
        of_age.max(of_answers).max(of_choice)
    }

    /// Ends the stream: what is still to be heard is waited for and told.
    async fn finish(&mut self, end: End) -> Result<End, Stop> {
        let patience = self.of.config.take_patience;
        let rest = Some(self.feed.finish()).filter(|rest| !rest.is_empty()).map(Audio::Samples);
        for audio in self.outgoing.take().map(|(audio, _)| audio).into_iter().chain(rest) {
            match self.audio.send_timeout(audio, patience).await {
                Ok(()) => {}
                Err(mpsc::error::SendTimeoutError::Closed(_)) => return Err(self.refused().await),
                Err(mpsc::error::SendTimeoutError::Timeout(_)) => return Err(self.stalled()),
            }
        }
        // A stream that ended before it was told to has broken off.
        if self.audio.is_closed() {
            return Err(self.refused().await);
        }
        self.hear_rest().await?;
        // In the middle of the pause, so that the next word keeps its beginning; on a complete tape there is none.
        let half_pause = if end == End::Whole { 0 } else { self.pauses.quiet_samples() / 2 };
        self.of.told = self.of.told.max(self.pauses.position() - half_pause);
        self.of.progress_at = Instant::now();
        Ok(end)
    }

    /// Tells what comes until the provider ends the stream.
    async fn hear_rest(&mut self) -> Result<(), Stop> {
        // Ends the audio: what takes its place goes nowhere.
        self.audio = mpsc::channel(1).0;
        loop {
            match timeout(self.of.config.finish_patience, self.heard.recv()).await {
                Ok(Some(Ok(hypothesis))) => self.take(hypothesis).await?,
                Ok(Some(Err(error))) => return Err(Stop::Failed(error)),
                Ok(None) => return Ok(()),
                Err(_) => return Err(self.failed(ErrorKind::TimedOut, "it does not finish what it has heard")),
            }
        }
    }

    /// The provider takes no more audio: what it has heard holds, and what it says of itself is the reason.
    async fn refused(&mut self) -> Stop {
        match self.hear_rest().await {
            Ok(()) => self.failed(ErrorKind::BrokenOff, "it ended the stream while audio was coming"),
            Err(stop) => stop,
        }
    }

    fn check_taking(&self) -> Result<(), Stop> {
        let waits = self.outgoing.as_ref().is_some_and(|(_, since)| since.elapsed() >= self.of.config.take_patience);
        if waits { Err(self.stalled()) } else { Ok(()) }
    }

    fn stalled(&self) -> Stop {
        self.failed(ErrorKind::TimedOut, "it takes no audio")
    }

    fn failed(&self, kind: ErrorKind, what: &str) -> Stop {
        Stop::Failed(Error { provider: self.provider.to_owned(), kind, what: what.to_owned() })
    }
}
