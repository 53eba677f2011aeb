//! Requests about endpoints.

use std::collections::BTreeMap;

use super::{Method, Request};
use crate::model::Endpoint;

/// A text message outside of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The sender's URI, such as `sip:100@example.com`.
    pub from: String,
    /// The text.
    pub body: String,
    /// The technology's own fields.
    pub variables: BTreeMap<String, String>,
}

/// Every endpoint.
pub fn list() -> Request<Vec<Endpoint>> {
    Request::json(Method::Get, &["endpoints"])
}

/// Every endpoint of a technology, such as `PJSIP`; 404 when it is not loaded.
pub fn of_technology(technology: &str) -> Request<Vec<Endpoint>> {
    Request::json(Method::Get, &["endpoints", technology])
}

/// One endpoint.
pub fn one(technology: &str, resource: &str) -> Request<Endpoint> {
    Request::json(Method::Get, &["endpoints", technology, resource])
}

/// Sends a message to a URI, such as `pjsip:alice/sip:alice@10.0.0.7`.
pub fn send_message(to: &str, message: &Message) -> Request<()> {
    said(Request::plain(Method::Put, &["endpoints", "sendMessage"]).query("to", to), message)
}

/// Sends a message to an endpoint.
pub fn send_message_to(technology: &str, resource: &str, message: &Message) -> Request<()> {
    said(Request::plain(Method::Put, &["endpoints", technology, resource, "sendMessage"]), message)
}

/// Asks a URI to call `refer_to` (SIP REFER outside of a call; Asterisk 18.20, 20.5 and later).
pub fn refer(to: &str, from: &str, refer_to: &str, to_self: bool) -> Request<()> {
    Request::plain(Method::Post, &["endpoints", "refer"])
        .query("to", to)
        .query("from", from)
        .query("refer_to", refer_to)
        .query_true("to_self", to_self)
}

/// Asks an endpoint to call `refer_to` (Asterisk 18.20, 20.5 and later).
pub fn refer_endpoint(technology: &str, resource: &str, from: &str, refer_to: &str, to_self: bool) -> Request<()> {
    Request::plain(Method::Post, &["endpoints", technology, resource, "refer"])
        .query("from", from)
        .query("refer_to", refer_to)
        .query_true("to_self", to_self)
}

fn said(request: Request<()>, message: &Message) -> Request<()> {
    request.query("from", &message.from).query("body", &message.body).with_variables(&message.variables)
}
