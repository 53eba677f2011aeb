//! What is said over the WebSocket: text messages of JSON, told apart by `type`.

use aimg_cluster::{LinkSide, News, Notice, Published};
use aimg_core::{CallDirection, CallEventKind, CallState, SessionRow};
use axum::body::Bytes;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::control::{Command, NewCallBody, Outcome};
use crate::problem::Code;
use crate::schema::{CallStateSchema, Time};

/// What a client says.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ClientMessage {
    /// Who it is.
    Authenticate(Authenticate),
    /// What it wants to be told.
    Subscribe(Subscribe),
    /// What it does not want to be told any more.
    Unsubscribe(Unsubscribe),
    /// What it was told last.
    Resume(Resume),
    /// What is to be done with a call.
    Command(CommandMessage),
    /// A call to make.
    Originate(OriginateMessage),
}

/// Says who the client is. It is the first message where the request had neither `Authorization` nor a session cookie.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Authenticate {
    /// An access token or an API key.
    #[schema(value_type = String, format = Password)]
    pub(crate) token: SecretString,
}

/// Adds topics. All of them or, with an `error`, none.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Subscribe {
    /// Comes back with the answer.
    #[schema(max_length = 64)]
    pub(crate) id: Option<String>,
    /// `calls`, `call:{session}`, `transcripts:{session}`, `transcripts:dialled:{number}`,
    /// `audio:{session}:{side}:{rate}:{encoding}`, `system` or `notifications`.
    #[schema(min_items = 1, max_items = 64)]
    pub(crate) topics: Vec<String>,
    /// Of this tenant alone, for accounts of the installation; others have their own tenant and no other.
    pub(crate) tenant: Option<Uuid>,
}

/// Takes topics away, of whatever tenant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unsubscribe {
    /// Comes back with the answer.
    #[schema(max_length = 64)]
    pub(crate) id: Option<String>,
    /// As they were subscribed to.
    #[schema(min_items = 1, max_items = 64)]
    pub(crate) topics: Vec<String>,
}

/// Asks for what the client missed between two connections. Sent before the first `subscribe`, nothing comes twice.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Resume {
    /// Comes back with the answer.
    #[schema(max_length = 64)]
    pub(crate) id: Option<String>,
    /// The `seq` of the last message that had one.
    pub(crate) after: u64,
    /// The `epoch` of that connection's `welcome`.
    pub(crate) epoch: Uuid,
}

/// Something to be done with a call, as by the REST API. `done` or `error` with its `id` answers when it is, and other messages
/// may come before.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CommandMessage {
    /// Comes back with the answer.
    #[schema(max_length = 64)]
    pub(crate) id: String,
    /// The call session.
    pub(crate) session: Uuid,
    /// What is to be done.
    pub(crate) command: Command,
}

/// A call to make, as by the REST API, and answered as a `command`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OriginateMessage {
    /// Comes back with the answer.
    #[schema(max_length = 64)]
    pub(crate) id: String,
    /// Who calls whom.
    pub(crate) call: NewCallBody,
}

/// What the gateway says.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ServerMessage {
    /// The client is known.
    Welcome(Welcome),
    /// What it is told from here on.
    Subscribed(Topics),
    /// What it is told from here on, after an `unsubscribe`.
    Unsubscribed(Topics),
    /// What it missed follows.
    Resumed(Resumed),
    /// What it missed is not known any more.
    Resync(Resync),
    /// It was too slow.
    Lagged(Lagged),
    /// Something that it said is refused.
    Error(Refusal),
    /// A command was done.
    Done(DoneNotice),
    /// Something happened to a call.
    Call(CallNotice),
    /// Somebody said something.
    Transcript(TranscriptNotice),
    /// A connection to a PBX changed.
    Link(LinkNotice),
    /// An alarm was raised or is over.
    Alarm(AlarmNotice),
    /// A quota is used up.
    Quota(QuotaNotice),
    /// A call that was listened to is over.
    AudioEnded(AudioEnded),
}

