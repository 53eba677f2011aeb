//! Requests about Stasis applications.

use serde_json::json;

use super::{Method, Request};
use crate::model::{Application, EventType};

/// Every registered application.
pub fn list() -> Request<Vec<Application>> {
    Request::json(Method::Get, &["applications"])
}

/// One application; 404 when no program has registered it.
pub fn one(app: &str) -> Request<Application> {
    Request::json(Method::Get, &["applications", app])
}

/// Subscribes the application to `channel:{id}`, `bridge:{id}`, `endpoint:{tech}/{resource}`; `channel:` and the like, with
/// nothing behind the colon, means all of them.
pub fn subscribe(app: &str, sources: &[&str]) -> Request<Application> {
    Request::json(Method::Post, &["applications", app, "subscription"]).query("eventSource", sources.join(","))
}

/// The reverse of [`subscribe`].
pub fn unsubscribe(app: &str, sources: &[&str]) -> Request<Application> {
    Request::json(Method::Delete, &["applications", app, "subscription"]).query("eventSource", sources.join(","))
}

/// Keeps event types from an application, or all others: where `allowed` has any, it gets those alone; then it does not get
/// the `disallowed`. Two empty lists end the filter. Asterisk 16.3 and later.
pub fn filter(app: &str, allowed: &[EventType], disallowed: &[EventType]) -> Request<Application> {
    Request::json(Method::Put, &["applications", app, "eventFilter"])
        .with_body(json!({"allowed": allowed, "disallowed": disallowed}))
}
