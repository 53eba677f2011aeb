//! What happens to a call, as it is stored, published and shown.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Direction, PbxId, SessionId, TenantId, Timestamp, Uniqueid};

/// Where a call session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CallState {
    /// Its first channel exists.
    Detected,
    /// Somebody's phone rings.
    Ringing,
    /// The first channel is up; the capture is not flowing in both directions (or not wanted).
    Answered,
    /// Up, and both directions are being captured.
    Capturing,
    /// All its channels are gone.
    Ended,
    /// Asterisk went down under it.
    Failed,
}

impl CallState {
    /// Every state, in the order of a call.
    pub const ALL: [Self; 6] =
        [Self::Detected, Self::Ringing, Self::Answered, Self::Capturing, Self::Ended, Self::Failed];

    /// The word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Detected => "detected",
            Self::Ringing => "ringing",
            Self::Answered => "answered",
            Self::Capturing => "capturing",
            Self::Ended => "ended",
            Self::Failed => "failed",
        }
    }

    /// Whether the call is over.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Ended | Self::Failed)
    }
}

impl fmt::Display for CallState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for CallState {
    type Err = ();

    fn from_str(s: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|c| c.name() == s).ok_or(())
    }
}

/// Why a session failed, or a capture did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailReason {
    /// Asterisk restarted or shut down under the call.
    PbxRestarted,
    /// The call was gone when the gateway came back.
    GoneWhileAway,
}

/// One thing that happened to one session of one tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallEvent {
    /// Whose call it is.
    pub tenant: TenantId,
    /// Where the call is.
    pub pbx: PbxId,
    /// Which call.
    pub session: SessionId,
    /// When we learned of it.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub kind: CallEventKind,
}

/// What can happen to a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum CallEventKind {
    /// The state changed.
    State {
        /// The state it is in from here on.
        state: CallState,
    },
    /// A channel joined; the first one is the caller's.
    LegJoined {
        /// The channel.
        channel: Uniqueid,
    },
    /// A channel is gone.
    LegLeft {
        /// The channel.
        channel: Uniqueid,
        /// Asterisk's hangup cause (Q.850).
        cause: u16,
    },
    /// The dialplan waits in our hook for the capture.
    HookEntered,
    /// The dialplan goes on.
    HookReleased {
        /// Whether both directions were flowing.
        ready: bool,
    },
    /// The capture was asked of Asterisk.
    TapRequested {
        /// The part of the session's capture.
        part: u16,
    },
    /// The first packet of a direction is here.
    FlowStarted {
        /// The direction.
        direction: Direction,
        /// When the kernel received it.
        first_packet_at: Timestamp,
    },
    /// The capture could not be attached, and why.
    TapFailed {
        /// One sentence.
        reason: String,
    },
    /// The call was found alive after a restart of the gateway, and is captured anew.
    Adopted {
        /// The part of the session's capture that begins.
        part: u16,
    },
    /// Its capture went on across a restart of the gateway, without a gap.
    Resumed {
        /// The part of the session's capture that goes on.
        part: u16,
    },
    /// The session ended in a way that nobody saw.
    Lost {
        /// Why.
        reason: FailReason,
    },
    /// A recording and its certificate are finished.
    RecordingReady {
        /// The part of the session's capture.
        part: u16,
        /// Whether nothing at all is missing from it.
        complete: bool,
    },
    /// A recording could not be finished, and why; its spool is kept.
    RecordingFailed {
        /// The part of the session's capture.
        part: u16,
        /// One sentence.
        reason: String,
    },
}

impl CallEventKind {
    /// The event's name, as in its JSON.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::State { .. } => "state",
            Self::LegJoined { .. } => "leg_joined",
            Self::LegLeft { .. } => "leg_left",
            Self::HookEntered => "hook_entered",
            Self::HookReleased { .. } => "hook_released",
            Self::TapRequested { .. } => "tap_requested",
            Self::FlowStarted { .. } => "flow_started",
            Self::TapFailed { .. } => "tap_failed",
            Self::Adopted { .. } => "adopted",
            Self::Resumed { .. } => "resumed",
            Self::Lost { .. } => "lost",
            Self::RecordingReady { .. } => "recording_ready",
            Self::RecordingFailed { .. } => "recording_failed",
        }
    }
}

impl fmt::Display for CallEventKind {
    /// For people: no numbers and names of parties, so that it may be logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State { state } => write!(f, "{state}"),
            Self::LegJoined { channel } => write!(f, "channel {channel} joined"),
            Self::LegLeft { channel, cause } => write!(f, "channel {channel} left (cause {cause})"),
            Self::HookEntered => f.write_str("waits in the hook for its capture"),
            Self::HookReleased { ready: true } => f.write_str("goes on, both directions are flowing"),
            Self::HookReleased { ready: false } => f.write_str("goes on without waiting for its capture"),
            Self::TapRequested { part } => write!(f, "capture {part} asked of Asterisk"),
            Self::FlowStarted { direction, .. } => write!(f, "first packet of the {direction}"),
            Self::TapFailed { reason } => write!(f, "capture failed: {reason}"),
            Self::Adopted { part } => write!(f, "found alive after a restart, captured as part {part}"),
            Self::Resumed { part } => write!(f, "capture {part} went on across a restart"),
            Self::Lost { reason: FailReason::PbxRestarted } => f.write_str("lost: Asterisk went down"),
            Self::Lost { reason: FailReason::GoneWhileAway } => f.write_str("lost: it ended while nobody looked"),
            Self::RecordingReady { part, complete: true } => write!(f, "recording {part} ready, complete"),
            Self::RecordingReady { part, .. } => write!(f, "recording {part} ready, not complete"),
            Self::RecordingFailed { part, reason } => write!(f, "recording {part} failed: {reason}"),
        }
    }
}
