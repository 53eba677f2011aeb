//! What a webhook can be told of.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{CallEventKind, CallState};

/// Something that a webhook is told of, if it asks for it. Its name is the `type` of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum WebhookEvent {
    /// A call's first channel exists.
    #[serde(rename = "call.detected")]
    CallDetected,
    /// A call's first channel is up.
    #[serde(rename = "call.answered")]
    CallAnswered,
    /// A call is over, or Asterisk went down under it.
    #[serde(rename = "call.ended")]
    CallEnded,
    /// A recording and its certificate are finished.
    #[serde(rename = "recording.ready")]
    RecordingReady,
    /// A recording could not be finished.
    #[serde(rename = "recording.failed")]
    RecordingFailed,
    /// The text of a call will not change any more.
    #[serde(rename = "transcript.final")]
    TranscriptFinal,
    /// The tenant has come to one of its bounds.
    #[serde(rename = "quota.exceeded")]
    QuotaExceeded,
    /// A PBX is not reached any more.
    #[serde(rename = "pbx.down")]
    PbxDown,
    /// A PBX is reached.
    #[serde(rename = "pbx.up")]
    PbxUp,
    /// Somebody tries the webhook. It is told to every webhook, and cannot be asked for.
    #[serde(rename = "ping")]
    Ping,
}

impl WebhookEvent {
    /// All that a webhook can ask for.
    pub const ALL: [Self; 9] = [
        Self::CallDetected,
        Self::CallAnswered,
        Self::CallEnded,
        Self::RecordingReady,
        Self::RecordingFailed,
        Self::TranscriptFinal,
        Self::QuotaExceeded,
        Self::PbxDown,
        Self::PbxUp,
    ];

    /// Its name, as in JSON and the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CallDetected => "call.detected",
            Self::CallAnswered => "call.answered",
            Self::CallEnded => "call.ended",
            Self::RecordingReady => "recording.ready",
            Self::RecordingFailed => "recording.failed",
            Self::TranscriptFinal => "transcript.final",
            Self::QuotaExceeded => "quota.exceeded",
            Self::PbxDown => "pbx.down",
            Self::PbxUp => "pbx.up",
            Self::Ping => "ping",
        }
    }

    /// What webhooks are told when this happens to a call, if anything.
    pub const fn of_call(kind: &CallEventKind) -> Option<Self> {
        match kind {
            CallEventKind::State { state: CallState::Detected } => Some(Self::CallDetected),
            CallEventKind::State { state: CallState::Answered } => Some(Self::CallAnswered),
            CallEventKind::State { state: CallState::Ended | CallState::Failed } => Some(Self::CallEnded),
            CallEventKind::RecordingReady { .. } => Some(Self::RecordingReady),
            CallEventKind::RecordingFailed { .. } => Some(Self::RecordingFailed),
            _ => None,
        }
    }
}

impl fmt::Display for WebhookEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names nothing that a webhook can be told of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no event of webhooks")]
pub struct UnknownWebhookEvent(String);

impl FromStr for WebhookEvent {
    type Err = UnknownWebhookEvent;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let mut known = Self::ALL.into_iter().chain([Self::Ping]);
        known.find(|event| event.name() == s).ok_or_else(|| UnknownWebhookEvent(s.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_everywhere() {
        for event in WebhookEvent::ALL.into_iter().chain([WebhookEvent::Ping]) {
            assert_eq!(event.name().parse(), Ok(event));
            assert_eq!(serde_json::to_string(&event).unwrap(), format!("\"{event}\""));
        }
        assert!("call".parse::<WebhookEvent>().is_err());
    }

    #[test]
    fn a_call_is_told_of_from_its_first_channel_to_its_last() {
        let told = CallState::ALL.map(|state| WebhookEvent::of_call(&CallEventKind::State { state }));
        use WebhookEvent::{CallAnswered, CallDetected, CallEnded};
        assert_eq!(told, [Some(CallDetected), None, Some(CallAnswered), None, Some(CallEnded), Some(CallEnded)]);
    }
}
