//! Who is in which bridge: Asterisk tells the Linkedid of who enters, and changes that of who is there without a word.

use std::collections::{BTreeSet, HashMap};

use aimg_core::Uniqueid;

/// A bridge of calls.
#[derive(Debug, Default)]
struct Bridge {
    joins_calls: bool,
    members: BTreeSet<Uniqueid>,
}

/// All bridges that have a member.
#[derive(Debug, Default)]
pub(crate) struct Bridges {
    bridges: HashMap<String, Bridge>,
    of: HashMap<Uniqueid, String>,
}

impl Bridges {
    pub(crate) fn entered(&mut self, bridge: &str, joins_calls: bool, channel: &Uniqueid) {
        self.gone(channel);
        let entry = self.bridges.entry(bridge.to_owned()).or_default();
        entry.joins_calls = joins_calls;
        entry.members.insert(channel.clone());
        self.of.insert(channel.clone(), bridge.to_owned());
    }

    /// False when it was not there, or has meanwhile entered another one.
    pub(crate) fn left(&mut self, bridge: &str, channel: &Uniqueid) -> bool {
        let was_there = self.of(channel) == Some(bridge);
        if was_there {
            self.gone(channel);
        }
        was_there
    }

    pub(crate) fn gone(&mut self, channel: &Uniqueid) {
        let Some(id) = self.of.remove(channel) else { return };
        if let Some(bridge) = self.bridges.get_mut(&id) {
            bridge.members.remove(channel);
            if bridge.members.is_empty() {
                self.bridges.remove(&id);
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether somebody else is in the channel's bridge.
    pub(crate) fn has_company(&self, channel: &Uniqueid) -> bool {
        self.bridge_of(channel).is_some_and(|b| b.members.len() > 1)
    }

    /// Who else is in the channel's bridge.
    pub(crate) fn company(&self, channel: &Uniqueid) -> Vec<Uniqueid> {
        let members = self.bridge_of(channel).into_iter().flat_map(|b| &b.members);
        members.filter(|member| *member != channel).cloned().collect()
    }

    /// The bridge that the channel is in.
    pub(crate) fn of(&self, channel: &Uniqueid) -> Option<&str> {
        self.of.get(channel).map(String::as_str)
    }

    /// Who shares a Linkedid with the channel because of its bridge, itself included.
    pub(crate) fn joined_with(&self, channel: &Uniqueid) -> Vec<Uniqueid> {
        self.bridge_of(channel).filter(|b| b.joins_calls).map_or_else(Vec::new, |b| b.members.iter().cloned().collect())
    }

    fn bridge_of(&self, channel: &Uniqueid) -> Option<&Bridge> {
        self.bridges.get(self.of.get(channel)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: &str) -> Uniqueid {
        Uniqueid::new(id)
    }

    #[test]
    fn a_channel_is_in_one_bridge_and_none_is_kept_empty() {
        let mut bridges = Bridges::default();
        bridges.entered("a", true, &id("1"));
        bridges.entered("a", true, &id("2"));
        assert!(bridges.has_company(&id("1")));
        assert_eq!(bridges.joined_with(&id("2")), [id("1"), id("2")]);
        bridges.entered("b", true, &id("2"));
        // Told late.
        assert!(!bridges.left("a", &id("2")));
        assert!(!bridges.has_company(&id("1")) && !bridges.has_company(&id("2")));
        assert_eq!(bridges.joined_with(&id("2")), [id("2")]);
        ["1", "2"].into_iter().for_each(|channel| bridges.gone(&id(channel)));
        assert!(bridges.bridges.is_empty() && bridges.of.is_empty());
    }

    #[test]
    fn a_conference_is_company_and_joins_no_calls() {
        let mut bridges = Bridges::default();
        bridges.entered("a", false, &id("1"));
        bridges.entered("a", false, &id("2"));
        assert!(bridges.has_company(&id("1")));
        assert!(bridges.joined_with(&id("1")).is_empty());
    }
}
