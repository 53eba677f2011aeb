//! What one listener hears: the parts of a session's capture one after the other, in the form that was asked for.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aimg_audio::resample::Resampler;
use aimg_audio::{g711, linear};
use aimg_core::Codec;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::playing::{Playing, Sides};
use super::{Frame, ListenSpec, Marks, NEXT_PART_PATIENCE, Place, SampleFormat, Side, Stage};
use crate::ListenError;

/// How often it is looked whether something came: on average a frame waits half of it.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A session that is heard. Dropping it ends it.
#[derive(Debug)]
pub struct Hearing {
    place: Place,
    codec: Codec,
    stage: watch::Receiver<Stage>,
    spec: ListenSpec,
    playing: Option<Playing>,
    /// Since when there has been no part to hear.
    alone_since: Option<Instant>,
    /// One a side, where the rates differ.
    resamplers: Vec<Resampler>,
    /// Resampled, and not yet a frame.
    resampled: Vec<Vec<i16>>,
    /// What is known of the frames that are being resampled.
    notes: VecDeque<(u64, Marks)>,
    frames: VecDeque<Frame>,
    look: Interval,
}

impl Hearing {
    pub(super) async fn begin(
        place: Place,
        codec: Codec,
        stage: watch::Receiver<Stage>,
        spec: ListenSpec,
    ) -> Result<Self, ListenError> {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut hearing = Self {
            place,
            codec,
            stage,
            spec,
            playing: None,
            alone_since: None,
            resamplers: Vec::new(),
            resampled: Vec::new(),
            notes: VecDeque::new(),
            frames: VecDeque::new(),
            look,
        };
        hearing.reset_resamplers();
        hearing.follow_stage().await?;
        Ok(hearing)
    }

    /// What was asked for.
    pub fn spec(&self) -> ListenSpec {
        self.spec
    }

    /// Waits for the next frame; nothing once the call has ended and all of it was heard, or when its capture ended before
    /// it and no other part began. Losing the future loses no audio.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                self.place.house.frames.fetch_add(1, Ordering::Relaxed);
                return Some(frame);
            }
            self.look.tick().await;
            // What cannot be listened to is tried again until patience is over.
            let _ = self.follow_stage().await;
            if !self.listen() {
                return None;
            }
        }
    }

    /// Goes over to the part that is being captured.
    async fn follow_stage(&mut self) -> Result<(), ListenError> {
        let Some(part) = self.stage.borrow_and_update().part else { return Ok(()) };
        if self.playing.as_ref().is_some_and(|playing| playing.part == part) {
            return Ok(());
        }
        let (media, session) = (self.place.house.media.clone(), self.place.session);
        self.playing = Some(Playing::begin(media, session, part, self.codec, self.spec.side.directions()).await?);
        self.reset_resamplers();
        Ok(())
    }

    /// Takes in what came and makes frames of it; false when nothing will come any more.
    fn listen(&mut self) -> bool {
        let now = self.place.house.media.clock().now();
        let Some(mut playing) = self.playing.take() else { return self.is_patient() };
        playing.listen(now);
        let (skipped, late) = playing.take_counts();
        self.place.house.skipped.fetch_add(skipped, Ordering::Relaxed);
        self.place.house.late.fetch_add(late, Ordering::Relaxed);
        let part = playing.part;
        let has_ended = playing.has_ended();
        if has_ended && !self.is_patient() {
            self.flush(part);
            return !self.frames.is_empty();
        }
        if !has_ended {
            self.alone_since = None;
        }
        while let Some(sides) = playing.frame(now) {
            self.convert(part, sides);
        }
        self.playing = Some(playing);
        true
    }

    /// Whether another part may begin.
    fn is_patient(&mut self) -> bool {
        // The session is forgotten when it is over.
        let is_over = self.stage.has_changed().is_err() || self.stage.borrow().is_over;
        let since = *self.alone_since.get_or_insert_with(Instant::now);
        !is_over && since.elapsed() < NEXT_PART_PATIENCE
    }

    fn reset_resamplers(&mut self) {
        let (from_hz, to_hz) = (self.codec.sample_rate_hz(), self.spec.rate.hz());
        let sides = self.spec.side.directions().len();
        self.notes.clear();
        self.resampled = vec![Vec::new(); sides];
        let resampler = || Resampler::new(from_hz, to_hz).expect("both rates are those of codecs: 8 or 16 kHz");
        self.resamplers = if from_hz == to_hz { Vec::new() } else { (0..sides).map(|_| resampler()).collect() };
    }

    /// Brings a frame into the form that was asked for.
    fn convert(&mut self, part: u16, sides: Sides) {
        let Sides { position, marks, samples } = sides;
        if self.resamplers.is_empty() {
            let audio = self.written(&samples);
            return self.frames.push_back(Frame { part, position, marks, audio });
        }
        if marks.skipped {
            self.reset_resamplers();
        }
        let rates = (u64::from(self.codec.sample_rate_hz()), u64::from(self.spec.rate.hz()));
        self.notes.push_back((position * rates.1 / rates.0, marks));
        for ((side, resampler), out) in samples.iter().zip(&mut self.resamplers).zip(&mut self.resampled) {
            resampler.push(side, out);
        }
        self.take_resampled(part);
    }

    fn take_resampled(&mut self, part: u16) {
        let samples = (self.spec.rate.hz() / 50) as usize;
        while self.resampled.iter().all(|side| side.len() >= samples) {
            let Some((position, marks)) = self.notes.pop_front() else { return };
            let sides: Vec<Vec<i16>> = self.resampled.iter_mut().map(|side| side.drain(..samples).collect()).collect();
            let audio = self.written(&sides);
            self.frames.push_back(Frame { part, position, marks, audio });
        }
    }

    /// Takes what the resamplers still hold.
    fn flush(&mut self, part: u16) {
        for (resampler, out) in self.resamplers.iter_mut().zip(&mut self.resampled) {
            resampler.push(&[], out);
        }
        self.take_resampled(part);
    }

    /// A frame's samples as bytes.
    fn written(&self, sides: &[Vec<i16>]) -> Vec<u8> {
        let samples: Vec<i16> = match (self.spec.side, sides) {
            (Side::Both, [caller, callee]) => caller.iter().zip(callee).flat_map(|(a, b)| [*a, *b]).collect(),
            (Side::Mixed, [caller, callee]) => caller.iter().zip(callee).map(|(a, b)| a.saturating_add(*b)).collect(),
            _ => sides.concat(),
        };
        let mut audio = Vec::with_capacity(samples.len() * 2);
        match self.spec.samples {
            SampleFormat::Ulaw => audio.extend(samples.iter().map(|s| g711::ulaw_encode(*s))),
            SampleFormat::Pcm16 => linear::to_wav(&samples, &mut audio),
        }
        audio
    }
}
