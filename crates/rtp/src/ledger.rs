//! The ledger of a flow: what was expected, what came, and where the rest was lost.
//!
//! The same builder is fed by a shard while the call lasts and from the spool when it is over; both give the same
//! ledger, because nothing but the packets that were kept, in order of arrival, and the number of those that were not
//! goes into it. It allocates nothing and takes constant time for a packet.
//!
//! Where it cannot know, it decides against us:
//! - A gap during which the socket's drop counter rose is booked as dropped by our kernel, up to the size of the rise,
//!   although another flow of the socket may have been the one hit.
//! - A gap that fills later is taken from the lost first, from the kernel's drops last.
//!
//! What it cannot see: packets lost before the first or after the last that came, and packets lost where the source
//! restarts. The restarts are in [`StreamFacts`].

use aimg_core::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Jitter, Packet, Place, SeqNo, SequenceTracker, Ssrc};

/// A packet that fills a gap at most this many packets behind the newest was reordered, beyond it was late.
pub const REORDER_WINDOW: u64 = 16;

/// How many packets behind the newest a packet may be and still be told from a duplicate (20 s of 20 ms packets).
pub const DUPLICATE_WINDOW: u64 = 1_024;

/// What became of the packets of a flow. `expected = received + lost + kernel_dropped + dropped_by_us`, always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Packets from the first to the last sequence number that came, over all epochs.
    pub expected: u64,
    /// Packets that came and were kept, each counted once.
    pub received: u64,
    /// Packets that never reached us.
    pub lost: u64,
    /// Packets that came more than [`REORDER_WINDOW`] behind the newest; they are among the received.
    pub late: u64,
    /// Packets that came once more; they are not among the received.
    pub duplicate: u64,
    /// Packets that our kernel had no room for.
    pub kernel_dropped: u64,
    /// Packets that we had in hand and could not keep. More than 0 is a defect.
    pub dropped_by_us: u64,
}

impl Ledger {
    /// Expected packets that were not kept, wherever they went.
    pub const fn missing(&self) -> u64 {
        self.lost + self.kernel_dropped + self.dropped_by_us
    }
}

/// What else is known of the stream, beside the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StreamFacts {
    /// How often another SSRC took over.
    pub ssrc_changes: u64,
    /// How often the source started to count anew with the same SSRC. What it lost there is in no ledger.
    pub restarts: u64,
    /// Packets that came out of order, at most [`REORDER_WINDOW`] behind the newest; they are among the received. 0 in
    /// what was written before this was counted.
    #[serde(default)]
    pub reordered: u64,
    /// Packets whose sequence number belongs nowhere; they are not among the received.
    pub strays: u64,
    /// Interarrival jitter at the end (RFC 3550 section 6.4.1), in milliseconds.
    pub jitter_ms: f64,
}

/// A packet as the ledger sees it.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// When the kernel received it.
    pub at: Timestamp,
    /// Who numbered it.
    pub ssrc: Ssrc,
    /// Its number.
    pub seq: SeqNo,
    /// Its RTP timestamp; for the jitter only.
    pub rtp_timestamp: u32,
    /// The socket's count of dropped packets that this packet carried (SO_RXQ_OVFL); wraps.
    pub kernel_drops: u32,
}

impl Arrival {
    /// What the ledger needs of `packet`.
    pub const fn of(packet: &Packet<'_>, at: Timestamp, kernel_drops: u32) -> Self {
        Self { at, ssrc: packet.ssrc, seq: packet.seq, rtp_timestamp: packet.rtp_timestamp, kernel_drops }
    }
}

/// What a packet is to its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The next one, or the first.
    InOrder,
    /// Ahead of a new gap.
    Gap {
        /// Packets in the gap.
        missing: u64,
    },
    /// It filled a gap within [`REORDER_WINDOW`].
    Reordered,
    /// It filled a gap further behind; received, but too late for those who listen live.
    Late,
    /// It came before.
    Duplicate,
    /// Its number belongs nowhere; unless the next packet is a [`Verdict::Restart`] with this packet's number, it is
    /// to be thrown away.
    Stray,
    /// The source began to count anew.
    Restart {
        /// The extended number of the stray right before, which was the first packet of the new count.
        stray: Option<u64>,
    },
}

