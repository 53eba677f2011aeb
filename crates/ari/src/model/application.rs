//! Stasis applications.

use aimg_core::Uniqueid;
use serde::{Deserialize, Serialize};

use super::{BridgeId, Extra};

/// A Stasis application.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Application {
    /// Its name.
    pub name: String,
    /// The channels it is subscribed to.
    #[serde(default)]
    pub channel_ids: Vec<Uniqueid>,
    /// The bridges it is subscribed to.
    #[serde(default)]
    pub bridge_ids: Vec<BridgeId>,
    /// The endpoints it is subscribed to, such as `PJSIP/alice`.
    #[serde(default)]
    pub endpoint_ids: Vec<String>,
    /// The devices it is subscribed to.
    #[serde(default)]
    pub device_names: Vec<String>,
    /// The only event types it gets, if there are any (Asterisk 16.3 and later).
    #[serde(default)]
    pub events_allowed: Vec<EventType>,
    /// Event types that it does not get (Asterisk 16.3 and later).
    #[serde(default)]
    pub events_disallowed: Vec<EventType>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The type of an event, in an application's filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventType {
    /// Such as `ChannelVarset`.
    #[serde(rename = "type")]
    pub name: String,
}
