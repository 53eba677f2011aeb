//! Names of things. An id of one kind cannot be passed for another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use uuid::Uuid;

/// A text that is no valid id.
#[derive(Debug, thiserror::Error)]
pub enum IdError {
    /// Not a UUID.
    #[error("`{0}` is not an id such as 0198c1de-1111-7000-8000-000000000000")]
    NotUuid(String),
    /// A node's name that could not be part of an Asterisk id.
    #[error("node name `{0}` must be 1 to 16 of a-z and 0-9")]
    BadNode(String),
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID (version 7: ids sort by their time of birth).
            pub const fn from_uuid(id: Uuid) -> Self {
                Self(id)
            }

            /// The UUID itself.
            pub const fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(s: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(s).map(Self).map_err(|_| IdError::NotUuid(s.to_owned()))
            }
        }
    };
}

uuid_id!(/// A customer; everything but nodes and PBXs belongs to exactly one.
    TenantId);
uuid_id!(/// One Asterisk server.
    PbxId);
uuid_id!(/// A rule of a shared PBX: whose a channel is.
    PbxRuleId);
uuid_id!(/// One call, from its first Newchannel to its last Hangup.
    SessionId);
uuid_id!(/// The text of one part of a call's capture.
    TranscriptId);
uuid_id!(/// A person's account.
    UserId);
uuid_id!(/// A program's key.
    ApiKeyId);
uuid_id!(/// An address that is told what happens.
    WebhookId);
uuid_id!(/// One telling of one event to one webhook.
    DeliveryId);

/// Asterisk's stable id of a channel, unique on its PBX.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Uniqueid(SmolStr);

impl Uniqueid {
    /// Wraps Asterisk's text.
    pub fn new(id: impl Into<SmolStr>) -> Self {
        Self(id.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a gateway (this node or another) made the channel: it is a tap, not a call.
    pub fn is_minted(&self) -> bool {
        self.0.starts_with(MINTED_PREFIX)
    }
}

impl fmt::Display for Uniqueid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a node: part of the ids of all it creates in Asterisk. 1 to 16 of a-z and 0-9.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeId(String);

impl NodeId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeId {
    type Err = IdError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let fits = (1..=16).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if fits { Ok(Self(s.to_owned())) } else { Err(IdError::BadNode(s.to_owned())) }
    }
}

impl TryFrom<String> for NodeId {
    type Error = IdError;

    fn try_from(s: String) -> Result<Self, Self::Error> {
        s.parse()
    }
}

impl From<NodeId> for String {
    fn from(n: NodeId) -> Self {
        n.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which way the audio of a flow goes, seen from the session's first channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Audio from the first channel (snoop `in`): left in the recording.
    Caller,
    /// Audio toward the first channel (snoop `out`): right in the recording.
    Callee,
}

impl Direction {
    /// Caller, callee.
    pub const BOTH: [Self; 2] = [Self::Caller, Self::Callee];

    /// `caller` or `callee`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Callee => "callee",
        }
    }

    /// 0 for the caller, 1 for the callee: for arrays of two.
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether a call came in over a trunk or was started by one's own people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CallDirection {
    /// The first channel entered through one of the PBX's inbound contexts.
    Inbound,
    /// Any other call.
    Outbound,
}

impl CallDirection {
    /// `inbound` or `outbound`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

impl FromStr for CallDirection {
    type Err = ();

    fn from_str(s: &str) -> Result<Self, ()> {
        [Self::Inbound, Self::Outbound].into_iter().find(|d| d.name() == s).ok_or(())
    }
}

/// A flow: one direction of one part of a session's capture. Part 0 begins with the session; another part begins when a
/// restarted gateway adopts the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FlowId {
    /// The session it belongs to.
    pub session: SessionId,
    /// The part of the session's capture.
    pub part: u16,
    /// The direction.
    pub direction: Direction,
}

impl fmt::Display for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.session, self.part, self.direction)
    }
}

/// What every id that a gateway creates in Asterisk begins with.
pub const MINTED_PREFIX: &str = "aimg-";

/// What a minted id names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MintedWhat {
    /// The mixing bridge that joins snoop and external media of a direction.
    Bridge(Direction),
    /// The snoop channel of a direction.
    Snoop(Direction),
    /// The external media channel of a direction.
    Media(Direction),
}

impl MintedWhat {
    /// The six objects of a tap.
    pub const ALL: [Self; 6] = [
        Self::Bridge(Direction::Caller),
        Self::Bridge(Direction::Callee),
        Self::Snoop(Direction::Caller),
        Self::Snoop(Direction::Callee),
        Self::Media(Direction::Caller),
        Self::Media(Direction::Callee),
    ];

    const fn code(self) -> &'static str {
        match self {
            Self::Bridge(Direction::Caller) => "bi",
            Self::Bridge(Direction::Callee) => "bo",
            Self::Snoop(Direction::Caller) => "si",
            Self::Snoop(Direction::Callee) => "so",
            Self::Media(Direction::Caller) => "mi",
            Self::Media(Direction::Callee) => "mo",
        }
    }

    /// The direction it serves.
    pub const fn direction(self) -> Direction {
        match self {
            Self::Bridge(d) | Self::Snoop(d) | Self::Media(d) => d,
        }
    }

    /// Whether it is a bridge; the others are channels.
    pub const fn is_bridge(self) -> bool {
        matches!(self, Self::Bridge(_))
    }
}

/// The id of an Asterisk object that a gateway created: `aimg-<node>-<session>-<part><what>`. It is known before the
/// object exists, so its events are recognised and what is left of a dead node can be found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Minted {
    /// The node that created it.
    pub node: NodeId,
    /// The session it serves.
    pub session: SessionId,
    /// The part of the session's capture.
    pub part: u16,
    /// What it is.
    pub what: MintedWhat,
}

impl Minted {
    /// Reads an id that some gateway made; anything else is nothing.
    pub fn parse(id: &str) -> Option<Self> {
        let (node, rest) = id.strip_prefix(MINTED_PREFIX)?.split_once('-')?;
        let (session, tail) = rest.rsplit_once('-')?;
        let (part, code) = tail.split_at_checked(tail.len().checked_sub(2)?)?;
        Some(Self {
            node: node.parse().ok()?,
            session: session.parse().ok()?,
            part: part.parse().ok()?,
            what: MintedWhat::ALL.into_iter().find(|w| w.code() == code)?,
        })
    }
}

impl fmt::Display for Minted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MINTED_PREFIX}{}-{}-{}{}", self.node, self.session, self.part, self.what.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minted_ids_are_read_back() {
        for what in MintedWhat::ALL {
            let id = Minted {
                node: "n1".parse().unwrap(),
                session: SessionId::from_uuid(Uuid::from_u128(7)),
                part: 12,
                what,
            };
            assert_eq!(Minted::parse(&id.to_string()), Some(id));
        }
    }

    #[test]
    fn foreign_ids_are_not_ours() {
        for id in ["1763900000.12", "aimg", "aimg-", "aimg-n1-", "aimg-n1-nonsense-0si", "aimg-n1-é", "aimg-n1-x-é"] {
            assert_eq!(Minted::parse(id), None, "{id}");
        }
    }

    #[test]
    fn node_names_fit_into_asterisk_ids() {
        for (name, ok) in [("n1", true), ("", false), ("N1", false), ("a-b", false), ("abcdefghijklmnopq", false)] {
            assert_eq!(name.parse::<NodeId>().is_ok(), ok, "{name}");
        }
    }
}