/// The verdict on a packet, and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What it is.
    pub verdict: Verdict,
    /// Its extended sequence number, unique within the flow and growing over restarts.
    pub extended: u64,
}

/// Builds a ledger from packets in order of arrival.
#[derive(Clone, Debug)]
pub struct LedgerBuilder {
    sequence: SequenceTracker,
    jitter: Jitter,
    epoch: Option<Epoch>,
    /// Missing in the epochs before this one.
    missing_before: u64,
    received: u64,
    reordered: u64,
    late: u64,
    duplicate: u64,
    /// How many of the missing are on our kernel's account.
    kernel_dropped: u64,
    dropped_by_us: u64,
    /// The socket's counter as the last placed packet carried it.
    kernel_drops: u32,
    ssrc_changes: u64,
    restarts: u64,
    strays: u64,
}

impl LedgerBuilder {
    /// Begins with no packet seen. `clock_rate_hz` is the codec's RTP clock.
    pub const fn new(clock_rate_hz: u32) -> Self {
        Self {
            sequence: SequenceTracker::new(),
            jitter: Jitter::new(clock_rate_hz),
            epoch: None,
            missing_before: 0,
            received: 0,
            reordered: 0,
            late: 0,
            duplicate: 0,
            kernel_dropped: 0,
            dropped_by_us: 0,
            kernel_drops: 0,
            ssrc_changes: 0,
            restarts: 0,
            strays: 0,
        }
    }

    /// Books a packet that was kept.
    pub fn observe(&mut self, arrival: Arrival) -> Outcome {
        let (place, extended) = self.sequence.place(arrival.ssrc, arrival.seq);
        let missing_before = self.missing();
        let verdict = match place {
            Place::Stray => {
                self.strays += 1;
                return Outcome { verdict: Verdict::Stray, extended };
            }
            Place::First => self.begin(extended),
            Place::OtherSource => {
                self.ssrc_changes += 1;
                self.begin(extended);
                Verdict::Restart { stray: None }
            }
            Place::Restart { stray } => self.restart(stray, extended, arrival.kernel_drops),
            Place::Ahead { ahead } => self.advance(extended, ahead),
            Place::Behind { behind } => self.fill(extended, behind),
        };
        if place != Place::First {
            let drops = u64::from(arrival.kernel_drops.wrapping_sub(self.kernel_drops));
            self.kernel_dropped += self.missing().saturating_sub(missing_before).min(drops);
        }
        self.kernel_dropped = self.kernel_dropped.min(self.missing());
        self.kernel_drops = arrival.kernel_drops;
        if verdict != Verdict::Duplicate {
            if matches!(verdict, Verdict::Restart { .. }) {
                self.jitter.restart();
            }
            self.jitter.observe(arrival.at, arrival.rtp_timestamp);
        }
        Outcome { verdict, extended }
    }

    /// Books `packets` that came and could not be kept; they are not to be observed.
    pub const fn note_dropped_by_us(&mut self, packets: u64) {
        self.dropped_by_us += packets;
    }

    /// The ledger up to here.
    pub fn ledger(&self) -> Ledger {
        // What we dropped shows as a gap too, once a later packet was kept; it must not count twice.
        let network = self.missing() - self.kernel_dropped;
        let lost = network.saturating_sub(self.dropped_by_us);
        let kernel_dropped = self.kernel_dropped.saturating_sub(self.dropped_by_us.saturating_sub(network));
        Ledger {
            expected: self.received + lost + kernel_dropped + self.dropped_by_us,
            received: self.received,
            lost,
            late: self.late,
            duplicate: self.duplicate,
            kernel_dropped,
            dropped_by_us: self.dropped_by_us,
        }
    }

    /// What else is known up to here.
    pub fn facts(&self) -> StreamFacts {
        StreamFacts {
            ssrc_changes: self.ssrc_changes,
            restarts: self.restarts,
            reordered: self.reordered,
            strays: self.strays,
            jitter_ms: self.jitter.ms(),
        }
    }

