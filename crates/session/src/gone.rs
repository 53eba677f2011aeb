//! Channels that are known to be gone: what another connection still tells about them comes too late.

use std::collections::{HashSet, VecDeque};

use aimg_core::Uniqueid;

/// How many are remembered: minutes of a busy PBX, where seconds are needed.
const CHANNELS_MAX: usize = 4_096;

/// The channels that went last.
#[derive(Debug, Default)]
pub(crate) struct Gone {
    order: VecDeque<Uniqueid>,
    channels: HashSet<Uniqueid>,
}

impl Gone {
    pub(crate) fn insert(&mut self, channel: Uniqueid) {
        if !self.channels.insert(channel.clone()) {
            return;
        }
        self.order.push_back(channel);
        if self.order.len() > CHANNELS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.channels.remove(&oldest);
        }
    }

    pub(crate) fn contains(&self, channel: &Uniqueid) -> bool {
        self.channels.contains(channel)
    }

    /// A restarted Asterisk may use an id again.
    pub(crate) fn clear(&mut self) {
        self.order.clear();
        self.channels.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let mut gone = Gone::default();
        let channel = |n: usize| Uniqueid::new(n.to_string());
        (0..=CHANNELS_MAX).for_each(|n| gone.insert(channel(n)));
        assert!(!gone.contains(&channel(0)) && gone.contains(&channel(1)));
        assert_eq!((gone.order.len(), gone.channels.len()), (CHANNELS_MAX, CHANNELS_MAX));
    }
}
