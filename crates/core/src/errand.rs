//! Names of what a command makes in Asterisk: an errand is done, and then nothing of it is left.

use std::fmt;

use crate::{MINTED_PREFIX, NodeId, SessionId};

/// What an object is to its errand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrandWhat {
    /// The snoop channel by which something is played to a party.
    Whisper,
    /// What is played by it.
    Playback,
    /// The snoop channel by which who is on hold hears music.
    Music,
    /// The phone of somebody who listens to a call.
    Phone,
    /// The snoop channel that such a phone hears.
    Ear,
    /// The bridge that joins the two.
    Room,
}

impl ErrandWhat {
    /// Every object there is.
    pub const ALL: [Self; 6] = [Self::Whisper, Self::Playback, Self::Music, Self::Phone, Self::Ear, Self::Room];

    /// No code of [`crate::MintedWhat`], so that no errand is taken for a part of a capture.
    const fn code(self) -> &'static str {
        match self {
            Self::Whisper => "ew",
            Self::Playback => "ep",
            Self::Music => "em",
            Self::Phone => "et",
            Self::Ear => "ee",
            Self::Room => "eb",
        }
    }
}

/// The id of an object that a command made: `aimg-<node>-<session>-<number><what>`. It is known before the object exists,
/// as that of a capture's ([`crate::Minted`]).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ErrandId {
    /// The node that made it.
    pub node: NodeId,
    /// The session that the command was about.
    pub session: SessionId,
    /// The errand's number, of this run of the node.
    pub number: u32,
    /// What it is.
    pub what: ErrandWhat,
}

impl ErrandId {
    /// Reads an id that some gateway made; anything else is nothing.
    pub fn parse(id: &str) -> Option<Self> {
        let (node, rest) = id.strip_prefix(MINTED_PREFIX)?.split_once('-')?;
        let (session, tail) = rest.rsplit_once('-')?;
        let (number, code) = tail.split_at_checked(tail.len().checked_sub(2)?)?;
        Some(Self {
            node: node.parse().ok()?,
            session: session.parse().ok()?,
            number: number.parse().ok()?,
            what: ErrandWhat::ALL.into_iter().find(|what| what.code() == code)?,
        })
    }
}

impl fmt::Display for ErrandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MINTED_PREFIX}{}-{}-{}{}", self.node, self.session, self.number, self.what.code())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{Minted, MintedWhat};

    #[test]
    fn ids_are_read_back_and_are_no_capture() {
        let (node, session): (NodeId, _) = ("n1".parse().unwrap(), SessionId::from_uuid(Uuid::from_u128(7)));
        for what in ErrandWhat::ALL {
            let id = ErrandId { node: node.clone(), session, number: u32::MAX, what };
            assert_eq!(ErrandId::parse(&id.to_string()), Some(id.clone()));
            assert_eq!(Minted::parse(&ErrandId { number: 1, ..id }.to_string()), None);
        }
        for what in MintedWhat::ALL {
            let tap = Minted { node: node.clone(), session, part: 1, what };
            assert_eq!(ErrandId::parse(&tap.to_string()), None);
        }
    }
}
