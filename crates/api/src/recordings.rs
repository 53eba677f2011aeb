//! `/api/v1/recordings`: the recordings of calls, their audio and their certificates.

mod audio;
mod ranges;

use aimg_core::{NodeId, PbxId, Permission, SessionId, TenantId, TranscriptId};
use aimg_store::{Change, RecordingFilter, RecordingPlace, RecordingRow, TranscriptRow, TranscriptState};
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::fmt;
use std::str::FromStr;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::body::{Json, Path, Query};
use crate::caller::Caller;
use crate::guard::needs;
use crate::page::{Order, Page, Place, limit};
use crate::problem::{Code, Problem};
use crate::schema::{Time, parsed, with_times_shown};
use crate::server::Desk;

const TAG: &str = "recordings";

pub(crate) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new()
        .routes(needs(Permission::RecordingsListen, routes!(list)))
        .routes(needs(Permission::RecordingsListen, routes!(show)))
        .routes(needs(Permission::RecordingsListen, routes!(certificate)))
        .routes(needs(Permission::RecordingsListen, routes!(audio::audio)))
        .routes(needs(Permission::RecordingsCreate, routes!(transcribe_again)))
        .routes(needs(Permission::RecordingsDelete, routes!(delete)))
}

/// A recording's id: the session's, and the part of its capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RecordingId {
    session: SessionId,
    part: u16,
}

impl fmt::Display for RecordingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.session, self.part)
    }
}

impl FromStr for RecordingId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WHY: &str = "not an id such as 0198c1de-1111-7000-8000-000000000000.0";
        let (session, part) = text.split_once('.').ok_or(WHY)?;
        Ok(Self { session: session.parse().map_err(|_| WHY)?, part: part.parse().map_err(|_| WHY)? })
    }
}

impl<'de> Deserialize<'de> for RecordingId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer)
    }
}

/// The recording of one part of a call's capture: stereo, left the caller, right the callee.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Recording {
    /// Its id: the call's, a dot, and the part.
    id: String,
    /// The call.
    session: Uuid,
    /// The part of the call's capture. A call has several where the gateway was restarted, the recording was paused, or the
    /// call changed hands.
    part: u16,
    /// Whose it is.
    tenant: Uuid,
    /// Where the call was.
    pbx: Uuid,
    /// Whether nothing at all is missing.
    complete: bool,
    /// How long it plays, in milliseconds.
    duration_ms: u64,
    /// The file's size.
    bytes: u64,
    /// When it was finished.
    created_at: Time,
    /// The capture certificate: both ledgers, the head gap, and why it is not complete. In lists it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<Value>,
}

impl From<RecordingRow> for Recording {
    fn from(row: RecordingRow) -> Self {
        Self {
            id: id_of(&row).to_string(),
            session: row.session.as_uuid(),
            part: row.part,
            tenant: row.tenant.as_uuid(),
            pbx: row.pbx.as_uuid(),
            complete: row.complete,
            duration_ms: row.duration_ms,
            bytes: row.bytes,
            created_at: Time(row.created_at),
            certificate: None,
        }
    }
}

impl Recording {
    /// With all that is known of it.
    pub(crate) fn with_certificate(mut row: RecordingRow) -> Self {
        let certificate = with_times_shown(row.certificate.take());
        Self { certificate: Some(certificate), ..row.into() }
    }
}

/// Which recordings a list shows.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Of this tenant: for a super admin, who sees all.
    tenant: Option<Uuid>,
    /// Of calls on this PBX.
    pbx: Option<Uuid>,
    /// Of this call: its parts.
    session: Option<Uuid>,
    /// Those from which nothing is missing, or the others.
    complete: Option<bool>,
    /// Finished at this time or later.
    created_from: Option<Time>,
    /// Finished before this time.
    created_before: Option<Time>,
    /// Which come first.
    order: Option<Order>,
    /// The `next` of the page before.
    after: Option<String>,
    /// Rows of a page.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u64>,
}

