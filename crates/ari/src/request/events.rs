//! Requests about events; the stream itself is the [`crate::Client`]'s.

use std::collections::BTreeMap;

use aimg_core::Uniqueid;

use super::{Method, Request};

/// Sends `ChannelUserevent` to an application. It shows the objects that `sources` name, such as `channel:1763900000.12`; 404
/// when the application is not registered, 422 when an object is gone.
pub fn user_event(name: &str, app: &str, sources: &[&str], variables: &BTreeMap<String, String>) -> Request<()> {
    Request::plain(Method::Post, &["events", "user", name])
        .query("application", app)
        .query_list("source", sources)
        .with_variables(variables)
}

/// Takes a channel that `StasisBroadcast` offers to several applications (Asterisk 20.17, 22.7, 23.1 and later). A conflict
/// when another was faster.
pub fn claim(channel: &Uniqueid, app: &str) -> Request<()> {
    Request::plain(Method::Post, &["events", "claim"]).query("channelId", channel).query("application", app)
}