    fn missing(&self) -> u64 {
        self.missing_before + self.epoch.as_ref().map_or(0, Epoch::missing)
    }

    fn begin(&mut self, extended: u64) -> Verdict {
        self.missing_before = self.missing();
        self.epoch = Some(Epoch::beginning_at(extended));
        self.received += 1;
        Verdict::InOrder
    }

    fn restart(&mut self, stray: u64, extended: u64, kernel_drops: u32) -> Verdict {
        self.restarts += 1;
        self.strays -= 1;
        // A jump is not loss, unless our own kernel says that it threw packets away meanwhile.
        let jump = self.epoch.as_ref().map_or(0, |e| (stray as u16).wrapping_sub(e.highest as u16));
        let drops = u64::from(kernel_drops.wrapping_sub(self.kernel_drops)).min(u64::from(jump).saturating_sub(1));
        self.begin(stray);
        self.missing_before += drops;
        self.kernel_drops = self.kernel_drops.wrapping_add(drops as u32);
        self.kernel_dropped += drops;
        match extended.checked_sub(stray) {
            Some(ahead) => self.advance(extended, ahead),
            None => self.fill(extended, stray - extended),
        };
        Verdict::Restart { stray: Some(stray) }
    }

    fn advance(&mut self, extended: u64, ahead: u64) -> Verdict {
        if let Some(epoch) = &mut self.epoch {
            epoch.advance(extended);
        }
        self.received += 1;
        if ahead == 1 { Verdict::InOrder } else { Verdict::Gap { missing: ahead - 1 } }
    }

    fn fill(&mut self, extended: u64, behind: u64) -> Verdict {
        if !self.epoch.as_mut().is_some_and(|epoch| epoch.fill(extended)) {
            self.duplicate += 1;
            return Verdict::Duplicate;
        }
        self.received += 1;
        if behind <= REORDER_WINDOW {
            self.reordered += 1;
            return Verdict::Reordered;
        }
        self.late += 1;
        Verdict::Late
    }
}

/// Sequence numbers between two restarts.
#[derive(Clone, Debug)]
struct Epoch {
    lowest: u64,
    highest: u64,
    received: u64,
    seen: Seen,
}

impl Epoch {
    fn beginning_at(extended: u64) -> Self {
        let mut seen = Seen::default();
        seen.insert(extended);
        Self { lowest: extended, highest: extended, received: 1, seen }
    }

    const fn missing(&self) -> u64 {
        self.highest - self.lowest + 1 - self.received
    }

    fn advance(&mut self, extended: u64) {
        self.seen.forget(self.highest + 1, extended);
        self.seen.insert(extended);
        self.highest = extended;
        self.received += 1;
    }

    /// Takes a packet that is less than the window behind; false for one that came before.
    fn fill(&mut self, extended: u64) -> bool {
        if self.seen.contains(extended) {
            return false;
        }
        self.seen.insert(extended);
        self.lowest = self.lowest.min(extended);
        self.received += 1;
        true
    }
}

/// Which of the last [`DUPLICATE_WINDOW`] numbers came: a ring of bits.
#[derive(Clone, Debug, Default)]
struct Seen([u64; (DUPLICATE_WINDOW / 64) as usize]);

impl Seen {
    const fn bit(extended: u64) -> (usize, u64) {
        let at = extended % DUPLICATE_WINDOW;
        ((at / 64) as usize, 1 << (at % 64))
    }

    const fn contains(&self, extended: u64) -> bool {
        let (word, bit) = Self::bit(extended);
        self.0[word] & bit != 0
    }

    const fn insert(&mut self, extended: u64) {
        let (word, bit) = Self::bit(extended);
        self.0[word] |= bit;
    }

    /// Makes room for the numbers from `first` to `last`.
    fn forget(&mut self, first: u64, last: u64) {
        if last - first >= DUPLICATE_WINDOW {
            self.0.fill(0);
            return;
        }
        for extended in first..=last {
            let (word, bit) = Self::bit(extended);
            self.0[word] &= !bit;
        }
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
