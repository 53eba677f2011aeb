//! `/metrics`: what the gateway counts, as OpenMetrics text, for its operator.

mod collect;
mod families;
mod scrape;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, State};
use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::access;
use crate::connections::count;
use crate::server::Desk;
use collect::ControlCounts;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(crate) async fn metrics(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    if !access::is_operator(desk.config.metrics_token.as_ref(), peer, &headers) {
        count(&desk.counters.refused);
        return refusal(desk.config.metrics_token.is_some());
    }
    let (observed, sockets) = (desk.monitor.observe(), desk.sockets.counts());
    let (connections_max, webhooks) = (desk.config.connections_max, desk.deliveries.observe());
    let control = ControlCounts { outcomes: desk.control.counts(), said: desk.control.said() };
    let scrape = collect::collect(&observed, &desk.counters, connections_max, &sockets, &webhooks, &control);
    ([(CONTENT_TYPE, OPEN_METRICS)], scrape.text()).into_response()
}

fn refusal(has_token: bool) -> Response {
    if has_token {
        let why = "metrics are the operator's: show http.metrics_token as a bearer token\n";
        return (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], why).into_response();
    }
    let why = "metrics are for clients on this machine only: set http.metrics_token to read them from elsewhere\n";
    (StatusCode::FORBIDDEN, why).into_response()
}
