//! Follows a tape to its end, whatever the providers do.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::choice::Choice;
use super::conversation::{Conversation, End, Stop};
use super::feed::Feed;
use super::pauses::Pauses;
use super::{Config, Figures, Length, Segment, Tape};
use crate::error::{Error, ErrorKind};
use crate::recognise::{SpeechToText, StreamOptions};

/// Audio that is read at once: 100 ms. A tape that grows gives what there is.
const PIECES_PER_SECOND: u32 = 10;
/// How often the figures are brought up to date while it waits.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Makes text of a tape.
///
/// Final segments come once and in the order of the tape: where a stream failed, the next one begins where all had been told.
pub struct Transcriber<T> {
    pub(super) tape: T,
    pub(super) choice: Choice,
    pub(super) options: StreamOptions,
    pub(super) config: Config,
    pub(super) figures: Arc<Figures>,
    pub(super) segments: mpsc::Sender<Segment>,
    /// All that was said before this place of the tape has been told.
    pub(super) told: u64,
    /// Of the next segment.
    pub(super) number: u32,
    /// When something was told last.
    pub(super) progress_at: Instant,
    /// When the tape was first seen complete.
    complete_since: Option<Instant>,
}

/// How far a transcriber has come: where another one can go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// All that was said before this sample of the tape has been told.
    pub told: u64,
    /// The number of the next segment.
    pub number: u32,
}

/// How it ended.
#[derive(Debug)]
pub enum Ending {
    /// Everything on the tape has been told.
    Whole,
    /// No provider could make text of the rest; this is what the last one said.
    GaveUp(Error),
    /// The tape cannot be read.
    Unreadable(io::Error),
    /// Nobody takes the segments any more.
    Unheard,
}

impl<T: Tape> Transcriber<T> {
    /// Of a tape, by the first provider, or by the second one where the first fails. [`StreamOptions::sample_rate_hz`] is
    /// chosen here. Segments wait in `segments`; while nobody takes them, the tape waits.
    pub fn new(
        tape: T,
        first: Arc<dyn SpeechToText>,
        second: Option<Arc<dyn SpeechToText>>,
        options: StreamOptions,
        config: Config,
        segments: mpsc::Sender<Segment>,
    ) -> Self {
        Self {
            tape,
            choice: Choice::new(first, second, &config),
            options,
            config,
            figures: Arc::default(),
            segments,
            told: 0,
            number: 0,
            progress_at: Instant::now(),
            complete_since: None,
        }
    }

    /// Goes on where another one came to.
    #[must_use]
    pub fn from(mut self, reached: Reached) -> Self {
        (self.told, self.number) = (reached.told, reached.number);
        self
    }

    /// Its figures, to be read while it runs.
    pub fn figures(&self) -> Arc<Figures> {
        Arc::clone(&self.figures)
    }

    /// Follows the tape to its end, and tells how far it came.
    pub async fn run(mut self) -> (Ending, Reached) {
        let segments = self.segments.clone();
        let ending = tokio::select! {
            () = segments.closed() => Ending::Unheard,
            ending = self.follow() => ending,
        };
        self.observe(self.told);
        (ending, Reached { told: self.told, number: self.number })
    }

    async fn follow(&mut self) -> Ending {
        loop {
            let ended = match self.next_speech().await {
                Ok(Some(from)) => self.attempt(from).await,
                Ok(None) => return Ending::Whole,
                Err(error) => return Ending::Unreadable(error),
            };
            match ended {
                Ok(End::Whole) => return Ending::Whole,
                Ok(End::Cut) => {}
                Err(Stop::Unreadable(error)) => return Ending::Unreadable(error),
                Err(Stop::Unheard) => return Ending::Unheard,
                Err(Stop::Failed(error)) => {
                    if !self.goes_on(&error).await {
                        return Ending::GaveUp(error);
                    }
                }
            }
        }
    }

