//! One side of a call as a listener hears it: packets as they came, made into samples without holes.
//!
//! A packet that is missing is waited for a little, since others may have overtaken it, and is then silence of its length.
//! Where nothing comes at all there is silence too, a little behind the clock; what comes then and belongs where the
//! silence already is came too late for those who listen live, unless everything comes that much later: then the source
//! had paused, and is heard from where the clock stands.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use aimg_core::Timestamp;
use aimg_rtp::REORDER_WINDOW;

use super::Marks;

/// How long a packet that others have overtaken is waited for.
const JITTER: Duration = Duration::from_millis(60);
/// How far behind the clock a side may fall before there is silence.
pub(super) const HOLD: Duration = Duration::from_millis(200);
/// A side whose packets come this much later than they did has paused.
const PAUSE_LAG: Duration = Duration::from_millis(60);

/// Audio of one packet.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    /// Where it is on its flow's axis; see [`aimg_rtp::Axis`].
    pub(super) position: u64,
    /// When it came.
    pub(super) at: Timestamp,
    pub(super) samples: Vec<i16>,
}

/// A side. Positions are samples since `origin`.
#[derive(Debug)]
pub(super) struct Track {
    rate_hz: u32,
    origin: Timestamp,
    /// From a place on the flow's axis to one on ours: the flow's beginning, and its pauses.
    shift: i64,
    /// Came, and is not ready yet, by place on the flow's axis.
    pending: BTreeMap<u64, Packet>,
    /// Can be heard, up to `end`.
    ready: VecDeque<i16>,
    end: i64,
    /// What is to be said of stretches of what is ready.
    marks: VecDeque<(std::ops::Range<i64>, Marks)>,
    /// There is silence because nothing came, and nothing has come since.
    is_silent: bool,
    late: u64,
}

/// Samples from one time to another; negative when that is earlier.
pub(super) fn samples_between(from: Timestamp, to: Timestamp, rate_hz: u32) -> i64 {
    to.micros_since(from) * i64::from(rate_hz) / 1_000_000
}

/// Samples of so much time.
pub(super) fn samples_of(time: Duration, rate_hz: u32) -> i64 {
    samples_between(Timestamp::default(), Timestamp::default() + time, rate_hz)
}

impl Track {
    /// A side whose flow began at `began_at`, to be heard from `start` on.
    pub(super) fn new(rate_hz: u32, origin: Timestamp, began_at: Timestamp, start: i64) -> Self {
        Self {
            rate_hz,
            origin,
            shift: samples_between(origin, began_at, rate_hz),
            pending: BTreeMap::new(),
            ready: VecDeque::new(),
            end: start,
            marks: VecDeque::new(),
            is_silent: false,
            late: 0,
        }
    }

    pub(super) fn hear(&mut self, packet: Packet) {
        self.pending.entry(packet.position).or_insert(packet);
    }

    /// Makes ready what can be heard at this time.
    pub(super) fn advance(&mut self, now: Timestamp) {
        self.follow_pause();
        while let Some(first) = self.pending.first_entry() {
            let gap = self.shift.saturating_add_unsigned(*first.key()) - self.end;
            let waits = now.since(first.get().at) < JITTER && self.pending.len() < REORDER_WINDOW as usize;
            if gap > 0 && waits && !self.is_silent {
                return;
            }
            self.take_first(gap, now);
        }
        let behind = self.axis(now) - self.end - samples_of(HOLD, self.rate_hz);
        if behind > 0 {
            self.put_silence(behind, Marks { silent: true, ..Marks::default() });
            self.is_silent = true;
        }
    }

    /// Makes ready all that came: nothing more will come.
    pub(super) fn finish(&mut self, now: Timestamp) {
        self.follow_pause();
        while let Some(first) = self.pending.first_entry() {
            let gap = self.shift.saturating_add_unsigned(*first.key()) - self.end;
            self.take_first(gap, now);
        }
    }

