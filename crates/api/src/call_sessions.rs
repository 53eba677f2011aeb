//! `/api/v1/call-sessions`: calls, past and going on.

mod bulk;
mod export;
mod filter;
mod removal;

use aimg_core::{
    CallDirection, CallEvent, CallEventKind, CallState, LegRow, Permission, SessionId, SessionRow, Timestamp,
};
use aimg_store::{SessionDetail, SessionFilter, StoredSession};
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::body::{Json, Path, Query};
use crate::caller::Caller;
use crate::guard::needs;
use crate::page::{Page, Place, limit};
use crate::problem::Problem;
use crate::recordings::Recording;
use crate::schema::{CallDirectionSchema, CallStateSchema, Time, with_times_shown};
use crate::server::Desk;
use filter::{ListQuery, LiveQuery};

const TAG: &str = "call-sessions";

pub(crate) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new()
        .routes(needs(Permission::CallsMonitor, routes!(list)))
        .routes(needs(Permission::CallsMonitor, routes!(live)))
        .routes(needs(Permission::CallsMonitor, routes!(show)))
        .routes(needs(Permission::AnalyticsExport, routes!(export::by_filter)))
        .routes(needs(Permission::AnalyticsExport, routes!(export::by_ids)))
        .routes(needs(Permission::RecordingsDelete, routes!(removal::one)))
        .routes(needs(Permission::CallsControl, routes!(bulk::hang_up)))
        .routes(needs(Permission::RecordingsDelete, routes!(bulk::change)))
}

/// A call.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct CallSession {
    /// Its id.
    id: Uuid,
    /// Whose call it is.
    tenant: Uuid,
    /// Where the call is.
    pbx: Uuid,
    /// Asterisk's id of its first channel.
    uniqueid: String,
    /// Asterisk's id that its channels share.
    linkedid: String,
    /// Where it stands.
    #[schema(value_type = CallStateSchema)]
    state: CallState,
    /// Whether it came in or went out.
    #[schema(value_type = CallDirectionSchema)]
    direction: CallDirection,
    /// The caller's number, if Asterisk told one.
    caller_number: Option<String>,
    /// The number that was dialled, if any.
    dialled_number: Option<String>,
    /// The dialplan context in which it began.
    context: Option<String>,
    /// When it was detected.
    started_at: Time,
    /// When its first channel went up.
    answered_at: Option<Time>,
    /// When its last channel was gone.
    ended_at: Option<Time>,
    /// From its start to its end, in milliseconds.
    duration_ms: Option<u64>,
    /// From its answer to its end, in milliseconds.
    talk_ms: Option<u64>,
    /// Asterisk's hangup cause (Q.850) of its first channel.
    hangup_cause: Option<u16>,
    /// The node that holds it.
    node: String,
    /// Whether it is captured: by the tenant's rule, or because somebody asked.
    captured: bool,
}

/// A call that is going on.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct LiveCall {
    /// The call.
    #[serde(flatten)]
    session: CallSession,
    /// Both ledgers of its capture, `caller` and `callee`, as they stood some seconds ago: packets `expected`, `received`,
    /// `lost`, `late`, `duplicate`, `kernel_dropped`, `dropped_by_us`. Null where nothing is captured.
    live: Option<Value>,
}

/// A channel of a call.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Leg {
    /// Asterisk's id of the channel.
    uniqueid: String,
    /// The channel's name, such as `PJSIP/alice-00000001`.
    name: String,
    /// The number of the party at its end, if Asterisk told one.
    caller_number: Option<String>,
    /// When it joined.
    joined_at: Time,
    /// When it was gone.
    left_at: Option<Time>,
    /// Asterisk's hangup cause (Q.850).
    hangup_cause: Option<u16>,
}

/// Something that happened to a call.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Event {
    /// When.
    at: Time,
    /// What, such as `leg_joined` or `recording_ready`.
    event: &'static str,
    /// What else is known of it; its fields depend on `event`.
    #[schema(value_type = Object)]
    data: Value,
}

/// All that is known of a call.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct CallDetail {
    /// The call.
    #[serde(flatten)]
    session: CallSession,
    /// Both ledgers as they were last seen while the capture ran; those that count are in the recordings' certificates.
    live: Option<Value>,
    /// Its channels, in the order in which they joined.
    legs: Vec<Leg>,
    /// What happened, in order.
    events: Vec<Event>,
    /// Its recordings, by part, with their certificates.
    recordings: Vec<Recording>,
}

