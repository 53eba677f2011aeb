//! Requests about Stasis applications.

use super::{Method, Request};
use crate::model::Application;

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