    /// Samples that are ready.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// The next samples, which are from `at` on; missing ones are silence.
    pub(super) fn take(&mut self, samples: usize, at: i64, into: &mut Vec<i16>) -> Marks {
        let taken = samples.min(self.ready.len());
        into.extend(self.ready.drain(..taken));
        into.extend(std::iter::repeat_n(0, samples - taken));
        self.end = self.end.max(at + samples as i64);
        let frame = at..at + samples as i64;
        while self.marks.front().is_some_and(|(range, _)| range.end <= frame.start) {
            self.marks.pop_front();
        }
        let within = self.marks.iter().filter(|(range, _)| range.start < frame.end);
        within.fold(Marks::default(), |all, (_, marks)| all.and(*marks))
    }

    /// Packets that came too late since this was last asked.
    pub(super) fn take_late(&mut self) -> u64 {
        std::mem::take(&mut self.late)
    }

    /// Where the clock stands.
    fn axis(&self, now: Timestamp) -> i64 {
        samples_between(self.origin, now, self.rate_hz)
    }

    /// The latest packet is where a source that goes on would be: after silence, it tells a pause from a delay.
    fn follow_pause(&mut self) {
        let Some((position, last)) = self.pending.last_key_value().filter(|_| self.is_silent) else { return };
        let end = self.shift.saturating_add_unsigned(*position) + last.samples.len() as i64;
        let lag = self.axis(last.at) - end;
        if lag >= samples_of(PAUSE_LAG, self.rate_hz) {
            self.shift += lag;
        }
    }

    /// Makes the first packet ready, `gap` samples behind what is ready; before it, if that is negative.
    fn take_first(&mut self, mut gap: i64, now: Timestamp) {
        let Some((_, packet)) = self.pending.pop_first() else { return };
        if gap + packet.samples.len() as i64 <= 0 {
            self.late += 1;
            return;
        }
        // Numbers that jump without time having passed would put us far ahead of the clock.
        let room = (self.axis(now) - self.end).max(0) + samples_of(HOLD, self.rate_hz);
        if gap > room {
            self.shift -= gap - room;
            gap = room;
        }
        if gap > 0 {
            let silent = self.is_silent;
            self.put_silence(gap, Marks { silent, lost: !silent, ..Marks::default() });
        }
        let known = usize::try_from(-gap).unwrap_or(0);
        self.ready.extend(&packet.samples[known..]);
        self.end += (packet.samples.len() - known) as i64;
        self.is_silent = false;
    }