/// List recordings
///
/// The newest first, in pages.
#[utoipa::path(get, path = "/recordings", tag = TAG, operation_id = "list_recordings", params(ListQuery), responses(
    (status = 200, description = "Recordings", body = Page<Recording>),
    (status = 422, description = "A parameter is not allowed; `field` names it", body = Problem, content_type = "application/problem+json"),
))]
async fn list(
    State(desk): State<Desk>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<Page<Recording>>, Problem> {
    let limit = limit(query.limit)?;
    let after = Place::of_cursor(query.after.as_deref())?;
    let filter = RecordingFilter {
        tenant: query.tenant.map(TenantId::from_uuid),
        pbx: query.pbx.map(PbxId::from_uuid),
        session: query.session.map(SessionId::from_uuid),
        complete: query.complete,
        created_from: query.created_from.map(|at| at.0),
        created_before: query.created_before.map(|at| at.0),
        after: after.map(|Place { at, session, part }| RecordingPlace { created_at: at, session, part }),
        oldest_first: query.order == Some(Order::Oldest),
        limit: Some(limit + 1),
    };
    let rows = desk.store.recordings(caller.scope(), filter).await?;
    Ok(Json(Page::of(rows, limit, |row| Place { at: row.created_at, session: row.session, part: row.part })))
}

/// Show a recording
///
/// With its certificate.
#[utoipa::path(get, path = "/recordings/{id}", tag = TAG, operation_id = "show_recording",
    params(("id" = String, Path, description = "The recording")), responses(
    (status = 200, description = "The recording", body = Recording),
    (status = 404, description = "There is no such recording for this account", body = Problem, content_type = "application/problem+json"),
))]
async fn show(
    State(desk): State<Desk>,
    caller: Caller,
    Path(id): Path<RecordingId>,
) -> Result<Json<Recording>, Problem> {
    Ok(Json(Recording::with_certificate(row(&desk, &caller, id).await?)))
}

/// Show a recording's certificate
///
/// What was captured, what is missing, and where it was lost.
#[utoipa::path(get, path = "/recordings/{id}/certificate", tag = TAG, operation_id = "show_certificate",
    params(("id" = String, Path, description = "The recording")), responses(
    (status = 200, description = "The certificate", body = Object),
    (status = 404, description = "There is no such recording for this account", body = Problem, content_type = "application/problem+json"),
))]
async fn certificate(
    State(desk): State<Desk>,
    caller: Caller,
    Path(id): Path<RecordingId>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(with_times_shown(row(&desk, &caller, id).await?.certificate)))
}

/// How a recording is to be transcribed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Transcribe {
    /// By whom: `riva`, `http`, `websocket` or `local`. Absent: by the first one that is set up.
    #[schema(max_length = 32, example = "local")]
    recogniser: Option<String>,
    /// The language that is spoken, as BCP 47. Absent: what the recogniser is set up for.
    #[schema(max_length = 35, example = "en-US")]
    language: Option<String>,
    /// The recogniser's model, by its own name for it. Absent: its default for the language.
    #[schema(max_length = 128)]
    model: Option<String>,
}

/// What was begun.
#[derive(Debug, Serialize, ToSchema)]
struct Transcribing {
    /// The transcript: its `state` says when it is done. The session's text is that of the newest one that is done.
    transcript: Uuid,
}

