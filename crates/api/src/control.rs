//! `/api/v1/call-sessions/{id}/…` and `/api/v1/calls`: call control.
//!
//! What is done with a call is one [`Command`], whether it comes by a path of its own or in a WebSocket message; [`perform`]
//! checks that the caller may, has it done, and writes the audit log.

use std::time::Duration;

use aimg_core::{CaptureOrder, PbxId, Permission, SessionId, TenantId, Uniqueid};
use aimg_gateway::{Audience, CallCommand, ControlError, Destination, Done, First, ListenMode, NewCall};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoResponses, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::body::{Created, Json, Path};
use crate::caller::Caller;
use crate::guard::needs;
use crate::problem::{Code, Problem};
use crate::server::Desk;

const TAG: &str = "call control";
/// How long a key is pressed unless told, in milliseconds.
const KEY_MS: u16 = 100;
const KEY_MS_MAX: u16 = 1_000;
/// How long a phone rings unless told, in seconds.
const RING_S: u8 = 30;

pub(crate) fn routes() -> OpenApiRouter<Desk> {
    let control = |routes| needs(Permission::CallsControl, routes);
    OpenApiRouter::new()
        .routes(control(routes!(originate)))
        .routes(control(routes!(hang_up)))
        .routes(control(routes!(answer)))
        .routes(control(routes!(hold)))
        .routes(control(routes!(unhold)))
        .routes(control(routes!(mute)))
        .routes(control(routes!(unmute)))
        .routes(control(routes!(dtmf)))
        .routes(control(routes!(play)))
        .routes(control(routes!(say)))
        .routes(control(routes!(stop_play)))
        .routes(control(routes!(transfer)))
        .routes(control(routes!(bridge)))
        .routes(control(routes!(snoop)))
        .routes(needs(Permission::RecordingsCreate, routes!(record)))
}

/// Who of a call: `caller` (its first channel, or the one by which it goes on), `callee` (whom that talks with), or the id of
/// one of its channels.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(value_type = String, max_length = 150, example = "callee")]
#[serde(transparent)]
pub(crate) struct Party(String);

impl From<Party> for aimg_gateway::Party {
    fn from(party: Party) -> Self {
        match party.0.as_str() {
            "caller" => Self::Caller,
            "callee" => Self::Callee,
            channel => Self::Channel(Uniqueid::new(channel)),
        }
    }
}

/// Which of a party's audio.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Side {
    /// What it says.
    #[default]
    Says,
    /// What it hears.
    Hears,
    /// Both.
    Both,
}

impl From<Side> for aimg_gateway::MutedSide {
    fn from(side: Side) -> Self {
        match side {
            Side::Says => Self::Says,
            Side::Hears => Self::Hears,
            Side::Both => Self::Both,
        }
    }
}

impl From<aimg_gateway::MutedSide> for Side {
    fn from(side: aimg_gateway::MutedSide) -> Self {
        match side {
            aimg_gateway::MutedSide::Says => Self::Says,
            aimg_gateway::MutedSide::Hears => Self::Hears,
            aimg_gateway::MutedSide::Both => Self::Both,
        }
    }
}

/// Nothing has to be told.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answer {}

/// Whose channel ends.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HangUp {
    /// Who; the whole call when absent.
    party: Option<Party>,
}

/// Who waits.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hold {
    /// Who hears music, and neither hears nor is heard by the others.
    party: Party,
    /// The class of music in the PBX's musiconhold.conf; the default one when absent.
    #[schema(max_length = 80)]
    music: Option<String>,
}

/// Who waits no longer.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unhold {
    /// Who is on hold.
    party: Party,
}

/// Who is muted, or no longer.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mute {
    /// Who.
    party: Party,
    /// What of it: what it says, when absent.
    #[serde(default)]
    side: Side,
}

/// Keys to press.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dtmf {
    /// Who hears them.
    party: Party,
    /// 0-9, A-D, `*` and `#`.
    #[schema(min_length = 1, max_length = 32, pattern = "^[0-9A-D*#]+$")]
    digits: String,
    /// How long each is pressed, in milliseconds. Default 100.
    #[schema(minimum = 40, maximum = 1000)]
    duration_ms: Option<u16>,
}