/// The client is known, and may subscribe.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Welcome {
    /// Numbers of messages mean something within one epoch only: another one begins when the gateway is started anew.
    pub(crate) epoch: Uuid,
    /// The number of the last message there was.
    pub(crate) seq: u64,
    /// The user's name, or the key's prefix.
    pub(crate) name: String,
    /// The tenant; absent for an account of the installation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<Uuid>,
}

/// All topics of the connection.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Topics {
    /// The id of the message that is answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    /// Every topic that the client is subscribed to.
    pub(crate) topics: Vec<String>,
    /// What happened up to this number does not come, unless it is asked for by `resume`.
    pub(crate) seq: u64,
}

/// A command was done.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DoneNotice {
    /// The id of the command.
    pub(crate) id: String,
    /// What Asterisk did.
    pub(crate) outcome: Outcome,
}

/// What the client missed follows, as far as it is of its topics.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Resumed {
    /// The id of the message that is answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    /// The number that was asked for.
    pub(crate) after: u64,
    /// Messages after it, those of other topics included.
    pub(crate) missed: u64,
}

/// What the client missed is not known any more: it reads the state of things anew over REST. Messages go on after `seq`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Resync {
    /// The id of the message that is answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    /// The epoch of this connection.
    pub(crate) epoch: Uuid,
    /// The number of the last message there was.
    pub(crate) seq: u64,
}

/// The client reads too slowly: it is skipped ahead, and closed when that happens again and again.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Lagged {
    /// Messages that it will not get, those of other topics included.
    pub(crate) missed: u64,
    /// Messages go on after this number.
    pub(crate) seq: u64,
}

/// Something that the client said is refused; the connection stays.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Refusal {
    /// The id of the message that is answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    /// The same codes as those of the REST API.
    pub(crate) code: Code,
    /// What is wrong, and what to do about it.
    pub(crate) detail: String,
    /// The field at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) field: Option<String>,
}

/// A call that was listened to, or its capture, is over: the topic is none of the connection's any more.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AudioEnded {
    /// The call session.
    pub(crate) session: Uuid,
}

/// What all notices have.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Heading {
    /// Its number: one more than that of the message before, which may be of another topic.
    seq: u64,
    /// When the gateway learned of it.
    at: Time,
    /// Whose it is; absent for what concerns the installation as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<Uuid>,
    /// The PBX it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pbx: Option<Uuid>,
    /// The call session it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<Uuid>,
}

/// Something happened to a call.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CallNotice {
    #[serde(flatten)]
    heading: Heading,
    /// What: `state`, `leg_joined`, `recording_ready` and the like, as among the events of a session.
    event: &'static str,
    /// What there is to say of it, by the kind of event.
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    detail: Map<String, Value>,
    /// The call as it stands; with each change of its state.
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<CallSnapshot>,
}

/// A call as it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CallSnapshot {
    /// The call session.
    id: Uuid,
    /// Where it is.
    pbx: Uuid,
    /// Where it stands.
    #[schema(value_type = CallStateSchema)]
    state: CallState,
    /// `inbound` or `outbound`.
    direction: &'static str,
    /// The caller's number, if Asterisk told one.
    caller_number: Option<String>,
    /// The number that was dialled, if any.
    dialled_number: Option<String>,
    /// The dialplan context in which it began.
    context: Option<String>,
    /// When it was detected.
    started_at: Time,
    /// When it was answered.
    answered_at: Option<Time>,
    /// When it ended.
    ended_at: Option<Time>,
    /// Asterisk's hangup cause (Q.850).
    hangup_cause: Option<u16>,
    /// Whether it is wanted captured.
    captured: bool,
}

/// Somebody said something.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TranscriptNotice {
    #[serde(flatten)]
    heading: Heading,
    /// The number that was dialled for the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    dialled: Option<String>,
    /// Who: `caller` or `callee`.
    speaker: &'static str,
    /// When it began, in milliseconds of the session.
    start_ms: u64,
    /// When it ended, in milliseconds of the session.
    end_ms: u64,
    /// What was said.
    text: String,
    /// How sure the recogniser is, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence: Option<f32>,
    /// Nothing of it changes any more; otherwise another message with the same speaker and start replaces it.
    #[serde(rename = "final")]
    is_final: bool,
}