    fn put_silence(&mut self, samples: i64, marks: Marks) {
        let range = self.end..self.end + samples;
        self.ready.extend(std::iter::repeat_n(0, usize::try_from(samples).unwrap_or(0)));
        self.end = range.end;
        match self.marks.back_mut() {
            Some((before, same)) if before.end == range.start && *same == marks => before.end = range.end,
            _ => self.marks.push_back((range, marks)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 8_000;
    const FRAME: usize = 160;

    /// The packet that is number `n`, whose samples say so, as it comes `delay_ms` after it was spoken.
    fn packet(n: u64, delay_ms: i64) -> Packet {
        let at = Timestamp::from_micros((n.cast_signed() + 1) * 20_000 + delay_ms * 1_000);
        Packet { position: n * FRAME as u64, at, samples: vec![n as i16 + 1; FRAME] }
    }

    /// Gives packets to a track when they come and takes frames when it has them, until `until_ms`: the number of each
    /// frame's packet (0 for silence), with `?` for a lost one and `-` for silence.
    fn heard(packets: &[Packet], until_ms: i64) -> (String, u64) {
        let mut track = Track::new(RATE, Timestamp::default(), Timestamp::default(), 0);
        let (mut words, mut at) = (Vec::new(), 0);
        let mut left = packets.to_vec();
        for ms in (0..=until_ms).step_by(10) {
            let now = Timestamp::from_micros(ms * 1_000);
            let (came, rest): (Vec<_>, Vec<_>) = left.into_iter().partition(|p| p.at <= now);
            left = rest;
            came.into_iter().for_each(|p| track.hear(p));
            track.advance(now);
            while track.ready() >= FRAME {
                let mut frame = Vec::new();
                let marks = track.take(FRAME, at, &mut frame);
                at += FRAME as i64;
                assert!(frame.iter().all(|s| *s == frame[0]) || marks.silent, "a frame is of one packet: {frame:?}");
                let number = if frame[0] == 0 { String::new() } else { (frame[0] - 1).to_string() };
                words.push(number + if marks.lost { "?" } else { "" } + if marks.silent { "-" } else { "" });
            }
        }
        (words.join(" "), track.take_late())
    }

    #[test]
    fn packets_are_heard_in_order_and_missing_ones_are_silence_of_their_length() {
        for (name, packets, words, late) in [
            ("in order", vec![packet(0, 0), packet(1, 5), packet(2, 0)], "0 1 2", 0),
            ("overtaken", vec![packet(0, 0), packet(1, 30), packet(2, 0), packet(3, 0)], "0 1 2 3", 0),
            ("lost", vec![packet(0, 0), packet(2, 0), packet(3, 0)], "0 ? 2 3", 0),
            ("too late", vec![packet(0, 0), packet(1, 120), packet(2, 0), packet(3, 0)], "0 ? 2 3", 1),
        ] {
            assert_eq!(heard(&packets, 180), (words.to_owned(), late), "{name}");
        }
    }

    #[test]
    fn while_nothing_comes_there_is_silence_a_little_behind_the_clock() {
        // 0 to 40 ms was spoken; at 600 ms, 400 ms can be heard.
        let (words, _) = heard(&[packet(0, 0), packet(1, 0)], 600);
        assert_eq!(words, format!("0 1{}", " -".repeat(18)));
    }

    #[test]
    fn a_source_that_paused_is_heard_where_the_clock_stands() {
        // It goes on counting as if nothing had been, 500 ms later.
        let packets: Vec<_> = (0..2).map(|n| packet(n, 0)).chain((2..6).map(|n| packet(n, 500))).collect();
        let (words, late) = heard(&packets, 640);
        assert_eq!((words, late), (format!("0 1{} 2 3 4 5", " -".repeat(25)), 0));
    }

    #[test]
    fn a_source_that_catches_up_at_once_is_heard_from_where_the_clock_stands() {
        // 600 ms of audio come in a burst; what should have been heard before was silence.
        let burst = (2..30).map(|n| Packet { at: Timestamp::from_micros(600_000), ..packet(n, 0) });
        let packets: Vec<_> = (0..2).map(|n| packet(n, 0)).chain(burst).chain((30..32).map(|n| packet(n, 0))).collect();
        let (words, late) = heard(&packets, 660);
        // At 590 ms, 390 ms could be heard; the burst continues there.
        let numbers: Vec<_> = words.split(' ').skip_while(|w| *w != "20").collect();
        assert_eq!(numbers, (20..32).map(|n| n.to_string()).collect::<Vec<_>>(), "{words}");
        assert_eq!(late, 17);
    }

    #[test]
    fn numbers_that_jump_without_time_passing_are_no_hour_of_silence() {
        let jumped = Packet { at: Timestamp::from_micros(40_000), ..packet(2_000, 0) };
        let next = Packet { at: Timestamp::from_micros(60_000), ..packet(2_001, 0) };
        let (words, _) = heard(&[packet(0, 0), jumped, next], 400);
        assert!(words.starts_with("0 ?") && words.contains("2000 2001"), "{words}");
        assert!(words.split(' ').count() < 30, "{words}");
    }

    #[test]
    fn at_the_end_all_that_came_is_heard() {
        let mut track = Track::new(RATE, Timestamp::default(), Timestamp::default(), 0);
        track.hear(packet(0, 0));
        track.hear(packet(2, 0));
        track.finish(Timestamp::from_micros(60_000));
        assert_eq!(track.ready(), 3 * FRAME);
    }
}
