//! Calls are removed with their recordings' files.
//!
//! The files go first and the rows last, so that a removal that was interrupted can be repeated.

use aimg_core::SessionId;
use aimg_store::SessionDetail;
use axum::extract::State;
use axum::http::StatusCode;

use super::TAG;
use crate::body::Path;
use crate::caller::Caller;
use crate::problem::{Code, Problem};
use crate::recordings::remove_files;
use crate::server::Desk;

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

pub(super) async fn remove(desk: &Desk, caller: &Caller, id: SessionId) -> Result<(), Problem> {
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
