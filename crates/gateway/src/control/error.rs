//! Why a command was not done.

use aimg_ami::{ActionError, InvalidAction};
use aimg_core::SessionId;

/// Why a command was not done, or may not have been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// No such call is going on here, or not for this caller.
    #[error("no call {session} is going on")]
    NoSuchCall {
        /// The session.
        session: SessionId,
    },
    /// No such PBX is followed here, or not for this caller.
    #[error("no PBX {pbx} is followed")]
    NoSuchPbx {
        /// The PBX.
        pbx: aimg_core::PbxId,
    },
    /// What was asked is not a possible thing at all.
    #[error("{field} is not valid: {why}")]
    Invalid {
        /// The argument.
        field: &'static str,
        /// What is allowed.
        why: String,
    },
    /// The call is not in a state for it.
    #[error("not possible as the call stands: {why}")]
    NotPossible {
        /// One clause, with the cure where there is one.
        why: String,
    },
    /// Asterisk was asked, and did not do it.
    #[error("Asterisk refused: {why}")]
    Refused {
        /// Asterisk's words.
        why: String,
    },
    /// Surely not done: the PBX is not connected.
    #[error("the PBX is away: {why}")]
    Away {
        /// One clause.
        why: String,
    },
    /// Maybe done: Asterisk was asked and did not say.
    #[error("it may have been done: {why}")]
    Unknown {
        /// One clause.
        why: String,
    },
    /// Surely not done: nobody could say it.
    #[error("it could not be spoken: {why}")]
    Unspoken {
        /// One clause, with the cure where there is one.
        why: String,
    },
    /// Surely not done: too much is being done.
    #[error("not done, {waiting_max} {what} are under way on this PBX: try again in a moment")]
    Busy {
        /// What.
        what: &'static str,
        /// As many as there may be.
        waiting_max: usize,
    },
}

impl ControlError {
    pub(super) fn invalid(field: &'static str, why: impl Into<String>) -> Self {
        Self::Invalid { field, why: why.into() }
    }

    pub(super) fn not_possible(why: impl Into<String>) -> Self {
        Self::NotPossible { why: why.into() }
    }

    pub(super) fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown { why: why.into() }
    }

    pub(super) fn away(why: impl Into<String>) -> Self {
        Self::Away { why: why.into() }
    }

    /// The word for it in metrics.
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::NoSuchCall { .. } | Self::NoSuchPbx { .. } | Self::Invalid { .. } | Self::NotPossible { .. } => {
                Outcome::NotPossible
            }
            Self::Refused { .. } | Self::Unspoken { .. } => Outcome::Refused,
            Self::Away { .. } => Outcome::Away,
            Self::Unknown { .. } => Outcome::Unknown,
            Self::Busy { .. } => Outcome::Overflowed,
        }
    }
}

/// How a command came out, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Done,
    /// Not a thing that could be done.
    NotPossible,
    /// Asterisk did not do it.
    Refused,
    /// The PBX is not connected.
    Away,
    /// Maybe done.
    Unknown,
    /// Too much was being done.
    Overflowed,
}

impl Outcome {
    /// Each of them.
    pub const ALL: [Self; 6] =
        [Self::Done, Self::NotPossible, Self::Refused, Self::Away, Self::Unknown, Self::Overflowed];

    /// The word for it in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NotPossible => "not_possible",
            Self::Refused => "refused",
            Self::Away => "away",
            Self::Unknown => "unknown",
            Self::Overflowed => "overflowed",
        }
    }
}

impl From<aimg_ari::Error> for ControlError {
    fn from(error: aimg_ari::Error) -> Self {
        use aimg_ari::Error as E;
        match error {
            E::NotFound { message, .. } => Self::NotPossible { why: message },
            E::Conflict { message, .. } | E::NotInStasis { message, .. } | E::Unprocessable { message, .. } => {
                Self::NotPossible { why: message }
            }
            E::BadRequest { message, .. } | E::Server { message, .. } => Self::Refused { why: message },
            E::NotSent { .. } | E::Unavailable { .. } => Self::away(error.to_string()),
            E::MaybeDone { .. } | E::Answer { .. } => Self::unknown(error.to_string()),
            other => Self::Refused { why: other.to_string() },
        }
    }
}

impl From<ActionError> for ControlError {
    fn from(error: ActionError) -> Self {
        match error {
            ActionError::Rejected { reason, .. } => Self::Refused { why: reason },
            ActionError::NotSent { .. } => Self::away(error.to_string()),
            ActionError::Busy { waiting_max, .. } => Self::Busy { what: "actions", waiting_max },
            other => Self::unknown(other.to_string()),
        }
    }
}

impl From<InvalidAction> for ControlError {
    fn from(error: InvalidAction) -> Self {
        Self::invalid("command", error.to_string())
    }
}
