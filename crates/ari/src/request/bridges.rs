//! Requests about bridges.

use std::collections::BTreeMap;
use std::fmt;

use aimg_core::Uniqueid;
use serde_json::json;

use super::{Method, Play, Record, Request};
use crate::model::{Bridge, BridgeId, LiveRecording, Playback, PlaybackId, Variable, Variables};

/// What a bridge does with its channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BridgeKind {
    /// All hear all.
    Mixing,
    /// All wait, and hear music or what is played.
    Holding,
    /// Keys are told as events; with it no media passes natively between channels.
    DtmfEvents,
    /// Media always passes through Asterisk.
    ProxyMedia,
}

impl fmt::Display for BridgeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mixing => "mixing",
            Self::Holding => "holding",
            Self::DtmfEvents => "dtmf_events",
            Self::ProxyMedia => "proxy_media",
        })
    }
}

/// How a channel takes part in a bridge. The default is as anybody else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// In a holding bridge: `participant` or `announcer`.
    pub role: Option<String>,
    /// Its keys are not heard by the others.
    pub absorbs_dtmf: bool,
    /// It only listens.
    pub is_mute: bool,
    /// Nobody is told who it is connected to (Asterisk 18 and later; others ignore it).
    pub inhibits_connected_line: bool,
}

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

/// Creates a bridge of several kinds at once, such as mixing with DTMF events, or changes what it is called. 409 as
/// [`create`].
pub fn create_as(id: &BridgeId, kinds: &[BridgeKind], name: Option<&str>) -> Request<Bridge> {
    let kinds: Vec<String> = kinds.iter().map(ToString::to_string).collect();
    Request::json(Method::Post, &["bridges", id.as_str()]).query_list("type", &kinds).query_if("name", name)
}

/// Puts channels into a bridge. All of them must be in Stasis (422 before their StasisStart); none is added otherwise.
pub fn add_channels(id: &BridgeId, channels: &[&Uniqueid]) -> Request<()> {
    let channels: Vec<&str> = channels.iter().map(|channel| channel.as_str()).collect();
    Request::plain(Method::Post, &["bridges", id.as_str(), "addChannel"]).query("channel", channels.join(","))
}

/// The same, with a role in the bridge.
pub fn add_channels_as(id: &BridgeId, channels: &[&Uniqueid], membership: &Membership) -> Request<()> {
    add_channels(id, channels)
        .query_if("role", membership.role.as_ref())
        .query_true("absorbDTMF", membership.absorbs_dtmf)
        .query_true("mute", membership.is_mute)
        .query_true("inhibitConnectedLineUpdates", membership.inhibits_connected_line)
}

/// Takes a channel out of a bridge; 422 when it is not in it.
pub fn remove_channel(id: &BridgeId, channel: &Uniqueid) -> Request<()> {
    Request::plain(Method::Post, &["bridges", id.as_str(), "removeChannel"]).query("channel", channel)
}

/// Destroys a bridge; its channels stay in Stasis without one.
pub fn destroy(id: &BridgeId) -> Request<()> {
    Request::plain(Method::Delete, &["bridges", id.as_str()])
}

/// Plays to everybody in a bridge. Needs `chan_bridge_media.so` (500 otherwise). The answer comes when it is queued; [`crate::EventKind::PlaybackFinished`] tells the end.
pub fn play(id: &BridgeId, playback: &PlaybackId, play: &Play) -> Request<Playback> {
    play.asked(Request::json(Method::Post, &["bridges", id.as_str(), "play", playback.as_str()]))
}

/// Records what everybody in a bridge hears. Needs `chan_bridge_media.so`, and Asterisk's directory of recordings to exist
/// (500 otherwise).
pub fn record(id: &BridgeId, record: &Record) -> Request<LiveRecording> {
    record.asked(Request::json(Method::Post, &["bridges", id.as_str(), "record"]))
}

/// Plays music to everybody in a bridge: of a class of musiconhold.conf, or the default.
pub fn start_moh(id: &BridgeId, class: Option<&str>) -> Request<()> {
    Request::plain(Method::Post, &["bridges", id.as_str(), "moh"]).query_if("mohClass", class)
}

/// Ends the music.
pub fn stop_moh(id: &BridgeId) -> Request<()> {
    Request::plain(Method::Delete, &["bridges", id.as_str(), "moh"])
}

/// The value of a bridge's variable (Asterisk 20.20, 22.10, 23.4 and later).
pub fn variable(id: &BridgeId, name: &str) -> Request<Variable> {
    Request::json(Method::Get, &["bridges", id.as_str(), "variable"]).query("variable", name)
}

/// Sets a bridge's variable (Asterisk 20.20, 22.10, 23.4 and later).
pub fn set_variable(id: &BridgeId, name: &str, value: &str) -> Request<()> {
    Request::plain(Method::Post, &["bridges", id.as_str(), "variable"])
        .with_body(json!({"variable": name, "value": value}))
}

/// The values of several variables of a bridge; 404 when one is not set (Asterisk 20.20, 22.10, 23.4 and later).
pub fn variables(id: &BridgeId, names: &[&str]) -> Request<Variables> {
    Request::json(Method::Get, &["bridges", id.as_str(), "variables"]).query_list("variables", names)
}

/// Sets several variables of a bridge (Asterisk 20.20, 22.10, 23.4 and later).
pub fn set_variables(id: &BridgeId, variables: &BTreeMap<String, String>) -> Request<()> {
    Request::plain(Method::Post, &["bridges", id.as_str(), "variables"]).with_body(json!({"variables": variables}))
}
