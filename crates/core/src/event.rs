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

/// A bound of a tenant's quota by which calls are not captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotaKind {
    /// Sessions that are captured at once.
    ConcurrentSessions,
    /// Bytes of recordings.
    StorageBytes,
}

impl QuotaKind {
    /// Its name, as in JSON and the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConcurrentSessions => "concurrent_sessions",
            Self::StorageBytes => "storage_bytes",
        }
    }
}

impl fmt::Display for QuotaKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a call was sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransferKind {
    /// To an extension, whoever answers there.
    Blind,
    /// After a word with whom it is sent to.
    Attended,
}

impl fmt::Display for TransferKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blind => "blind",
            Self::Attended => "attended",
        })
    }
}

/// What a person asks of a session's recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CaptureOrder {
    /// Record from here on, whatever the tenant's rule says.
    Start,
    /// Record no more.
    Stop,
    /// Record nothing until it is resumed: somebody says what nobody may keep.
    Pause,
    /// Go on after a pause.
    Resume,
}

impl CaptureOrder {
    /// The word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }

    /// Whether something is recorded after it.
    pub const fn records(self) -> bool {
        matches!(self, Self::Start | Self::Resume)
    }
}

impl fmt::Display for CaptureOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "started",
            Self::Stop => "stopped",
            Self::Pause => "paused",
            Self::Resume => "resumed",
        })
    }
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
    /// The tapped channel is gone or went to another call, and another one that goes on is tapped in its place.
    CaptureMoved {
        /// The channel that is tapped from here on.
        channel: Uniqueid,
    },
    /// The call was joined with an older one and goes on there: this session ends.
    JoinedInto {
        /// The session in which it goes on.
        into: SessionId,
    },
    /// A younger call was joined with this one and goes on here.
    JoinedFrom {
        /// The session that ends.
        from: SessionId,
    },
    /// Somebody sent the call on, or joined two calls of theirs.
    Transferred {
        /// How.
        how: TransferKind,
        /// The channel of who did it.
        by: Uniqueid,
    },
    /// A ringing channel's call was taken by another channel.
    PickedUp {
        /// The channel that rang.
        channel: Uniqueid,
        /// The channel by which it was taken.
        by: Uniqueid,
    },
    /// A channel waits in a car park.
    Parked {
        /// Which.
        channel: Uniqueid,
    },
    /// A channel left a car park.
    Unparked {
        /// Which.
        channel: Uniqueid,
        /// Who took it out; nobody when its time was over.
        by: Option<Uniqueid>,
    },
    /// The caller waits in a queue.
    QueueJoined {
        /// The queue.
        queue: String,
    },
    /// A member of the queue took the call.
    QueueAnswered {
        /// The queue.
        queue: String,
        /// The member's channel, where Asterisk tells it.
        channel: Option<Uniqueid>,
    },
    /// The caller left the queue before anybody took the call.
    QueueAbandoned {
        /// The queue.
        queue: String,
    },
    /// A channel entered a conference.
    ConferenceJoined {
        /// The conference.
        conference: String,
        /// The channel.
        channel: Uniqueid,
    },
    /// A channel left a conference.
    ConferenceLeft {
        /// The conference.
        conference: String,
        /// The channel.
        channel: Uniqueid,
    },
    /// A channel put the other side on hold.
    Held {
        /// Which.
        channel: Uniqueid,
    },
    /// It took the other side back.
    Unheld {
        /// Which.
        channel: Uniqueid,
    },
    /// A person started, stopped, paused or resumed the recording; who it was is in the audit log.
    CaptureOrdered {
        /// What was asked.
        order: CaptureOrder,
    },
    /// The call is not captured: its tenant has reached a bound.
    QuotaExceeded {
        /// Which one.
        quota: QuotaKind,
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
            Self::CaptureMoved { .. } => "capture_moved",
            Self::JoinedInto { .. } => "joined_into",
            Self::JoinedFrom { .. } => "joined_from",
            Self::Transferred { .. } => "transferred",
            Self::PickedUp { .. } => "picked_up",
            Self::Parked { .. } => "parked",
            Self::Unparked { .. } => "unparked",
            Self::QueueJoined { .. } => "queue_joined",
            Self::QueueAnswered { .. } => "queue_answered",
            Self::QueueAbandoned { .. } => "queue_abandoned",
            Self::ConferenceJoined { .. } => "conference_joined",
            Self::ConferenceLeft { .. } => "conference_left",
            Self::Held { .. } => "held",
            Self::Unheld { .. } => "unheld",
            Self::CaptureOrdered { .. } => "capture_ordered",
            Self::QuotaExceeded { .. } => "quota_exceeded",
            Self::Lost { .. } => "lost",
            Self::RecordingReady { .. } => "recording_ready",
            Self::RecordingFailed { .. } => "recording_failed",
        }
    }
}

impl fmt::Display for CallEventKind {
    /// For people: no numbers and names of parties, so that it may be logged. Queues and conferences are often named by
    /// the number that is dialled for them, so their names stay out too.
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
            Self::CaptureMoved { channel } => write!(f, "the capture moves to channel {channel}"),
            Self::JoinedInto { into } => write!(f, "goes on in session {into}"),
            Self::JoinedFrom { from } => write!(f, "session {from} goes on in this one"),
            Self::Transferred { how, by } => write!(f, "{how} transfer by channel {by}"),
            Self::PickedUp { channel, by } => write!(f, "channel {channel} picked up by channel {by}"),
            Self::Parked { channel } => write!(f, "channel {channel} parked"),
            Self::Unparked { channel, by: Some(by) } => {
                write!(f, "channel {channel} taken out of its car park by {by}")
            }
            Self::Unparked { channel, by: None } => write!(f, "channel {channel} was parked for too long"),
            Self::QueueJoined { .. } => f.write_str("waits in a queue"),
            Self::QueueAnswered { channel: Some(channel), .. } => {
                write!(f, "taken out of the queue by channel {channel}")
            }
            Self::QueueAnswered { channel: None, .. } => f.write_str("taken out of the queue"),
            Self::QueueAbandoned { .. } => f.write_str("gave up in the queue"),
            Self::ConferenceJoined { channel, .. } => write!(f, "channel {channel} in a conference"),
            Self::ConferenceLeft { channel, .. } => write!(f, "channel {channel} left the conference"),
            Self::Held { channel } => write!(f, "held by channel {channel}"),
            Self::Unheld { channel } => write!(f, "taken back by channel {channel}"),
            Self::CaptureOrdered { order } => write!(f, "recording {order} by request"),
            Self::QuotaExceeded { quota } => write!(f, "not captured: its tenant has reached its {quota}"),
            Self::Lost { reason: FailReason::PbxRestarted } => f.write_str("lost: Asterisk went down"),
            Self::Lost { reason: FailReason::GoneWhileAway } => f.write_str("lost: it ended while nobody looked"),
            Self::RecordingReady { part, complete: true } => write!(f, "recording {part} ready, complete"),
            Self::RecordingReady { part, .. } => write!(f, "recording {part} ready, not complete"),
            Self::RecordingFailed { part, reason } => write!(f, "recording {part} failed: {reason}"),
        }
    }
}