/// Who hears what is played.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Play {
    /// `both`, or one party. Default `both`.
    #[serde(default = "both")]
    to: Party,
    /// One after the other: `sound:NAME` (of the PBX), `digits:…`, `number:…`, `characters:…`, `tone:NAME`, or an `https://`
    /// address of a host that the setting `control.media_hosts` names.
    #[schema(min_items = 1, max_items = 10, example = json!(["sound:demo-congrats"]))]
    media: Vec<String>,
}

/// What is to be said.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Say {
    /// `both`, or one party. Default `both`.
    #[serde(default = "both")]
    to: Party,
    /// The text.
    #[schema(min_length = 1, max_length = 4096, example = "Your call is important to us.")]
    text: String,
    /// Who speaks: `riva`, `http` or `flite`. Absent: the first one that is set up.
    #[schema(max_length = 32)]
    provider: Option<String>,
    /// The voice, by the provider's name for it. Absent: its default.
    #[schema(max_length = 128)]
    voice: Option<String>,
    /// The language as BCP 47. Absent: the provider's default.
    #[schema(max_length = 35, example = "en-US")]
    language: Option<String>,
    /// Whether what is being said or played into the call ends before. Default false: both are heard.
    #[serde(default)]
    interrupt: bool,
}

impl std::fmt::Debug for Say {
    /// Without the text.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Say").field("to", &self.to).field("voice", &self.voice).finish_non_exhaustive()
    }
}

fn both() -> Party {
    Party("both".to_owned())
}

/// What is to be played no more.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StopPlay {
    /// As it was named when it began; everything that is being played into the call when absent.
    #[schema(max_length = 150)]
    playback: Option<String>,
}

/// How the call is sent on.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TransferKind {
    /// Whom `by` talks with goes to `exten`, at once.
    Blind,
    /// `by` calls `exten`, while the other one waits.
    Attended,
    /// An attended transfer is done: `by` is out of the call.
    Complete,
    /// An attended transfer is given up.
    Cancel,
}

/// Who sends the call where.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Transfer {
    /// How.
    kind: TransferKind,
    /// Who sends.
    by: Party,
    /// The number that is dialled; for `blind` and `attended`.
    #[schema(max_length = 80)]
    exten: Option<String>,
    /// The context of the dialplan in which it is dialled; the one in which the call began when absent.
    #[schema(max_length = 80)]
    context: Option<String>,
}

/// Who is to talk with whom.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bridge {
    /// Who of this call.
    party: Party,
    /// The other call.
    with: Uuid,
    /// Who of the other call.
    with_party: Party,
}

/// What who listens may do.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SnoopMode {
    /// Hear both parties.
    #[default]
    Listen,
    /// And be heard by `party`.
    Whisper,
    /// And be heard by both.
    Barge,
}

/// The phone of who listens.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Snoop {
    /// The phone to call, such as `PJSIP/alice`.
    #[schema(max_length = 170)]
    endpoint: String,
    /// At whose channel.
    party: Party,
    /// What it may do. Default `listen`.
    #[serde(default)]
    mode: SnoopMode,
    /// How long it may ring, in seconds. Default 30.
    #[schema(minimum = 1, maximum = 60)]
    ring_s: Option<u8>,
}

/// What is to become of the recording.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RecordOrder {
    /// Record from here on, whatever the tenant's rule says.
    Start,
    /// Record no more.
    Stop,
    /// Record nothing until it is resumed.
    Pause,
    /// Go on after a pause.
    Resume,
}

/// What is to become of the recording.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// When `pause` is answered, nothing more is kept; when `resume` is, both directions are being recorded.
    order: RecordOrder,
}

/// Something to be done with a call, by its name in `do`.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Command {
    /// End a channel, or the call.
    Hangup(HangUp),
    /// Answer the caller, who waits in the gateway's Stasis application.
    Answer(Answer),
    /// Put a party on hold.
    Hold(Hold),
    /// Take it back.
    Unhold(Unhold),
    /// Mute a party.
    Mute(Mute),
    /// Let it be heard again.
    Unmute(Mute),
    /// Press keys.
    Dtmf(Dtmf),
    /// Play something.
    Play(Play),
    /// Say something.
    Say(Say),
    /// End what is played or said.
    PlayStop(StopPlay),
    /// Send the call on.
    Transfer(Transfer),
    /// Let a party talk with one of another call.
    Bridge(Bridge),
    /// Let somebody listen by phone.
    Snoop(Snoop),
    /// Start, stop, pause or resume the recording.
    Recording(Record),
}

