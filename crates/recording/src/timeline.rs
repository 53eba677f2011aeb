//! Where on the recording's time axis each packet of a flow belongs.
//!
//! Within a flow the place comes from sequence numbers: packets follow each other without a seam, a missing one is
//! silence of its length. RTP timestamps are not asked, since Asterisk's jump when a bridge changes its source. The
//! arrival says where the flow begins, and where the source paused (hold, a frozen Asterisk, another source): sequence
//! numbers go on over a pause as if nothing had happened.
//!
//! A pause is told from a delay by looking ahead. `lag` is how much later a packet arrived than its sequence number
//! says; delays come and go, so the least lag of the following second is the delay-free one. While it stays above the
//! lag on which the flow is anchored, the source paused, and silence is put there; when a frozen source catches up in a
//! burst the least lag does not rise, and nothing is put there.
//!
//! Nothing is ever overlapped or cut away: a source that sends more audio than time has passed gets all of it.

use std::collections::VecDeque;
use std::time::Duration;

use aimg_core::Timestamp;
use aimg_rtp::DROPOUT_MAX;

/// How far to look ahead for the least lag.
const LOOK_AHEAD: Duration = Duration::from_secs(1);
/// A least lag of so much above the anchor is a pause: the frame by which a place may be wrong.
const PAUSE_LAG_MIN: Duration = Duration::from_millis(20);
/// The same where less than [`EVIDENCE_MIN`] of audio follows to judge by: a few packets may all be late.
const PAUSE_LAG_MIN_AT_END: Duration = Duration::from_millis(40);
/// Audio within [`LOOK_AHEAD`] that makes its least lag trustworthy.
const EVIDENCE_MIN: Duration = Duration::from_millis(500);
/// All pauses together are no longer: a bound on the file should arrival times be nonsense.
const PAUSES_MAX: Duration = Duration::from_hours(24);

/// A packet that was kept; 32 bytes, since a recording's whole index is in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Its sequence number as [`aimg_rtp::Outcome`] extends it.
    pub extended: u64,
    /// When the kernel received it.
    pub at: Timestamp,
    /// Where in the spool it is.
    pub packet_at: u64,
    /// Its length.
    pub packet_bytes: u32,
    /// Samples in its payload.
    pub samples: u32,
}

const _: () = assert!(size_of::<Arrived>() == 32);

/// The packets of one flow in order of their sequence, ready to be placed.
#[derive(Clone, Debug)]
pub struct Sequence {
    packets: Vec<Arrived>,
    rate_hz: u32,
}

impl Sequence {
    /// Takes packets in any order, each extended number at most once. Each arrival time becomes the latest one that its
    /// followers allow: what was sent earlier cannot have been sent later.
    pub fn new(mut packets: Vec<Arrived>, rate_hz: u32) -> Self {
        packets.sort_unstable_by_key(|p| p.extended);
        let mut earliest = Timestamp::from_micros(i64::MAX);
        for packet in packets.iter_mut().rev() {
            earliest = earliest.min(packet.at);
            packet.at = earliest;
        }
        Self { packets, rate_hz }
    }

    /// When the first sample was spoken; nothing when there is no packet.
    pub fn begins_at(&self) -> Option<Timestamp> {
        let first_arrival = self.packets.first()?.at;
        let first = self.placed(first_arrival).next()?;
        // Rounded down: on an axis from here on, no position is negative.
        let us = (first.position * 1_000_000).div_euclid(i64::from(self.rate_hz));
        Some(Timestamp::from_micros(first_arrival.as_micros() + us))
    }

    /// Places all packets on an axis that begins at `origin`, for what it comes to.
    pub fn extent(&self, origin: Timestamp) -> Extent {
        let mut placed = self.placed(origin);
        let last = placed.by_ref().last();
        let end = last.map_or(0, |place| place.position + i64::from(place.packet.samples));
        Extent { samples: u64::try_from(end).unwrap_or(0), pauses: placed.pauses }
    }

    /// The packets with their places, in order, on an axis that begins at `origin`.
    pub fn placed(&self, origin: Timestamp) -> Placed<'_> {
        Placed {
            packets: &self.packets,
            rate_hz: i64::from(self.rate_hz),
            origin,
            here: Cursor::default(),
            ahead: Cursor::default(),
            least: VecDeque::new(),
            anchor: None,
            pauses: Pauses::default(),
        }
    }
}

