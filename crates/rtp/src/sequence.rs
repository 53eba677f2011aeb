//! From 16-bit sequence numbers that wrap to 64-bit ones that do not, over restarts of the source.
//!
//! Extended numbers only grow from one epoch to the next, so one number names one packet of a flow. A new epoch begins
//! where the source evidently started to count anew: another SSRC at once, or a jump that no network makes, believed
//! when a second packet follows near the first (RFC 3550 appendix A.1).

use crate::{DUPLICATE_WINDOW, REORDER_WINDOW, SeqNo, Ssrc};

/// Extended numbers begin here, so that packets from before the first that arrived have a place.
pub const EXTENDED_START: u64 = 1 << 32;

/// A jump forward of up to this many packets is loss, above it the source restarted (RFC 3550's MAX_DROPOUT; one
/// minute of 20 ms packets).
pub const DROPOUT_MAX: u64 = 3_000;

/// Where a packet belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The flow's first packet.
    First,
    /// Ahead of all others by `ahead`, at least 1.
    Ahead {
        /// 1 when it is the next one, one more for each number skipped.
        ahead: u64,
    },
    /// Behind the highest by `behind`: 0 is the highest itself once more.
    Behind {
        /// Less than [`DUPLICATE_WINDOW`].
        behind: u64,
    },
    /// Too far from the others to belong to them. It is the first of a new epoch if the next packet says so.
    Stray,
    /// The first packet of another SSRC: a new epoch.
    OtherSource,
    /// The second packet of a new epoch; the stray right before it was its first.
    Restart {
        /// The extended number of that stray.
        stray: u64,
    },
}

/// Follows the sequence of one flow.
#[derive(Clone, Debug, Default)]
pub struct SequenceTracker {
    current: Option<Current>,
    stray: Option<SeqNo>,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    ssrc: Ssrc,
    highest: u64,
}

impl Current {
    /// Where numbers of the next epoch begin: a whole turn of free numbers lies between two epochs, so that late
    /// packets of the next cannot run into this one.
    const fn next_epoch(self) -> u64 {
        ((self.highest >> 16) + 2) << 16
    }
}

impl SequenceTracker {
    /// Begins with no packet seen.
    pub const fn new() -> Self {
        Self { current: None, stray: None }
    }

    /// Places the next packet in order of arrival; the number is its extended one (for a stray: the one that it has
    /// should it be the first of a new epoch).
    pub fn place(&mut self, ssrc: Ssrc, seq: SeqNo) -> (Place, u64) {
        let stray = self.stray.take();
        let Some(current) = self.current else {
            return self.begin(ssrc, EXTENDED_START, seq, Place::First);
        };
        if current.ssrc != ssrc {
            return self.begin(ssrc, current.next_epoch(), seq, Place::OtherSource);
        }
        let distance = seq.distance_from(SeqNo(current.highest as u16));
        if (1..=DROPOUT_MAX.cast_signed()).contains(&distance) {
            let extended = current.highest + distance.unsigned_abs();
            self.current = Some(Current { highest: extended, ..current });
            return (Place::Ahead { ahead: distance.unsigned_abs() }, extended);
        }
        if distance <= 0 && distance.unsigned_abs() < DUPLICATE_WINDOW {
            let behind = distance.unsigned_abs();
            return (Place::Behind { behind }, current.highest - behind);
        }
        self.astray(current, stray, seq)
    }

    fn begin(&mut self, ssrc: Ssrc, base: u64, seq: SeqNo, place: Place) -> (Place, u64) {
        let extended = base + u64::from(seq.0);
        self.current = Some(Current { ssrc, highest: extended });
        (place, extended)
    }

