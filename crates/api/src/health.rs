//! `/healthz`: this process lives. `/readyz`: it can capture the next call, or why not.

use std::net::SocketAddr;

use aimg_core::PbxId;
use aimg_gateway::Impediment;
use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::access;
use crate::server::Desk;

/// The body of `/readyz`.
#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    /// What stands in the way; of PBXs also when others work. Nothing for those who may not read `/metrics`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reasons: Option<Vec<Reason>>,
}

#[derive(Debug, Serialize)]
struct Reason {
    what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pbx: Option<Pbx>,
    reason: String,
}

#[derive(Debug, Serialize)]
struct Pbx {
    id: PbxId,
    name: String,
}

pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Everybody may know whether, the operator also why not.
pub(crate) async fn readyz(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    let impediments = desk.monitor.impediments();
    let ready = !impediments.iter().any(|impediment| impediment.is_fatal);
    let is_operator = access::is_operator(desk.config.metrics_token.as_ref(), peer, &headers);
    let reasons = is_operator.then(|| impediments.into_iter().map(Reason::from).collect());
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, reasons })).into_response()
}

impl From<Impediment> for Reason {
    fn from(impediment: Impediment) -> Self {
        let Impediment { is_fatal: _, what, pbx, reason } = impediment;
        Self { what, pbx: pbx.map(|(id, name)| Pbx { id, name }), reason }
    }
}