/// Transcribe a recording again
///
/// The text is made in the background, of the recording as it is on the disk. Earlier transcripts stay.
#[utoipa::path(post, path = "/recordings/{id}/re-transcribe", tag = TAG, operation_id = "transcribe_recording_again",
    params(("id" = String, Path, description = "The recording")), request_body = Transcribe, responses(
    (status = 202, description = "It is being transcribed", body = Transcribing),
    (status = 404, description = "There is no such recording for this account", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "A field is not allowed; `field` names it", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "No recogniser is set up", body = Problem, content_type = "application/problem+json"),
))]
async fn transcribe_again(
    State(desk): State<Desk>,
    caller: Caller,
    Path(id): Path<RecordingId>,
    Json(wanted): Json<Transcribe>,
) -> Result<(StatusCode, Json<Transcribing>), Problem> {
    let recording = row(&desk, &caller, id).await?;
    let text = |field: &'static str, text: Option<String>, bytes_max: usize| match text {
        Some(text) if text.is_empty() || text.len() > bytes_max => {
            Err(Problem::invalid(field, format!("1 to {bytes_max} bytes")))
        }
        text => Ok(text),
    };
    let (language, model) = (text("language", wanted.language, 35)?, text("model", wanted.model, 128)?);
    let recogniser = match &wanted.recogniser {
        None => desk.speech.recognisers().first(),
        Some(name) => Some(desk.speech.recogniser(name).ok_or_else(|| {
            let known: Vec<_> = desk.speech.recognisers().iter().map(|known| known.name()).collect();
            let why = format!("this recogniser is not set up here; there are: {}", known.join(", "));
            Problem::invalid("recogniser", why)
        })?),
    };
    let none = "no recogniser is set up: `aimg models pull` brings a local one, RIVA_ASR_URI names NVIDIA Riva";
    let provider = recogniser.ok_or_else(|| Problem::new(Code::NotAvailable, none))?.name().to_owned();
    let transcript = TranscriptRow {
        id: TranscriptId::from_uuid(Uuid::now_v7()),
        tenant: recording.tenant,
        session: id.session,
        part: id.part,
        provider,
        model,
        language,
        state: TranscriptState::Running,
        failure: None,
        created_at: crate::clock::now(),
        finished_at: None,
    };
    let begun = transcript.id;
    desk.store.apply(caller.scope(), &[Change::Transcript(Box::new(transcript))]).await?;
    desk.store.audit(caller.did("recording.transcribe", id)).await?;
    Ok((StatusCode::ACCEPTED, Json(Transcribing { transcript: begun.as_uuid() })))
}

/// Delete a recording
///
/// Its audio and its certificate; the call stays.
#[utoipa::path(delete, path = "/recordings/{id}", tag = TAG, operation_id = "delete_recording",
    params(("id" = String, Path, description = "The recording")), responses(
    (status = 204, description = "It is gone"),
    (status = 404, description = "There is no such recording for this account", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "Its file is on another node", body = Problem, content_type = "application/problem+json"),
))]
async fn delete(State(desk): State<Desk>, caller: Caller, Path(id): Path<RecordingId>) -> Result<StatusCode, Problem> {
    let row = row(&desk, &caller, id).await?;
    let session = desk.store.session(caller.scope(), id.session).await?.session;
    remove_files(&desk, &session.row.node, vec![row]).await?;
    desk.store.forget_recordings(caller.scope(), &[(id.session, id.part)]).await?;
    desk.store.audit(caller.did("recording.delete", id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn row(desk: &Desk, caller: &Caller, id: RecordingId) -> Result<RecordingRow, Problem> {
    Ok(desk.store.recording(caller.scope(), id.session, id.part).await?)
}

fn id_of(row: &RecordingRow) -> RecordingId {
    RecordingId { session: row.session, part: row.part }
}

/// Removes the files of recordings that `node` made. What is gone already is no matter, unless it is another node's.
pub(crate) async fn remove_files(desk: &Desk, node: &NodeId, recordings: Vec<RecordingRow>) -> Result<(), Problem> {
    if node != desk.archive.node() && !recordings.is_empty() {
        let why = format!("the recording is on the disk of node {node}: ask that one to delete it");
        return Err(Problem::new(Code::WrongState, why));
    }
    let archive = desk.archive.clone();
    let removed = move || recordings.iter().try_for_each(|recording| archive.remove(&recording.path));
    Ok(tokio::task::spawn_blocking(removed).await.map_err(defect)??)
}

fn defect(error: tokio::task::JoinError) -> Problem {
    tracing::error!(%error, "a recording's file failed under a request");
    Problem::new(Code::Defect, "the gateway's log says more")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_shown() {
        let id = "0198c1de-1111-7000-8000-000000000000.3";
        assert_eq!(id.parse::<RecordingId>().unwrap().to_string(), id);
        for bad in ["", "0198c1de-1111-7000-8000-000000000000", ".1", "x.1", &format!("{id}.4"), &format!("{id}99999")]
        {
            assert!(bad.parse::<RecordingId>().is_err(), "{bad}");
        }
    }
}