impl Command {
    /// The whole call ends.
    pub(crate) const HANG_UP: Self = Self::Hangup(HangUp { party: None });

    /// What it takes.
    const fn permission(&self) -> Permission {
        match self {
            Self::Recording(_) => Permission::RecordingsCreate,
            _ => Permission::CallsControl,
        }
    }

    /// What the audit log keeps of it. Digits may be a PIN, so they are not in it.
    fn detail(&self) -> serde_json::Value {
        match self {
            Self::Transfer(t) => serde_json::json!({ "by": t.by.0, "exten": t.exten, "context": t.context }),
            Self::Bridge(b) => serde_json::json!({ "party": b.party.0, "with": b.with, "with_party": b.with_party.0 }),
            Self::Snoop(s) => serde_json::json!({ "party": s.party.0, "endpoint": s.endpoint }),
            Self::Play(p) => serde_json::json!({ "to": p.to.0, "media": p.media }),
            Self::Say(s) => serde_json::json!({ "to": s.to.0, "provider": s.provider, "voice": s.voice }),
            Self::Recording(r) => serde_json::json!({ "order": CaptureOrder::from(r.order).name() }),
            Self::Hold(Hold { party, .. })
            | Self::Unhold(Unhold { party })
            | Self::Mute(Mute { party, .. })
            | Self::Unmute(Mute { party, .. })
            | Self::Dtmf(Dtmf { party, .. }) => serde_json::json!({ "party": party.0 }),
            Self::Hangup(h) => serde_json::json!({ "party": h.party.as_ref().map(|party| &party.0) }),
            Self::Answer(_) | Self::PlayStop(_) => serde_json::Value::Null,
        }
    }
}

impl From<RecordOrder> for CaptureOrder {
    fn from(order: RecordOrder) -> Self {
        match order {
            RecordOrder::Start => Self::Start,
            RecordOrder::Stop => Self::Stop,
            RecordOrder::Pause => Self::Pause,
            RecordOrder::Resume => Self::Resume,
        }
    }
}

impl TryFrom<Command> for CallCommand {
    type Error = Problem;

    fn try_from(command: Command) -> Result<Self, Problem> {
        Ok(match command {
            Command::Hangup(HangUp { party }) => Self::HangUp { party: party.map(Into::into) },
            Command::Answer(Answer {}) => Self::Answer,
            Command::Hold(Hold { party, music }) => Self::Hold { party: party.into(), music },
            Command::Unhold(Unhold { party }) => Self::Unhold { party: party.into() },
            Command::Mute(Mute { party, side }) => Self::Mute { party: party.into(), side: side.into() },
            Command::Unmute(Mute { party, side }) => Self::Unmute { party: party.into(), side: side.into() },
            Command::Dtmf(Dtmf { party, digits, duration_ms }) => {
                let duration_ms = duration_ms.unwrap_or(KEY_MS);
                if !(40..=KEY_MS_MAX).contains(&duration_ms) {
                    return Err(Problem::invalid("duration_ms", format!("40 to {KEY_MS_MAX}")));
                }
                Self::Dtmf { party: party.into(), digits, duration: Duration::from_millis(duration_ms.into()) }
            }
            Command::Play(Play { to, media }) => {
                let to = if to.0 == "both" { Audience::Both } else { Audience::One(to.into()) };
                Self::Play { to, media }
            }
            Command::Say(Say { to, text, provider, voice, language, interrupt }) => Self::Say {
                to: if to.0 == "both" { Audience::Both } else { Audience::One(to.into()) },
                say: aimg_gateway::Say { text, provider, voice, language },
                interrupts: interrupt,
            },
            Command::PlayStop(StopPlay { playback }) => Self::StopPlay { playback },
            Command::Transfer(transfer) => Self::Transfer(transfer.try_into()?),
            Command::Bridge(Bridge { party, with, with_party }) => {
                Self::Bridge { party: party.into(), with: SessionId::from_uuid(with), with_party: with_party.into() }
            }
            Command::Snoop(Snoop { endpoint, party, mode, ring_s }) => Self::Listen {
                endpoint,
                party: party.into(),
                mode: match mode {
                    SnoopMode::Listen => ListenMode::Listen,
                    SnoopMode::Whisper => ListenMode::Whisper,
                    SnoopMode::Barge => ListenMode::Barge,
                },
                ring: ring(ring_s),
            },
            Command::Recording(Record { order }) => Self::Record(order.into()),
        })
    }
}

