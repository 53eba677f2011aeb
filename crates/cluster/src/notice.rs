//! What can be told.

use std::mem::size_of;
use std::sync::Arc;

use aimg_core::{CallEventKind, Direction, PbxId, SessionId, SessionRow, TenantId, Timestamp};

/// One thing that happened, and whom and what it is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// Whose it is; nobody's but the installation's where there is none.
    pub tenant: Option<TenantId>,
    /// The PBX it is about.
    pub pbx: Option<PbxId>,
    /// The session it is about.
    pub session: Option<SessionId>,
    /// When we learned of it.
    pub at: Timestamp,
    /// What happened.
    pub news: News,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// Something happened to a call.
    Call {
        /// What.
        event: CallEventKind,
        /// The call as it stands, with each change of its state.
        call: Option<Arc<SessionRow>>,
    },
    /// Somebody said something.
    Segment(Segment),
    /// One of the two connections to a PBX changed.
    Link(LinkNews),
    /// An alarm was raised or is over.
    Alarm(AlarmNews),
    /// A tenant reached a bound of its quota.
    Quota(QuotaNews),
}

/// An utterance of a transcript.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// The number that was dialled for the session, if any.
    pub dialled: Option<String>,
    /// Who said it.
    pub speaker: Direction,
    /// When it began, in milliseconds of the session.
    pub start_ms: u64,
    /// When it ended, in milliseconds of the session.
    pub end_ms: u64,
    /// What was said.
    pub text: String,
    /// How sure the recogniser is, from 0 to 1, where it tells.
    pub confidence: Option<f32>,
    /// Nothing of it changes any more. Otherwise another segment with the same start replaces it.
    pub is_final: bool,
}

/// One of the two ways to a PBX.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkSide {
    /// The Manager Interface.
    Ami,
    /// The REST Interface.
    Ari,
}

/// How a connection to a PBX stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkNews {
    /// The PBX's name.
    pub pbx_name: String,
    /// Which connection.
    pub side: LinkSide,
    /// Whether it works.
    pub is_up: bool,
    /// The word for it, as in metrics: `up`, `down`, `refused`, `lacking` or `replaced`.
    pub state: &'static str,
    /// Why it does not work: one sentence.
    pub reason: Option<String>,
}

/// How an alarm stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmNews {
    /// Its stable name.
    pub alarm: &'static str,
    /// How bad it is: `warning` or `critical`.
    pub severity: &'static str,
    /// What it says, for people.
    pub says: &'static str,
    /// Whether it is up; otherwise it is over.
    pub is_raised: bool,
    /// Why it is up: one sentence.
    pub reason: Option<String>,
}

/// A bound that was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaNews {
    /// Which one: its column's name.
    pub quota: &'static str,
    /// The bound.
    pub max: u64,
    /// What was reached.
    pub used: u64,
}

impl Notice {
    /// What it takes in memory, about: for the bound of a stream's history.
    pub(crate) fn bytes(&self) -> usize {
        let texts = match &self.news {
            News::Call { event, call } => event_bytes(event) + call.as_ref().map_or(0, |call| row_bytes(call)),
            News::Segment(segment) => segment.text.len() + segment.dialled.as_ref().map_or(0, String::len),
            News::Link(link) => link.pbx_name.len() + link.reason.as_ref().map_or(0, String::len),
            News::Alarm(alarm) => alarm.reason.as_ref().map_or(0, String::len),
            News::Quota(_) => 0,
        };
        size_of::<Self>() + texts
    }
}

fn event_bytes(event: &CallEventKind) -> usize {
    match event {
        CallEventKind::TapFailed { reason } | CallEventKind::RecordingFailed { reason, .. } => reason.len(),
        CallEventKind::QueueJoined { queue }
        | CallEventKind::QueueAnswered { queue, .. }
        | CallEventKind::QueueAbandoned { queue } => queue.len(),
        CallEventKind::ConferenceJoined { conference, .. } | CallEventKind::ConferenceLeft { conference, .. } => {
            conference.len()
        }
        // Ids of channels are short.
        _ => 0,
    }
}

fn row_bytes(row: &SessionRow) -> usize {
    let texts = [&row.caller_number, &row.dialled_number, &row.context];
    size_of::<SessionRow>() + texts.into_iter().flatten().map(String::len).sum::<usize>()
}