/// A connection to a PBX changed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LinkNotice {
    #[serde(flatten)]
    heading: Heading,
    /// The PBX's name.
    name: String,
    /// `ami` or `ari`.
    side: &'static str,
    /// Whether it works.
    up: bool,
    /// `up`, `down`, `refused`, `lacking` or `replaced`.
    state: &'static str,
    /// Why it does not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// An alarm was raised or is over.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AlarmNotice {
    #[serde(flatten)]
    heading: Heading,
    /// Its name.
    alarm: &'static str,
    /// `warning` or `critical`.
    severity: &'static str,
    /// What it says, for people.
    says: &'static str,
    /// Whether it is up; otherwise it is over.
    raised: bool,
    /// Why it is up.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// A quota is used up.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QuotaNotice {
    #[serde(flatten)]
    heading: Heading,
    /// Which.
    quota: &'static str,
    /// How much is allowed.
    max: u64,
    /// How much is used.
    used: u64,
}

impl ServerMessage {
    /// The message as it is sent.
    pub(crate) fn text(&self) -> String {
        serde_json::to_string(self).expect("maps have texts as keys, and numbers are finite or null")
    }

    /// A notice as it is sent.
    pub(crate) fn bytes_of(published: &Published) -> Bytes {
        Bytes::from(Self::of(published.seq, &published.notice).text())
    }

    pub(crate) fn of(seq: u64, notice: &Notice) -> Self {
        let Notice { tenant, pbx, session, at, news } = notice;
        let heading = Heading {
            seq,
            at: (*at).into(),
            tenant: tenant.map(|id| id.as_uuid()),
            pbx: pbx.map(|id| id.as_uuid()),
            session: session.map(|id| id.as_uuid()),
        };
        match news.clone() {
            News::Call { event, call } => Self::Call(CallNotice {
                heading,
                event: event.name(),
                detail: detail_of(&event),
                call: call.as_deref().map(CallSnapshot::from),
            }),
            News::Segment(segment) => Self::Transcript(TranscriptNotice {
                heading,
                dialled: segment.dialled,
                speaker: segment.speaker.name(),
                start_ms: segment.start_ms,
                end_ms: segment.end_ms,
                text: segment.text,
                confidence: segment.confidence,
                is_final: segment.is_final,
            }),
            News::Link(link) => Self::Link(LinkNotice {
                heading,
                name: link.pbx_name,
                side: match link.side {
                    LinkSide::Ami => "ami",
                    LinkSide::Ari => "ari",
                },
                up: link.is_up,
                state: link.state,
                reason: link.reason,
            }),
            News::Alarm(alarm) => Self::Alarm(AlarmNotice {
                heading,
                alarm: alarm.alarm,
                severity: alarm.severity,
                says: alarm.says,
                raised: alarm.is_raised,
                reason: alarm.reason,
            }),
            News::Quota(quota) => {
                Self::Quota(QuotaNotice { heading, quota: quota.quota, max: quota.max, used: quota.used })
            }
        }
    }
}

/// What an event says beside its name. Times are RFC 3339 here, as everywhere in the API.
fn detail_of(event: &CallEventKind) -> Map<String, Value> {
    let Ok(Value::Object(mut detail)) = serde_json::to_value(event) else { return Map::new() };
    detail.remove("event");
    if let CallEventKind::FlowStarted { first_packet_at, .. } = event {
        detail.insert("first_packet_at".to_owned(), first_packet_at.to_string().into());
    }
    detail
}

impl From<&SessionRow> for CallSnapshot {
    fn from(row: &SessionRow) -> Self {
        let row = row.clone();
        Self {
            id: row.id.as_uuid(),
            pbx: row.pbx.as_uuid(),
            state: row.state,
            direction: CallDirection::name(row.call_direction),
            caller_number: row.caller_number,
            dialled_number: row.dialled_number,
            context: row.context,
            started_at: row.started_at.into(),
            answered_at: row.answered_at.map(Time::from),
            ended_at: row.ended_at.map(Time::from),
            hangup_cause: row.hangup_cause,
            captured: row.captured,
        }
    }
}
