//! The two ways in which a capture gets into a call.

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
