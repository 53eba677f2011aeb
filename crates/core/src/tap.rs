//! How a PBX is used: the two ways in which a capture gets into a call, and who opens ARI's event stream.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How the calls of a PBX are captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TapMode {
    /// From AMI's Newchannel on, without a change of the dialplan; the first milliseconds of a call can be missing.
    #[default]
    Ami,
    /// The dialplan waits in our Stasis application until both directions flow; nothing can be missing.
    Hook,
}

impl TapMode {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Ami, Self::Hook];

    /// `ami` or `hook`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ami => "ami",
            Self::Hook => "hook",
        }
    }
}

impl fmt::Display for TapMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that is no tap mode.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a way of capture: use ami or hook")]
pub struct UnknownTapMode(String);

impl FromStr for TapMode {
    type Err = UnknownTapMode;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|m| m.name() == s).ok_or_else(|| UnknownTapMode(s.to_owned()))
    }
}

/// Who opens the event stream of a PBX's ARI. Requests go from us to Asterisk either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AriLink {
    /// We connect to Asterisk.
    #[default]
    Connect,
    /// We accept Asterisk's connection: its outbound WebSocket, of 20.15, 21.10, 22.5 and 23.0.
    Accept,
}

impl AriLink {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Connect, Self::Accept];

    /// `connect` or `accept`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Accept => "accept",
        }
    }
}

impl fmt::Display for AriLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that is no way of linking to ARI.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a way of linking to ARI: use connect or accept")]
pub struct UnknownAriLink(String);

impl FromStr for AriLink {
    type Err = UnknownAriLink;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|l| l.name() == s).ok_or_else(|| UnknownAriLink(s.to_owned()))
    }
}
