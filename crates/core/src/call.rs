//! A call and its channels as they are stored and shown.

use serde::{Deserialize, Serialize};

use crate::{CallDirection, CallState, NodeId, PbxId, SessionId, TenantId, Timestamp, Uniqueid};

/// One call session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRow {
    /// Its id: of version 7, with the millisecond of `started_at`. Searches rely on it.
    pub id: SessionId,
    /// Whose call it is; never changes.
    pub tenant: TenantId,
    /// Where the call is.
    pub pbx: PbxId,
    /// Asterisk's id of its first channel.
    pub uniqueid: Uniqueid,
    /// Asterisk's id that its channels shared when it was detected.
    pub linkedid: Uniqueid,
    /// Where it stands.
    pub state: CallState,
    /// Whether it came in or went out.
    pub call_direction: CallDirection,
    /// The caller's number, if Asterisk told one.
    pub caller_number: Option<String>,
    /// The number that was dialled, if any.
    pub dialled_number: Option<String>,
    /// The dialplan context in which it began.
    pub context: Option<String>,
    /// When it was detected.
    pub started_at: Timestamp,
    /// When its first channel went up.
    pub answered_at: Option<Timestamp>,
    /// When its last channel was gone.
    pub ended_at: Option<Timestamp>,
    /// Asterisk's hangup cause (Q.850) of its first channel.
    pub hangup_cause: Option<u16>,
    /// The node that holds it.
    pub node: NodeId,
    /// Whether it is to be captured: by the tenant's rule, until a person asks otherwise.
    pub captured: bool,
}

/// One channel of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegRow {
    /// Whose call it is.
    pub tenant: TenantId,
    /// The session it belongs to.
    pub session: SessionId,
    /// Asterisk's id of the channel.
    pub uniqueid: Uniqueid,
    /// The channel's name, such as `PJSIP/alice-00000001`.
    pub name: String,
    /// The number of the party at its end, if Asterisk told one.
    pub caller_number: Option<String>,
    /// When it joined.
    pub joined_at: Timestamp,
    /// When it was gone.
    pub left_at: Option<Timestamp>,
    /// Asterisk's hangup cause (Q.850).
    pub hangup_cause: Option<u16>,
}