impl TryFrom<Transfer> for aimg_gateway::Transfer {
    type Error = Problem;

    fn try_from(transfer: Transfer) -> Result<Self, Problem> {
        let Transfer { kind, by, exten, context } = transfer;
        let by = by.into();
        let to = exten.map(|exten| Destination { exten, context });
        let needed = || Problem::invalid("exten", "needed for `blind` and `attended`");
        Ok(match kind {
            TransferKind::Blind => Self::Blind { by, to: to.ok_or_else(needed)? },
            TransferKind::Attended => Self::Attended { by, to: to.ok_or_else(needed)? },
            TransferKind::Complete => Self::Complete { by },
            TransferKind::Cancel => Self::Cancel { by },
        })
    }
}

fn ring(ring_s: Option<u8>) -> Duration {
    Duration::from_secs(ring_s.unwrap_or(RING_S).into())
}

/// A channel that is gone.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Ended {
    /// Its id.
    channel: String,
    /// Why it ended (Q.850), where Asterisk told.
    cause: Option<u16>,
}

/// What Asterisk did, by its name in `done`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "done", rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// These channels are gone.
    HungUp {
        /// Which.
        channels: Vec<Ended>,
    },
    /// The channel is up.
    Answered {
        /// Its id.
        channel: String,
    },
    /// The channel hears music.
    Held {
        /// Its id.
        channel: String,
    },
    /// It is in the call again.
    Unheld {
        /// Its id.
        channel: String,
    },
    /// The channel is muted.
    Muted {
        /// Its id.
        channel: String,
        /// Which of its audio.
        side: Side,
    },
    /// It is heard again.
    Unmuted {
        /// Its id.
        channel: String,
        /// Which of its audio.
        side: Side,
    },
    /// The keys were pressed.
    Pressed {
        /// On this channel.
        channel: String,
        /// How many.
        digits: usize,
    },
    /// It is being played.
    Playing {
        /// Its name, to stop it by.
        playback: String,
        /// The channel by which it is played.
        channel: String,
    },
    /// It is played no more.
    PlayStopped {
        /// What was being played.
        playbacks: Vec<String>,
    },
    /// The call was sent on.
    Transferred {
        /// The channel that was sent, where it was one and Asterisk told it.
        channel: Option<String>,
    },
    /// The transferring channel calls; `complete` or `cancel` follows.
    Consulting {
        /// Its id.
        channel: String,
    },
    /// The attended transfer was given up.
    TransferCancelled {
        /// The transferring channel.
        channel: String,
    },
    /// The two talk.
    Bridged {
        /// Asterisk's id of their bridge.
        bridge: String,
        /// Their channels.
        channels: [String; 2],
    },
    /// Somebody listens, or is being called for that.
    Listening {
        /// The phone's channel; its end ends the listening.
        phone: String,
        /// The channel that is listened at.
        channel: String,
        /// It was picked up; otherwise it still rings.
        connected: bool,
    },
    /// The recording stands as it was ordered.
    Recording {
        /// The part of the session's recording that is being made; absent when nothing is.
        part: Option<u16>,
    },
    /// A call is being made.
    Calling {
        /// Its first channel.
        channel: String,
        /// Its session; absent where the gateway sees calls by the hook alone.
        session: Option<Uuid>,
    },
}

