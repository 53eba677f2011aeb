//! One part of a capture as it is heard: its flows, each a [`Track`], on the axis of its recording.

use aimg_audio::payload;
use aimg_core::{Codec, Direction, FlowId, SessionId, Timestamp};
use aimg_media::{Listener, Media, Sound};

use super::Marks;
use super::track::{HOLD, Packet, Track, samples_between, samples_of};

/// Frames a second.
const FRAMES_PER_SECOND: u32 = 50;

/// The sides of a part that one listener hears.
#[derive(Debug)]
pub(super) struct Playing {
    media: Media,
    session: SessionId,
    pub(super) part: u16,
    codec: Codec,
    sides: Vec<Ear>,
    /// When the recording's first sample was spoken; known with the first packet.
    origin: Option<Timestamp>,
    /// The next frame's first sample, on the recording's axis; unknown while the sides are not aligned.
    at: Option<i64>,
    skipped_ahead: bool,
    skipped: u64,
    payload: Vec<u8>,
}

/// One flow.
#[derive(Debug)]
struct Ear {
    listener: Listener,
    has_ended: bool,
    began_at: Option<Timestamp>,
    /// Came before the sides were aligned.
    waiting: Vec<Packet>,
    track: Option<Track>,
}

/// 20 ms of each side, at the codec's rate.
#[derive(Debug)]
pub(super) struct Sides {
    /// The place of the first sample on the recording's axis.
    pub(super) position: u64,
    pub(super) marks: Marks,
    pub(super) samples: Vec<Vec<i16>>,
}

impl Playing {
    /// Listens to these directions of a part whose flows are open.
    pub(super) async fn begin(
        media: Media,
        session: SessionId,
        part: u16,
        codec: Codec,
        directions: &[Direction],
    ) -> Result<Self, aimg_media::Error> {
        let mut sides = Vec::with_capacity(directions.len());
        for direction in directions {
            let listener = media.listen(FlowId { session, part, direction: *direction }).await?;
            sides.push(Ear { listener, has_ended: false, began_at: None, waiting: Vec::new(), track: None });
        }
        let payload = Vec::new();
        Ok(Self {
            media,
            session,
            part,
            codec,
            sides,
            origin: None,
            at: None,
            skipped_ahead: false,
            skipped: 0,
            payload,
        })
    }

    /// Takes in what came.
    pub(super) fn listen(&mut self, now: Timestamp) {
        let mut skipped = 0;
        for ear in &mut self.sides {
            skipped += ear.take(self.codec, &mut self.payload);
        }
        if skipped > 0 {
            // The sides go on together, from where the slower one is.
            self.skipped += skipped;
            self.skipped_ahead = true;
            self.at = None;
            self.sides.iter_mut().for_each(|ear| ear.track = None);
        }
        if self.at.is_none() {
            self.align(now);
        }
        let (Some(origin), Some(at)) = (self.origin, self.at) else { return };
        for ear in &mut self.sides {
            ear.advance(self.codec, origin, at, now);
        }
    }

    /// The next frame, if it is time for it.
    pub(super) fn frame(&mut self, now: Timestamp) -> Option<Sides> {
        let rate_hz = self.codec.sample_rate_hz();
        let samples = (rate_hz / FRAMES_PER_SECOND) as usize;
        let (origin, at) = (self.origin?, self.at?);
        let end = at + samples as i64;
        // A side from which nothing has come yet, or nothing will, is silent when the others or the clock say so.
        let is_due = samples_between(origin, now, rate_hz) - end >= samples_of(HOLD, rate_hz);
        let any_ready = self.sides.iter().any(|ear| ear.ready() >= samples || (ear.has_ended && ear.ready() > 0));
        let all_ready = is_due || self.sides.iter().all(|ear| ear.ready() >= samples || (ear.has_ended && any_ready));
        if !all_ready {
            return None;
        }
        let mut marks = Marks { skipped: std::mem::take(&mut self.skipped_ahead), ..Marks::default() };
        let mut sides = Vec::with_capacity(self.sides.len());
        for ear in &mut self.sides {
            let mut side = Vec::with_capacity(samples);
            match &mut ear.track {
                Some(track) => {
                    let is_short = track.ready() < samples;
                    marks = marks.and(track.take(samples, at, &mut side));
                    marks.silent |= is_short;
                }
                None => {
                    side.resize(samples, 0);
                    marks.silent = true;
                }
            }
            sides.push(side);
        }
        self.at = Some(end);
        // Nothing is before the recording's first sample but what nobody could place better.
        Some(Sides { position: u64::try_from(at).unwrap_or(0), marks, samples: sides })
    }

