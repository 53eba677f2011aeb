//! Calls are removed: with their recordings' files, one or many.
//!
//! The files go first and the rows last, so that a removal that was interrupted can be repeated.

use aimg_core::SessionId;
use aimg_store::SessionDetail;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::TAG;
use crate::body::{Json, Path};
use crate::caller::Caller;
use crate::problem::{Code, Problem};
use crate::recordings::remove_files;
use crate::server::Desk;

/// Calls of one bulk request at most.
pub(super) const IDS_MAX: usize = 500;

/// What is to be done with calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Action {
    /// Delete them with their recordings.
    Delete,
}

/// Something to be done with many calls.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Bulk {
    /// What.
    action: Action,
    /// With which calls.
    #[schema(min_items = 1, max_items = 500)]
    ids: Vec<Uuid>,
}

/// What became of each call.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct BulkOutcome {
    /// As many as were named, in that order.
    results: Vec<BulkResult>,
}

/// What became of one call.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct BulkResult {
    /// The call.
    id: Uuid,
    /// Whether it was done.
    done: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
}

/// Delete a call
///
/// With its channels, events, transcripts and recordings. A call that is going on, or whose recording is still being made,
/// cannot be deleted.
#[utoipa::path(delete, path = "/call-sessions/{id}", tag = TAG, operation_id = "delete_call_session",
    params(("id" = Uuid, Path, description = "The call")), responses(
    (status = 204, description = "It is gone"),
    (status = 404, description = "There is no such call for this account", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "It is still going on, or its recording is not finished", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn one(
    State(desk): State<Desk>,
    caller: Caller,
    Path(id): Path<SessionId>,
) -> Result<StatusCode, Problem> {
    remove(&desk, &caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Do something with many calls
///
/// Each is answered for itself: what is not possible with one does not keep it from being done with the others.
#[utoipa::path(post, path = "/call-sessions/bulk", tag = TAG, operation_id = "change_call_sessions",
    request_body = Bulk, responses((status = 200, description = "What became of each", body = BulkOutcome)))]
pub(super) async fn many(
    State(desk): State<Desk>,
    caller: Caller,
    Json(Bulk { action: Action::Delete, ids }): Json<Bulk>,
) -> Result<Json<BulkOutcome>, Problem> {
    check_count(&ids)?;
    let mut results = Vec::with_capacity(ids.len());
    for id in ids {
        let problem = remove(&desk, &caller, SessionId::from_uuid(id)).await.err();
        results.push(BulkResult { id, done: problem.is_none(), problem });
    }
    Ok(Json(BulkOutcome { results }))
}

/// Refuses none and too many.
pub(super) fn check_count(ids: &[Uuid]) -> Result<(), Problem> {
    if (1..=IDS_MAX).contains(&ids.len()) {
        return Ok(());
    }
    Err(Problem::invalid("ids", format!("name 1 to {IDS_MAX} calls")))
}

async fn remove(desk: &Desk, caller: &Caller, id: SessionId) -> Result<(), Problem> {
    let detail = desk.store.session(caller.scope(), id).await?;
    let SessionDetail { session, recordings, .. } = detail;
    if !session.row.state.is_over() {
        return Err(aimg_store::Error::StillGoingOn { id: id.to_string() }.into());
    }
    if desk.archive.is_unfinished(session.row.tenant, id)? {
        let why = "the recording of this call is not finished; delete the call when it is";
        return Err(Problem::new(Code::WrongState, why));
    }
    remove_files(desk, &session.row.node, recordings).await?;
    desk.store.delete_session(caller.scope(), id).await?;
    desk.store.audit(caller.did("call_session.delete", id)).await?;
    Ok(())
}