/// List calls
///
/// The newest first, in pages. What is set narrows the list.
#[utoipa::path(get, path = "/call-sessions", tag = TAG, operation_id = "list_call_sessions", params(ListQuery), responses(
    (status = 200, description = "Calls", body = Page<CallSession>),
    (status = 422, description = "A parameter is not allowed; `field` names it", body = Problem, content_type = "application/problem+json"),
))]
async fn list(
    State(desk): State<Desk>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<CallSession>>, Problem> {
    let limit = limit(query.limit)?;
    let filter = SessionFilter { limit: Some(limit + 1), ..query.filter()? };
    let sessions = desk.store.sessions(caller.scope(), filter).await?;
    Ok(Json(Page::of(sessions, limit, place)))
}

/// List calls that are going on
///
/// With the ledgers of their captures.
#[utoipa::path(get, path = "/call-sessions/live", tag = TAG, operation_id = "list_live_calls", params(LiveQuery), responses(
    (status = 200, description = "Calls", body = Page<LiveCall>),
    (status = 422, description = "A parameter is not allowed; `field` names it", body = Problem, content_type = "application/problem+json"),
))]
async fn live(
    State(desk): State<Desk>,
    caller: Caller,
    Query(query): Query<LiveQuery>,
) -> Result<Json<Page<LiveCall>>, Problem> {
    let limit = limit(query.limit)?;
    let filter = SessionFilter { limit: Some(limit + 1), ..query.filter()? };
    let sessions = desk.store.sessions(caller.scope(), filter).await?;
    Ok(Json(Page::of(sessions, limit, place)))
}

/// Show a call
///
/// With its channels, events, ledgers and recordings.
#[utoipa::path(get, path = "/call-sessions/{id}", tag = TAG, operation_id = "show_call_session",
    params(("id" = Uuid, Path, description = "The call")), responses(
    (status = 200, description = "The call", body = CallDetail),
    (status = 404, description = "There is no such call for this account", body = Problem, content_type = "application/problem+json"),
))]
async fn show(
    State(desk): State<Desk>,
    caller: Caller,
    Path(id): Path<SessionId>,
) -> Result<Json<CallDetail>, Problem> {
    let SessionDetail { session, legs, events, recordings } = desk.store.session(caller.scope(), id).await?;
    Ok(Json(CallDetail {
        session: session.row.into(),
        live: session.live,
        legs: legs.into_iter().map(Leg::from).collect(),
        events: events.into_iter().map(Event::from).collect(),
        recordings: recordings.into_iter().map(Recording::with_certificate).collect(),
    }))
}

fn place(session: &StoredSession) -> Place {
    Place { at: session.row.started_at, session: session.row.id, part: 0 }
}

fn ms_between(from: Option<Timestamp>, to: Option<Timestamp>) -> Option<u64> {
    Some(u64::try_from(to?.since(from?).as_millis()).unwrap_or(u64::MAX))
}

impl From<SessionRow> for CallSession {
    fn from(row: SessionRow) -> Self {
        Self {
            id: row.id.as_uuid(),
            tenant: row.tenant.as_uuid(),
            pbx: row.pbx.as_uuid(),
            uniqueid: row.uniqueid.to_string(),
            linkedid: row.linkedid.to_string(),
            state: row.state,
            direction: row.call_direction,
            caller_number: row.caller_number,
            dialled_number: row.dialled_number,
            context: row.context,
            started_at: Time(row.started_at),
            answered_at: row.answered_at.map(Time),
            ended_at: row.ended_at.map(Time),
            duration_ms: ms_between(Some(row.started_at), row.ended_at),
            talk_ms: ms_between(row.answered_at, row.ended_at),
            hangup_cause: row.hangup_cause,
            node: row.node.to_string(),
            captured: row.captured,
        }
    }
}

impl From<StoredSession> for CallSession {
    fn from(stored: StoredSession) -> Self {
        stored.row.into()
    }
}

impl From<StoredSession> for LiveCall {
    fn from(stored: StoredSession) -> Self {
        Self { session: stored.row.into(), live: stored.live }
    }
}

impl From<LegRow> for Leg {
    fn from(row: LegRow) -> Self {
        Self {
            uniqueid: row.uniqueid.to_string(),
            name: row.name,
            caller_number: row.caller_number,
            joined_at: Time(row.joined_at),
            left_at: row.left_at.map(Time),
            hangup_cause: row.hangup_cause,
        }
    }
}

impl From<CallEvent> for Event {
    fn from(event: CallEvent) -> Self {
        Self { at: Time(event.at), event: event.kind.name(), data: data_of(&event.kind) }
    }
}

/// The fields of an event without its name.
fn data_of(kind: &CallEventKind) -> Value {
    let mut data = serde_json::to_value(kind).unwrap_or_default();
    if let Some(fields) = data.as_object_mut() {
        fields.remove("event");
    }
    with_times_shown(data)
}