impl From<Done> for Outcome {
    fn from(done: Done) -> Self {
        let text = |channel: Uniqueid| channel.as_str().to_owned();
        match done {
            Done::HungUp { channels } => {
                let ended = channels.into_iter().map(|(channel, cause)| Ended { channel: text(channel), cause });
                Self::HungUp { channels: ended.collect() }
            }
            Done::Answered { channel } => Self::Answered { channel: text(channel) },
            Done::Held { channel } => Self::Held { channel: text(channel) },
            Done::Unheld { channel } => Self::Unheld { channel: text(channel) },
            Done::Muted { channel, side } => Self::Muted { channel: text(channel), side: side.into() },
            Done::Unmuted { channel, side } => Self::Unmuted { channel: text(channel), side: side.into() },
            Done::Pressed { channel, digits } => Self::Pressed { channel: text(channel), digits },
            Done::Playing { playback, channel } => Self::Playing { playback, channel: text(channel) },
            Done::PlayStopped { playbacks } => Self::PlayStopped { playbacks },
            Done::Transferred { channel } => Self::Transferred { channel: channel.map(text) },
            Done::Consulting { channel } => Self::Consulting { channel: text(channel) },
            Done::TransferCancelled { channel } => Self::TransferCancelled { channel: text(channel) },
            Done::Bridged { bridge, channels } => Self::Bridged { bridge, channels: channels.map(text) },
            Done::Listening { phone, channel, connected } => {
                Self::Listening { phone: text(phone), channel: text(channel), connected }
            }
            Done::Recording { part } => Self::Recording { part },
            Done::Calling { channel, session } => {
                Self::Calling { channel: text(channel), session: session.map(SessionId::as_uuid) }
            }
        }
    }
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        match &error {
            ControlError::NoSuchCall { session } => Self::not_found("call", session),
            ControlError::NoSuchPbx { pbx } => Self::not_found("PBX", pbx),
            ControlError::Invalid { field, .. } => Self::invalid(field, &error),
            ControlError::NotPossible { .. } => Self::new(Code::WrongState, error),
            ControlError::Refused { .. } => Self::new(Code::PbxRefused, error),
            ControlError::Unspoken { .. } => Self::new(Code::NotAvailable, error),
            ControlError::Busy { .. } => Self::new(Code::TooManyRequests, error).retry_after(Duration::from_secs(1)),
            _ => Self::new(Code::PbxAway, error),
        }
    }
}

/// Does something with a call for a caller who may, and writes the audit log.
pub(crate) async fn perform(desk: &Desk, caller: &Caller, session: Uuid, command: Command) -> Result<Outcome, Problem> {
    caller.principal.require(command.permission())?;
    let (id, scope) = (SessionId::from_uuid(session), caller.scope());
    let tenant = desk.control.tenant_of(scope, id);
    let detail = command.detail();
    let command = CallCommand::try_from(command)?;
    let action = format!("call.{}", command.name());
    let done = match desk.control.command(scope, id, command).await {
        // A call that is over is in the store.
        Err(error @ ControlError::NoSuchCall { .. }) => {
            return Err(match desk.store.session(scope, id).await {
                Ok(_) => Problem::new(Code::WrongState, "the call is over, or not at this gateway"),
                Err(aimg_store::Error::NotFound { .. }) => error.into(),
                Err(other) => other.into(),
            });
        }
        Ok(done) => Ok(done.into()),
        Err(error) => Err(error.into()),
    };
    note(desk, caller, tenant, &action, &session.to_string(), detail, &done).await;
    done
}

/// Writes into the audit log what was tried, into the rows of the tenant whose call it is. It was done all the same when
/// that fails.
async fn note(
    desk: &Desk,
    caller: &Caller,
    tenant: Option<TenantId>,
    action: &str,
    target: &str,
    detail: serde_json::Value,
    done: &Result<Outcome, Problem>,
) {
    let mut entry = caller.did(action, target);
    entry.tenant = entry.tenant.or(tenant);
    entry.detail = detail;
    if let Err(problem) = done {
        entry.outcome = serde_json::json!(problem.code()).as_str().unwrap_or_default().to_owned();
    }
    if let Err(error) = desk.store.audit(entry).await {
        tracing::error!(%error, action, "what was done with a call is not in the audit log");
    }
}

/// Why a command was not done.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the document is made from it")]
enum Refusals {
    /// There is no such call for this account.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// Not possible as the call stands (`wrong_state`), or Asterisk refused (`pbx_refused`).
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(Problem),
}

