//! The channels of one session, those that left included.

use std::collections::BTreeMap;

use aimg_core::{LegRow, Uniqueid};

use crate::bridges::Bridges;

/// One channel.
#[derive(Clone, Debug)]
pub(crate) struct Leg {
    pub(crate) row: LegRow,
    /// Answered.
    pub(crate) up: bool,
}

/// All channels of a session.
#[derive(Debug, Default)]
pub(crate) struct Legs(BTreeMap<Uniqueid, Leg>);

impl Legs {
    pub(crate) fn insert(&mut self, leg: Leg) {
        self.0.insert(leg.row.uniqueid.clone(), leg);
    }

    pub(crate) fn contains(&self, channel: &Uniqueid) -> bool {
        self.0.contains_key(channel)
    }

    pub(crate) fn is_live(&self, channel: &Uniqueid) -> bool {
        self.0.get(channel).is_some_and(|l| l.row.left_at.is_none())
    }

    /// Whether the channel is, or was, half of a Local channel.
    pub(crate) fn is_local(&self, channel: &Uniqueid) -> bool {
        self.0.get(channel).is_some_and(|l| l.row.name.starts_with("Local/"))
    }

    pub(crate) fn live(&self) -> impl Iterator<Item = &Uniqueid> {
        self.0.values().filter(|l| l.row.left_at.is_none()).map(|l| &l.row.uniqueid)
    }

    /// The live ones' rows, and whether each is answered.
    pub(crate) fn live_rows(&self) -> impl Iterator<Item = (&LegRow, bool)> {
        self.0.values().map(|l| (&l.row, l.up)).filter(|(row, _)| row.left_at.is_none())
    }

    pub(crate) fn live_mut(&mut self) -> impl Iterator<Item = &mut Leg> {
        self.0.values_mut().filter(|l| l.row.left_at.is_none())
    }

    pub(crate) fn live_one(&mut self, channel: &Uniqueid) -> Option<&mut Leg> {
        self.0.get_mut(channel).filter(|l| l.row.left_at.is_none())
    }

    /// The channel by which the conversation goes on best: who took the place of the one that left (`stand_in`), then who
    /// has company in a bridge, then a phone rather than a Local channel, which Asterisk soon takes out; of several, the
    /// one that joined first. Nothing while nobody is answered.
    pub(crate) fn successor(&self, stand_in: Option<&Uniqueid>, bridges: &Bridges) -> Option<&Uniqueid> {
        let answered = self.0.values().map(|l| (&l.row, l.up)).filter(|(row, up)| *up && row.left_at.is_none());
        let rank = |row: &LegRow| {
            let is_stand_in = stand_in == Some(&row.uniqueid);
            let is_local = row.name.starts_with("Local/");
            (!is_stand_in, !bridges.has_company(&row.uniqueid), is_local, row.joined_at)
        };
        answered.map(|(row, _)| row).min_by_key(|row| rank(row)).map(|row| &row.uniqueid)
    }
}

#[cfg(test)]
mod tests {
    use aimg_core::{SessionId, TenantId, Timestamp};

    use super::*;

    fn legs(of: &[(&str, &str, bool)]) -> Legs {
        let mut legs = Legs::default();
        for ((uniqueid, name, up), joined_at) in of.iter().zip(0..) {
            let row = LegRow {
                tenant: TenantId::from_uuid(uuid::Uuid::nil()),
                session: SessionId::from_uuid(uuid::Uuid::nil()),
                uniqueid: Uniqueid::new(*uniqueid),
                name: (*name).to_owned(),
                caller_number: None,
                joined_at: Timestamp::from_micros(joined_at),
                left_at: None,
                hangup_cause: None,
            };
            legs.insert(Leg { row, up: *up });
        }
        legs
    }

    #[test]
    fn the_conversation_goes_on_by_who_talks() {
        let mut bridges = Bridges::default();
        bridges.entered("b", true, &Uniqueid::new("3"));
        bridges.entered("b", true, &Uniqueid::new("4"));
        let alone = Bridges::default();
        let (local, first, second) = (("1", "Local/1@a;2", true), ("2", "PJSIP/a", true), ("3", "PJSIP/b", true));
        let ringing = ("2", "PJSIP/a", false);
        for (legs_of, stand_in, bridges, expected) in [
            (&[local, first, second][..], None, &alone, Some("2")),
            (&[local, first, second], None, &bridges, Some("3")),
            (&[local, first, second], Some("1"), &bridges, Some("1")),
            (&[local, first, second], Some("gone"), &alone, Some("2")),
            (&[local, ringing], None, &alone, Some("1")),
            (&[ringing], None, &alone, None),
            (&[], None, &alone, None),
        ] {
            let legs = legs(legs_of);
            let stand_in = stand_in.map(Uniqueid::new);
            let found = legs.successor(stand_in.as_ref(), bridges).map(Uniqueid::as_str);
            assert_eq!(found, expected, "{legs_of:?} {stand_in:?}");
        }
    }
}
