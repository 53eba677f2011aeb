//! One thing done with many calls. Each is answered for itself: what is not possible with one does not keep it from being done
//! with the others.

use aimg_core::SessionId;
use axum::extract::State;
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::TAG;
use super::removal::remove;
use crate::body::Json;
use crate::caller::Caller;
use crate::control::{Command, perform};
use crate::problem::Problem;
use crate::server::Desk;

/// Hang-ups of one request that are under way at once.
const HANGUPS_AT_ONCE: usize = 16;
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

/// Do something with many calls
///
/// Each is answered for itself.
#[utoipa::path(post, path = "/call-sessions/bulk", tag = TAG, operation_id = "change_call_sessions",
    request_body = Bulk, responses((status = 200, description = "What became of each", body = BulkOutcome)))]
pub(super) async fn change(
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

/// Calls that are to end.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BulkHangUp {
    /// Which.
    #[schema(min_items = 1, max_items = 500)]
    ids: Vec<Uuid>,
}

/// Hang up many calls
///
/// All channels of each. Each is answered for itself.
#[utoipa::path(post, path = "/call-sessions/bulk/hangup", tag = TAG, operation_id = "hang_up_call_sessions",
    request_body = BulkHangUp, responses((status = 200, description = "What became of each", body = BulkOutcome)))]
pub(super) async fn hang_up(
    State(desk): State<Desk>,
    caller: Caller,
    Json(BulkHangUp { ids }): Json<BulkHangUp>,
) -> Result<Json<BulkOutcome>, Problem> {
    check_count(&ids)?;
    let each = stream::iter(ids).map(async |id| {
        let problem = perform(&desk, &caller, id, Command::HANG_UP).await.err();
        BulkResult { id, done: problem.is_none(), problem }
    });
    Ok(Json(BulkOutcome { results: each.buffered(HANGUPS_AT_ONCE).collect().await }))
}
