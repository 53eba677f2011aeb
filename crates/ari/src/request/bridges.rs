//! Requests about bridges.

use aimg_core::Uniqueid;

use super::{Method, Request};
use crate::model::{Bridge, BridgeId};

/// Every bridge of the PBX, those of ordinary calls included.
pub fn list() -> Request<Vec<Bridge>> {
    Request::json(Method::Get, &["bridges"])
}

/// One bridge.
pub fn one(id: &BridgeId) -> Request<Bridge> {
    Request::json(Method::Get, &["bridges", id.as_str()])
}

/// Creates a mixing bridge with our id. A conflict when the id is taken (409; 500 with Asterisk 16).
pub fn create(id: &BridgeId) -> Request<Bridge> {
    Request::json(Method::Post, &["bridges", id.as_str()]).query("type", "mixing")
}

/// Puts channels into a bridge. All of them must be in Stasis (422 before their StasisStart); none is added otherwise.
pub fn add_channels(id: &BridgeId, channels: &[&Uniqueid]) -> Request<()> {
    let channels: Vec<&str> = channels.iter().map(|channel| channel.as_str()).collect();
    Request::plain(Method::Post, &["bridges", id.as_str(), "addChannel"]).query("channel", channels.join(","))
}

/// Takes a channel out of a bridge; 422 when it is not in it.
pub fn remove_channel(id: &BridgeId, channel: &Uniqueid) -> Request<()> {
    Request::plain(Method::Post, &["bridges", id.as_str(), "removeChannel"]).query("channel", channel)
}

/// Destroys a bridge; its channels stay in Stasis without one.
pub fn destroy(id: &BridgeId) -> Request<()> {
    Request::plain(Method::Delete, &["bridges", id.as_str()])
}
