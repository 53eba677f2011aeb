//! Channels of shared PBXs that were not captured because they are nobody's: how many, and the last ones.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use aimg_core::PbxId;
use aimg_session::{Unclaimed, UnclaimedWhy};

/// How many of the last ones of a PBX are kept. The others are counted only.
pub const UNCLAIMED_KEPT_MAX: usize = 100;

/// What is known of them on one PBX.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnclaimedChannels {
    /// How many there were since the start, by [`UnclaimedWhy`].
    pub counts: BTreeMap<UnclaimedWhy, u64>,
    /// The last ones, the newest last; [`UNCLAIMED_KEPT_MAX`] at most.
    pub last: VecDeque<Unclaimed>,
}

/// Those of all PBXs. Clones are the same ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnclaimedBook(Arc<Mutex<BTreeMap<PbxId, UnclaimedChannels>>>);

impl UnclaimedBook {
    pub(crate) fn add(&self, pbx: PbxId, unclaimed: Unclaimed) {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = book.entry(pbx).or_default();
        *of.counts.entry(unclaimed.why).or_default() += 1;
        of.last.push_back(unclaimed);
        if of.last.len() > UNCLAIMED_KEPT_MAX {
            of.last.pop_front();
        }
    }

    /// All of them, at this moment.
    pub(crate) fn all(&self) -> BTreeMap<PbxId, UnclaimedChannels> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use aimg_core::Timestamp;

    use super::*;

    #[test]
    fn the_last_ones_are_kept_and_all_are_counted() {
        let book = UnclaimedBook::default();
        let pbxs = [1, 2].map(|n| PbxId::from_uuid(uuid::Uuid::from_u128(n)));
        for n in 0..UNCLAIMED_KEPT_MAX + 2 {
            let at = Timestamp::from_micros(i64::try_from(n).unwrap());
            let [technology, context] = ["PJSIP", "trunk"].map(str::to_owned);
            book.add(pbxs[0], Unclaimed { at, technology, context, why: UnclaimedWhy::NoRule });
        }
        let all = book.all();
        let of = &all[&pbxs[0]];
        assert_eq!(of.counts, BTreeMap::from([(UnclaimedWhy::NoRule, UNCLAIMED_KEPT_MAX as u64 + 2)]));
        assert_eq!((of.last.len(), of.last[0].at), (UNCLAIMED_KEPT_MAX, Timestamp::from_micros(2)));
        assert!(!all.contains_key(&pbxs[1]));
    }
}