    /// Looks for the next speech: where a stream is to begin, or nothing where the tape ends before.
    async fn next_speech(&mut self) -> io::Result<Option<u64>> {
        let rate_hz = self.tape.sample_rate_hz();
        let pre_roll = samples(self.config.pre_roll, rate_hz);
        let mut pauses = Pauses::new(rate_hz, self.config.quiet_below_dbfs, self.told);
        loop {
            self.observe(pauses.position());
            let piece = self.tape.read(pauses.position(), self.piece_samples()).await?;
            if piece.is_empty() {
                self.told = pauses.position();
                return Ok(None);
            }
            pauses.push(&piece);
            self.tape.forget(self.told);
            let quiet_until = pauses.first_loud().unwrap_or(pauses.position());
            self.told = self.told.max(quiet_until.saturating_sub(pre_roll));
            if pauses.first_loud().is_some() {
                return Ok(Some(self.told));
            }
        }
    }

    /// Opens a stream at a place of the tape, and follows the tape with it.
    async fn attempt(&mut self, from: u64) -> Result<End, Stop> {
        if self.choice.wants_first(Instant::now()) {
            self.choice.go_back();
            self.figures.went_back();
        }
        let provider = self.choice.provider();
        let error = |kind, what: String| Stop::Failed(Error { provider: provider.name().to_owned(), kind, what });
        let capabilities = provider.capabilities();
        let tape_hz = self.tape.sample_rate_hz();
        let rates = &capabilities.sample_rates_hz;
        let rate_hz = rates.iter().copied().find(|rate| *rate == tape_hz).or(rates.first().copied()).unwrap_or(tape_hz);
        let feed = Feed::new(tape_hz, rate_hz).map_err(|e| error(ErrorKind::Invalid, e.to_string()))?;
        let options = StreamOptions { sample_rate_hz: rate_hz, ..self.options.clone() };
        // With nowhere else to go, the place in the queue is worth more than another attempt.
        let patience = if self.choice.has_other() { self.config.place_patience } else { Duration::MAX };
        let opening = timeout(patience, provider.open(&options));
        let stream = match self.meanwhile(opening).await {
            Ok(opened) => opened.map_err(Stop::Failed)?,
            Err(_) => return Err(error(ErrorKind::Busy, "no place at it became free in time".to_owned())),
        };
        self.figures.opened();
        Conversation::new(self, provider.name(), &capabilities, stream, feed, from).run().await
    }

    /// Waits after a failure; false where there is no hope.
    async fn goes_on(&mut self, error: &Error) -> bool {
        let now = Instant::now();
        let next = self.choice.failed(error, now, rand::random());
        self.figures.failed(next.goes_over);
        if self.tape.length().is_complete {
            let since = *self.complete_since.get_or_insert(now);
            let stuck_for = now.duration_since(since.max(self.progress_at));
            if self.choice.is_hopeless() || stuck_for >= self.config.give_up_after {
                return false;
            }
        }
        self.meanwhile(sleep(next.after)).await;
        true
    }

    /// Keeps the figures up to date while something is waited for.
    async fn meanwhile<F: Future>(&self, waited_for: F) -> F::Output {
        let mut waited_for = std::pin::pin!(waited_for);
        loop {
            self.observe(self.told);
            tokio::select! {
                biased;
                output = &mut waited_for => return output,
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Tells the figures up to where audio has been dealt with.
    pub(super) fn observe(&self, position: u64) {
        let Length { samples, .. } = self.tape.length();
        self.figures.behind(samples.saturating_sub(position) * 1_000 / u64::from(self.tape.sample_rate_hz().max(1)));
    }

    pub(super) fn piece_samples(&self) -> usize {
        (self.tape.sample_rate_hz() / PIECES_PER_SECOND).max(1) as usize
    }
}

/// A time in samples.
pub(super) const fn samples(time: Duration, rate_hz: u32) -> u64 {
    (time.as_millis() as u64).saturating_mul(rate_hz as u64) / 1_000
}
