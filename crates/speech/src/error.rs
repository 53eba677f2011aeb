//! What can go wrong with a provider, and whether trying again can help.

use std::fmt;

/// A provider's failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{provider}: {kind}: {what}")]
pub struct Error {
    /// The provider's name, as it is configured.
    pub provider: String,
    /// What sort of failure.
    pub kind: ErrorKind,
    /// What happened, and what can be done about it. Holds neither audio nor text nor secrets.
    pub what: String,
}

/// The result of what a provider is asked.
pub type Result<T> = std::result::Result<T, Error>;

/// Sorts of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// It cannot be connected to.
    Unreachable,
    /// It has no room for another stream now.
    Busy,
    /// It did not answer in time.
    TimedOut,
    /// It broke off in the middle.
    BrokenOff,
    /// It failed for reasons of its own.
    Internal,
    /// It does not take our credentials.
    Unauthorised,
    /// It does not take what it was asked: a language, a model, a setting.
    Invalid,
    /// It cannot do this at all.
    Unsupported,
}

impl ErrorKind {
    /// The word, as in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Busy => "busy",
            Self::TimedOut => "timed_out",
            Self::BrokenOff => "broken_off",
            Self::Internal => "internal",
            Self::Unauthorised => "unauthorised",
            Self::Invalid => "invalid",
            Self::Unsupported => "unsupported",
        }
    }

    /// Whether the same request can succeed later without anybody changing anything.
    pub const fn may_pass(self) -> bool {
        matches!(self, Self::Unreachable | Self::Busy | Self::TimedOut | Self::BrokenOff | Self::Internal)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "cannot be reached",
            Self::Busy => "has no room for another stream",
            Self::TimedOut => "did not answer in time",
            Self::BrokenOff => "broke off",
            Self::Internal => "failed",
            Self::Unauthorised => "does not take the credentials",
            Self::Invalid => "does not take the request",
            Self::Unsupported => "cannot do this",
        })
    }
}