/// A packet and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Samples from the origin to the packet's first one; negative when the origin is later than [`Sequence::begins_at`].
    pub position: i64,
    /// The packet.
    pub packet: Arrived,
}

/// Silence that was put where the source paused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pauses {
    /// How many.
    pub count: u64,
    /// Samples of all of them.
    pub samples: u64,
}

/// How far the packets of a flow reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Samples from the origin to the end of the last packet; 0 without packets.
    pub samples: u64,
    /// Pauses within.
    pub pauses: Pauses,
}

/// Iterates over packets and their places.
#[derive(Clone, Debug)]
pub struct Placed<'a> {
    packets: &'a [Arrived],
    rate_hz: i64,
    origin: Timestamp,
    here: Cursor,
    /// The first packet beyond the look-ahead.
    ahead: Cursor,
    /// Lags of the packets from `here` to `ahead`, each less than those before it are: the front is the least.
    least: VecDeque<(usize, i64)>,
    /// The lag on which the flow stands, in samples; none before the first packet.
    anchor: Option<i64>,
    pauses: Pauses,
}

/// A packet's index, and the samples before it as the sequence numbers have it.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    index: usize,
    samples: i64,
    /// Whether another count of sequence numbers begins with this packet.
    restarts: bool,
}

impl Cursor {
    fn step(&mut self, packets: &[Arrived]) {
        let packet = packets[self.index];
        self.index += 1;
        self.samples += i64::from(packet.samples);
        if let Some(next) = packets.get(self.index) {
            let skipped = next.extended.saturating_sub(packet.extended + 1);
            // Counts lie further apart than any loss within one.
            self.restarts = skipped >= DROPOUT_MAX;
            if !self.restarts {
                self.samples += skipped.cast_signed() * i64::from(packet.samples);
            }
        }
    }
}

impl Placed<'_> {
    fn samples_of(&self, time: Duration) -> i64 {
        i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 1_000_000) * self.rate_hz / 1_000
    }

    /// How much later than its sequence number says the packet's first sample was, in samples since the origin.
    fn lag(&self, cursor: Cursor) -> i64 {
        let packet = &self.packets[cursor.index];
        let arrival = i128::from(packet.at.micros_since(self.origin)) * i128::from(self.rate_hz) / 1_000_000;
        arrival as i64 - i64::from(packet.samples) - cursor.samples
    }

    /// The least lag from `here` on for a second, and the samples of audio it was judged by.
    fn look_ahead(&mut self) -> (i64, i64) {
        let until = self.packets[self.here.index].at + LOOK_AHEAD;
        while self.packets.get(self.ahead.index).is_some_and(|p| p.at <= until) {
            let lag = self.lag(self.ahead);
            while self.least.back().is_some_and(|(_, other)| *other >= lag) {
                self.least.pop_back();
            }
            self.least.push_back((self.ahead.index, lag));
            self.ahead.step(self.packets);
        }
        while self.least.front().is_some_and(|(index, _)| *index < self.here.index) {
            self.least.pop_front();
        }
        let least = self.least.front().map_or_else(|| self.lag(self.here), |(_, lag)| *lag);
        (least, self.ahead.samples - self.here.samples)
    }

    /// The lag on which the packet at `here` stands.
    fn anchor(&mut self) -> i64 {
        let (least, evidence) = self.look_ahead();
        let Some(anchor) = self.anchor else {
            return least;
        };
        let lag_min = match self.here.restarts {
            true => Duration::ZERO,
            false if evidence >= self.samples_of(EVIDENCE_MIN) => PAUSE_LAG_MIN,
            false => PAUSE_LAG_MIN_AT_END,
        };
        let left = self.samples_of(PAUSES_MAX) - self.pauses.samples.cast_signed();
        let pause = (least - anchor).min(left);
        if pause <= self.samples_of(lag_min) {
            return anchor;
        }
        self.pauses.count += 1;
        self.pauses.samples += pause.unsigned_abs();
        anchor + pause
    }
}

impl Iterator for Placed<'_> {
    type Item = Place;

    fn next(&mut self) -> Option<Place> {
        let packet = *self.packets.get(self.here.index)?;
        let anchor = self.anchor();
        self.anchor = Some(anchor);
        let position = anchor + self.here.samples;
        self.here.step(self.packets);
        Some(Place { position, packet })
    }
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;
