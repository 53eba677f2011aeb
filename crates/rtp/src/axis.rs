//! Where on a flow's own axis of samples each packet belongs, told when it arrives: for those who listen live.
//!
//! The rule is the recording's: packets follow each other without a seam, a missing one is as long as the one before it,
//! and a source that counts anew goes on where it was. What a recording finds only by looking ahead, the silence of a
//! source that paused, is not on this axis.

use std::time::Duration;

use aimg_core::{Codec, Timestamp};

use crate::{Outcome, Verdict};

/// How long the beginning of the axis is sought: the least delayed packet of this time tells it.
const SETTLING_TIME: Duration = Duration::from_secs(1);

/// Places the packets of one flow. Sample 0 is the first of the first packet that came.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    codec: Codec,
    newest: Option<Newest>,
    beginning: Option<Beginning>,
}

/// The packet with the highest number.
#[derive(Clone, Copy, Debug)]
struct Newest {
    extended: u64,
    position: u64,
    samples: u32,
}

#[derive(Clone, Copy, Debug)]
struct Beginning {
    at: Timestamp,
    settled_at: Timestamp,
}

impl Axis {
    /// An axis without packets.
    pub const fn new(codec: Codec) -> Self {
        Self { codec, newest: None, beginning: None }
    }

    /// The place of the first sample of a packet with so much payload, in samples. Nothing for a packet that is to be
    /// thrown away, and for one from before the first that came.
    pub fn place(&mut self, outcome: Outcome, payload_bytes: usize, at: Timestamp) -> Option<u64> {
        // A datagram is short.
        let samples = (payload_bytes / self.codec.bytes_per_sample()) as u32;
        let position = self.position(outcome, samples)?;
        self.settle(position + u64::from(samples), at);
        Some(position)
    }

    /// When sample 0 was spoken, as far as arrivals tell: the least delayed one of the flow's first second does. Nothing
    /// before the first packet.
    pub fn began_at(&self) -> Option<Timestamp> {
        self.beginning.map(|beginning| beginning.at)
    }

    fn position(&mut self, outcome: Outcome, samples: u32) -> Option<u64> {
        let Outcome { verdict, extended } = outcome;
        let newest = self.newest;
        let end = newest.map_or(0, |n| n.position + u64::from(n.samples));
        let position = match verdict {
            Verdict::Duplicate | Verdict::Stray => return None,
            Verdict::Reordered | Verdict::Late => {
                let newest = newest?;
                let behind = newest.extended.checked_sub(extended)?;
                return newest.position.checked_sub(behind.checked_mul(u64::from(samples))?);
            }
            Verdict::InOrder | Verdict::Restart { stray: None } => end,
            Verdict::Gap { missing } => end + missing * newest.map_or(0, |n| u64::from(n.samples)),
            // The stray was thrown away when it came; its place is kept.
            Verdict::Restart { stray: Some(stray) } => match extended.checked_sub(stray) {
                Some(ahead) => end + ahead * u64::from(samples),
                None => {
                    let position = end + (stray - extended) * u64::from(samples);
                    self.newest = Some(Newest { extended: stray, position, samples });
                    return Some(end);
                }
            },
        };
        self.newest = Some(Newest { extended, position, samples });
        Some(position)
    }

    /// `end` samples had been spoken when a packet came.
    fn settle(&mut self, end: u64, at: Timestamp) {
        let us =
            i64::try_from(u128::from(end) * 1_000_000 / u128::from(self.codec.sample_rate_hz())).unwrap_or(i64::MAX);
        let began = Timestamp::from_micros(at.as_micros().saturating_sub(us));
        match &mut self.beginning {
            None => self.beginning = Some(Beginning { at: began, settled_at: at + SETTLING_TIME }),
            Some(beginning) if at <= beginning.settled_at => beginning.at = beginning.at.min(began),
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arrival, LedgerBuilder, SeqNo, Ssrc};

    /// The places of packets of 160 samples that come 20 ms apart.
    fn places(packets: &[(u32, u16)]) -> Vec<Option<u64>> {
        let mut ledger = LedgerBuilder::new(8_000);
        let mut axis = Axis::new(Codec::Ulaw);
        let place = |(n, (ssrc, seq)): (usize, &(u32, u16))| {
            let at = Timestamp::from_micros(n as i64 * 20_000);
            let arrival = Arrival { at, ssrc: Ssrc(*ssrc), seq: SeqNo(*seq), rtp_timestamp: 0, kernel_drops: 0 };
            axis.place(ledger.observe(arrival), 160, at)
        };
        packets.iter().enumerate().map(place).collect()
    }

    #[test]
    fn each_packet_has_the_place_that_its_number_gives() {
        type Case = (&'static [(u32, u16)], &'static [Option<u64>]);
        let cases: [Case; 6] = [
            (&[(1, 65_535), (1, 0), (1, 1)], &[Some(0), Some(160), Some(320)]),
            (
                &[(1, 5), (1, 8), (1, 6), (1, 6), (1, 7), (1, 9)],
                &[Some(0), Some(480), Some(160), None, Some(320), Some(640)],
            ),
            (&[(1, 5), (1, 4), (1, 6)], &[Some(0), None, Some(160)]),
            // Another source goes on where the first one was.
            (&[(1, 5), (2, 900), (2, 901)], &[Some(0), Some(160), Some(320)]),
            // So does one that counts anew; the first packet of the new count is known too late to be heard.
            (&[(1, 5), (1, 40_000), (1, 40_001), (1, 40_002)], &[Some(0), None, Some(320), Some(480)]),
            (&[(1, 5), (1, 40_001), (1, 40_000), (1, 40_002)], &[Some(0), None, Some(160), Some(480)]),
        ];
        for (packets, expected) in cases {
            assert_eq!(places(packets), expected, "{packets:?}");
        }
    }

    #[test]
    fn the_least_delayed_packet_of_the_first_second_tells_the_beginning() {
        let mut axis = Axis::new(Codec::Ulaw);
        assert_eq!(axis.began_at(), None);
        for (n, (delay_us, began_us)) in
            [(30_000, 1_030_000), (5_000, 1_005_000), (10_000, 1_005_000)].into_iter().enumerate()
        {
            let at = Timestamp::from_micros(1_000_000 + (n as i64 + 1) * 20_000 + delay_us);
            let outcome = Outcome { verdict: Verdict::InOrder, extended: n as u64 };
            axis.place(outcome, 160, at);
            assert_eq!(axis.began_at(), Some(Timestamp::from_micros(began_us)), "{n}");
        }
        // Much later, and with less delay: it is too late to move what others have been told.
        let outcome = Outcome { verdict: Verdict::InOrder, extended: 3 };
        axis.place(outcome, 160, Timestamp::from_micros(1_005_000 + 2_000_000));
        assert_eq!(axis.began_at(), Some(Timestamp::from_micros(1_005_000)));
    }
}
