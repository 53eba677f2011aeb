//! What may happen to the packets of a flow, decided by a seeded generator: the same seed and the same packets have the
//! same fate.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// What happens to the packets of a flow. Shares are between 0 and 1; the default is a good network.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// The share of packets that are lost.
    pub lost: f64,
    /// The share of packets that arrive twice, one right after the other.
    pub doubled: f64,
    /// How long each packet is under way.
    pub delay: Duration,
    /// How much longer at most, evenly spread. More than the time between two packets reorders them.
    pub jitter: Duration,
    /// The share of packets that take [`Faults::straggle`] longer.
    pub stragglers: f64,
    /// How much longer stragglers take.
    pub straggle: Duration,
}

impl Faults {
    /// Loses this share of the packets and does nothing else.
    pub fn losing(lost: f64) -> Self {
        Self { lost, ..Self::default() }
    }
}

/// What becomes of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fate {
    /// How often it arrives.
    pub(crate) copies: usize,
    /// How much later.
    pub(crate) delay: Duration,
}

impl Fate {
    pub(crate) const UNHARMED: Self = Self { copies: 1, delay: Duration::ZERO };
    pub(crate) const LOST: Self = Self { copies: 0, delay: Duration::ZERO };
}

/// Decides for the packets of one flow.
#[derive(Debug)]
pub(crate) struct Dice(StdRng);

impl Dice {
    /// Each flow has dice of its own: what happens to it does not depend on the others.
    pub(crate) fn new(seed: u64, flow: usize) -> Self {
        Self(StdRng::seed_from_u64(seed.wrapping_add(flow as u64)))
    }

    pub(crate) fn decide(&mut self, faults: &Faults) -> Fate {
        let mut hits = |share: f64| self.0.random_bool(share);
        let [lost, doubled, straggles] = [hits(faults.lost), hits(faults.doubled), hits(faults.stragglers)];
        let straggle = if straggles { faults.straggle } else { Duration::ZERO };
        let delay = faults.delay + faults.jitter.mul_f64(self.0.random()) + straggle;
        if lost { Fate::LOST } else { Fate { copies: 1 + usize::from(doubled), delay } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKETS: usize = 10_000;

    fn fates(faults: &Faults, seed: u64) -> Vec<Fate> {
        let mut dice = Dice::new(seed, 0);
        (0..PACKETS).map(|_| dice.decide(faults)).collect()
    }

    #[test]
    fn shares_are_what_was_asked_for() {
        let faults = Faults { lost: 0.3, doubled: 0.1, ..Faults::default() };
        let fates = fates(&faults, 1);
        let count = |copies| fates.iter().filter(|f| f.copies == copies).count();
        assert!((2_800..=3_200).contains(&count(0)), "{}", count(0));
        assert!((600..=800).contains(&count(2)), "{} of those that are not lost", count(2));
        assert!(self::fates(&Faults::default(), 1).iter().all(|f| *f == Fate::UNHARMED));
    }

    #[test]
    fn delays_are_within_their_bounds() {
        let ms = Duration::from_millis;
        let faults = Faults { delay: ms(30), jitter: ms(60), stragglers: 0.01, straggle: ms(500), ..Faults::default() };
        let fates = fates(&faults, 1);
        let stragglers = fates.iter().filter(|f| f.delay >= ms(530)).count();
        assert!((60..=140).contains(&stragglers), "{stragglers}");
        assert!(fates.iter().all(|f| (ms(30)..ms(91)).contains(&f.delay) || (ms(530)..ms(591)).contains(&f.delay)));
    }

    #[test]
    fn a_seed_is_a_fate() {
        let faults = Faults::losing(0.5);
        assert_eq!(fates(&faults, 1), fates(&faults, 1));
        assert_ne!(fates(&faults, 1), fates(&faults, 2));
    }
}