/// Who calls whom.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCallBody {
    /// The PBX that makes the call.
    pbx: Uuid,
    /// The number that is called first, in `context`; or give `endpoint`.
    #[schema(max_length = 80, example = "200")]
    from: Option<String>,
    /// The phone that is called first, such as `PJSIP/alice`; or give `from`.
    #[schema(max_length = 170)]
    endpoint: Option<String>,
    /// The number that it is connected to when it answers.
    #[schema(max_length = 80, example = "300")]
    to: String,
    /// The context of the dialplan in which the numbers are dialled.
    #[schema(max_length = 80, example = "internal")]
    context: String,
    /// Who calls, as the first one sees it.
    #[schema(max_length = 80, example = "Reception <100>")]
    caller_id: Option<String>,
    /// How long the first one may ring, in seconds. Default 30.
    #[schema(minimum = 1, maximum = 60)]
    ring_s: Option<u8>,
}

/// Make a call
///
/// Calls the first one, and when it answers, connects it to `to`: with two numbers, click-to-call. Answered when the first
/// channel exists; what becomes of it is told by the events of its session.
#[utoipa::path(post, path = "/calls", tag = TAG, request_body = NewCallBody, responses(
    (status = 201, description = "The call is being made", body = Outcome),
    (status = 404, description = "There is no such PBX for this account", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "Asterisk refused", body = Problem, content_type = "application/problem+json"),
))]
async fn originate(
    State(desk): State<Desk>,
    caller: Caller,
    Json(body): Json<NewCallBody>,
) -> Result<Created<Json<Outcome>>, Problem> {
    let outcome = make_call(&desk, &caller, body).await?;
    let location = match &outcome {
        Outcome::Calling { session: Some(session), .. } => format!("/api/v1/call-sessions/{session}"),
        _ => "/api/v1/call-sessions".to_owned(),
    };
    Ok(Created(location, Json(outcome)))
}

/// Makes a call for a caller who may, and writes the audit log.
pub(crate) async fn make_call(desk: &Desk, caller: &Caller, body: NewCallBody) -> Result<Outcome, Problem> {
    caller.principal.require(Permission::CallsControl)?;
    let first = match (body.from, body.endpoint) {
        (Some(number), None) => First::Number(number),
        (None, Some(endpoint)) => First::Endpoint(endpoint),
        _ => return Err(Problem::invalid("from", "give `from` or `endpoint`, one of them")),
    };
    let (pbx, detail) = (PbxId::from_uuid(body.pbx), serde_json::json!({ "to": body.to, "context": body.context }));
    let call = NewCall {
        pbx,
        first,
        exten: body.to,
        context: body.context,
        caller_id: body.caller_id,
        ring: ring(body.ring_s),
    };
    let done = desk.control.originate(caller.scope(), call).await.map(Outcome::from).map_err(Problem::from);
    if !matches!(&done, Err(problem) if problem.code() == Code::NotFound) {
        note(desk, caller, None, "call.originate", &body.pbx.to_string(), detail, &done).await;
    }
    done
}