    /// Whether all flows are closed, and all that came is heard.
    pub(super) fn has_ended(&self) -> bool {
        self.sides.iter().all(|ear| ear.has_ended && ear.ready() == 0 && (ear.waiting.is_empty() || self.at.is_none()))
    }

    /// When the recording's first sample was spoken, once that is known.
    pub(super) fn origin(&self) -> Option<Timestamp> {
        self.origin
    }

    /// Packets skipped, and packets that came too late, since this was last asked.
    pub(super) fn take_counts(&mut self) -> (u64, u64) {
        let late = self.sides.iter_mut().filter_map(|ear| ear.track.as_mut()).map(Track::take_late).sum();
        (std::mem::take(&mut self.skipped), late)
    }

    /// Finds the first place from which all sides can be heard.
    fn align(&mut self, now: Timestamp) {
        let firsts = self.sides.iter().filter_map(|ear| Some((ear.began_at?, ear.waiting.first()?)));
        let Some(waits_since) = firsts.clone().map(|(_, packet)| packet.at).min() else { return };
        let all_here = self.sides.iter().all(|ear| ear.has_ended || !ear.waiting.is_empty());
        if !all_here && now.since(waits_since) < HOLD {
            return;
        }
        let shown = Direction::BOTH.into_iter().filter_map(|direction| {
            self.media.flow(FlowId { session: self.session, part: self.part, direction })?.began_at
        });
        let began = self.sides.iter().filter_map(|ear| ear.began_at).chain(shown).min();
        let origin = *self.origin.get_or_insert(began.unwrap_or(waits_since));
        let rate_hz = self.codec.sample_rate_hz();
        let place = |(began_at, packet): (Timestamp, &Packet)| {
            samples_between(origin, began_at, rate_hz).saturating_add_unsigned(packet.position)
        };
        self.at = firsts.map(place).max();
    }
}

impl Ear {
    /// Takes in what came; the packets that were skipped.
    fn take(&mut self, codec: Codec, bytes: &mut Vec<u8>) -> u64 {
        let mut all_skipped = 0;
        loop {
            match self.listener.next(bytes) {
                Sound::Nothing => return all_skipped,
                Sound::Ended => {
                    self.has_ended = true;
                    return all_skipped;
                }
                Sound::Packet { heard, skipped } => {
                    if skipped > 0 {
                        self.waiting.clear();
                    }
                    all_skipped += skipped;
                    self.began_at.get_or_insert(heard.began_at);
                    let mut samples = Vec::with_capacity(payload::samples(codec, bytes.len()));
                    payload::decode(codec, bytes, &mut samples);
                    self.waiting.push(Packet { position: heard.position, at: heard.at, samples });
                }
            }
        }
    }

    fn advance(&mut self, codec: Codec, origin: Timestamp, at: i64, now: Timestamp) {
        let Some(began_at) = self.began_at else { return };
        let track = self.track.get_or_insert_with(|| Track::new(codec.sample_rate_hz(), origin, began_at, at));
        self.waiting.drain(..).for_each(|packet| track.hear(packet));
        match self.has_ended {
            true => track.finish(now),
            false => track.advance(now),
        }
    }

    fn ready(&self) -> usize {
        self.track.as_ref().map_or(0, Track::ready)
    }
}