    fn astray(&mut self, current: Current, stray: Option<SeqNo>, seq: SeqNo) -> (Place, u64) {
        if let Some(first) = stray {
            let distance = seq.distance_from(first);
            if (1..=REORDER_WINDOW).contains(&distance.unsigned_abs()) {
                let first = current.next_epoch() + u64::from(first.0);
                let extended = first.saturating_add_signed(distance);
                self.current = Some(Current { highest: extended.max(first), ..current });
                return (Place::Restart { stray: first }, extended);
            }
        }
        self.stray = Some(seq);
        (Place::Stray, current.next_epoch() + u64::from(seq.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = EXTENDED_START;
    /// The second epoch of a flow that began in the first turn.
    const T: u64 = S + (2 << 16);

    fn check(packets: &[(u32, u16)], expected: &[(Place, u64)]) {
        let mut tracker = SequenceTracker::new();
        let got: Vec<_> = packets.iter().map(|(ssrc, seq)| tracker.place(Ssrc(*ssrc), SeqNo(*seq))).collect();
        assert_eq!(got, expected, "{packets:?}");
    }

    #[test]
    fn numbers_wrap_upward_and_late_ones_find_their_turn() {
        check(
            &[(1, 65_534), (1, 65_535), (1, 1), (1, 0), (1, 65_533)],
            &[
                (Place::First, S + 65_534),
                (Place::Ahead { ahead: 1 }, S + 65_535),
                (Place::Ahead { ahead: 2 }, S + 65_537),
                (Place::Behind { behind: 1 }, S + 65_536),
                (Place::Behind { behind: 4 }, S + 65_533),
            ],
        );
    }

    #[test]
    fn packets_before_the_first_have_a_number() {
        check(&[(1, 0), (1, 65_535)], &[(Place::First, S), (Place::Behind { behind: 1 }, S - 1)]);
    }

    #[test]
    fn a_lone_stray_changes_nothing() {
        check(
            &[(1, 100), (1, 40_000), (1, 101), (1, 40_001), (1, 102)],
            &[
                (Place::First, S + 100),
                (Place::Stray, T + 40_000),
                (Place::Ahead { ahead: 1 }, S + 101),
                (Place::Stray, T + 40_001),
                (Place::Ahead { ahead: 1 }, S + 102),
            ],
        );
    }

    #[test]
    fn two_strays_near_each_other_are_a_restart() {
        check(
            &[(1, 100), (1, 40_000), (1, 40_001), (1, 40_002)],
            &[
                (Place::First, S + 100),
                (Place::Stray, T + 40_000),
                (Place::Restart { stray: T + 40_000 }, T + 40_001),
                (Place::Ahead { ahead: 1 }, T + 40_002),
            ],
        );
        // The two came in the wrong order; the third is still the next.
        check(
            &[(1, 100), (1, 0xa001), (1, 0xa000), (1, 0xa002)],
            &[
                (Place::First, S + 100),
                (Place::Stray, T + 0xa001),
                (Place::Restart { stray: T + 0xa001 }, T + 0xa000),
                (Place::Ahead { ahead: 1 }, T + 0xa002),
            ],
        );
    }

    #[test]
    fn another_ssrc_is_a_new_epoch_at_once() {
        check(
            &[(1, 100), (2, 100), (2, 101)],
            &[(Place::First, S + 100), (Place::OtherSource, T + 100), (Place::Ahead { ahead: 1 }, T + 101)],
        );
    }

    #[test]
    fn the_borders_between_loss_and_restart() {
        let dropout = u16::try_from(DROPOUT_MAX).unwrap();
        let window = u16::try_from(DUPLICATE_WINDOW).unwrap();
        for (seq, expected) in [
            (10_000 + dropout, Place::Ahead { ahead: DROPOUT_MAX }),
            (10_000 + dropout + 1, Place::Stray),
            (10_000 - window + 1, Place::Behind { behind: DUPLICATE_WINDOW - 1 }),
            (10_000 - window, Place::Stray),
        ] {
            let mut tracker = SequenceTracker::new();
            tracker.place(Ssrc(1), SeqNo(10_000));
            assert_eq!(tracker.place(Ssrc(1), SeqNo(seq)).0, expected, "{seq}");
        }
    }
}