macro_rules! operations {
    ($($(#[doc = $doc:literal])* $name:ident $path:literal $body:ty => $command:ident;)*) => {
        $($(#[doc = $doc])*
        #[utoipa::path(
            post,
            path = concat!("/call-sessions/{id}/", $path),
            tag = TAG,
            params(("id" = Uuid, Path, description = "The session")),
            request_body = $body,
            responses((status = 200, description = "What Asterisk did", body = Outcome), Refusals),
        )]
        async fn $name(
            State(desk): State<Desk>,
            caller: Caller,
            Path(id): Path<Uuid>,
            Json(body): Json<$body>,
        ) -> Result<Json<Outcome>, Problem> {
            perform(&desk, &caller, id, Command::$command(body)).await.map(Json)
        })*
    };
}

operations! {
    /// Hang up
    ///
    /// One party's channel, or with an empty body (`{}`) the whole call. Answered when the channels are gone.
    hang_up "hangup" HangUp => Hangup;
    /// Answer
    ///
    /// A caller who waits in the gateway's Stasis application. A channel in the dialplan is answered there, and only there.
    answer "answer" Answer => Answer;
    /// Hold
    ///
    /// Music for one party, who neither hears nor is heard by the others, until `unhold`, or until it leaves its bridge.
    hold "hold" Hold => Hold;
    /// End a hold
    unhold "unhold" Unhold => Unhold;
    /// Mute a party
    ///
    /// What a muted party says is heard by nobody, but it is in the recording of a call that is recorded at its channel.
    mute "mute" Mute => Mute;
    /// Let a party be heard again
    unmute "unmute" Mute => Unmute;
    /// Press keys
    ///
    /// Sent to a party's channel one after the other; answered after the last.
    dtmf "dtmf" Dtmf => Dtmf;
    /// Play
    ///
    /// Into the call, while the parties go on hearing each other. What is played is not in the recording.
    play "play" Play => Play;
    /// Say
    ///
    /// A text, spoken into the call as `play` plays. It can be stopped as what is played can. The same text by the same voice is
    /// spoken once and kept.
    say "say" Say => Say;
    /// Stop what is played
    stop_play "play/stop" StopPlay => PlayStop;
    /// Transfer
    ///
    /// Blind, or attended in two steps. An attended one takes a key for `atxfer` in the PBX's features.conf, and the Dial
    /// option `t` or `T` on the call.
    transfer "transfer" Transfer => Transfer;
    /// Bridge two calls
    ///
    /// A party of this call talks with one of another call of the same PBX; whom they talked with is out.
    bridge "bridge" Bridge => Bridge;
    /// Listen by phone
    ///
    /// Calls a phone and lets it hear the call. Answered when it is picked up, or after some seconds while it still rings.
    snoop "snoop" Snoop => Snoop;
    /// Start, stop, pause or resume the recording
    ///
    /// A pause is answered when nothing more of the call reaches the gateway: what is said from then on is kept nowhere. Each
    /// stretch is a recording of its own, whose certificate says by whose wish it ends or begins; who it was is in the audit
    /// log.
    record "recording" Record => Recording;
}

#[cfg(test)]
mod tests {
    use aimg_gateway::{DIGITS_MAX, MEDIA_MAX, RING_MAX};
    use serde_json::json;

    use super::*;

    #[test]
    fn the_documents_bounds_are_those_that_hold() {
        assert_eq!((DIGITS_MAX, MEDIA_MAX, RING_MAX.as_secs()), (32, 10, 60));
    }

    #[test]
    fn a_message_is_the_same_command_as_a_path() {
        for (message, name) in [
            (json!({ "do": "hangup" }), Some("hangup")),
            (json!({ "do": "answer" }), Some("answer")),
            (json!({ "do": "dtmf", "party": "callee", "digits": "12#" }), Some("dtmf")),
            (json!({ "do": "play", "media": ["sound:beep"] }), Some("play")),
            (json!({ "do": "say", "text": "hello", "interrupt": true }), Some("say")),
            (json!({ "do": "transfer", "kind": "blind", "by": "callee", "exten": "200" }), Some("transfer")),
            (json!({ "do": "transfer", "kind": "complete", "by": "callee" }), Some("transfer")),
            (json!({ "do": "recording", "order": "pause" }), Some("recording")),
            (json!({ "do": "snoop", "endpoint": "PJSIP/a", "party": "caller" }), Some("snoop")),
            (json!({ "do": "transfer", "kind": "blind", "by": "callee" }), None),
            (json!({ "do": "dtmf", "party": "callee", "digits": "1", "duration_ms": 5000 }), None),
            (json!({ "do": "hangup", "who": "callee" }), None),
            (json!({ "do": "answer", "who": "callee" }), None),
            (json!({ "do": "explode" }), None),
        ] {
            let command = serde_json::from_value::<Command>(message.clone()).ok();
            let command = command.and_then(|command| CallCommand::try_from(command).ok());
            assert_eq!(command.map(|command| command.name()), name, "{message}");
        }
    }

    #[test]
    fn keys_are_not_in_the_audit_log() {
        let command = Command::Dtmf(Dtmf { party: both(), digits: "4711".to_owned(), duration_ms: None });
        assert!(!command.detail().to_string().contains("4711"));
    }
}
