//! Endpoints, their contacts and messages, devices, mailboxes.

use std::collections::BTreeMap;

use aimg_core::Uniqueid;
use serde::Deserialize;

/// What can be dialled.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Endpoint {
    /// Such as `PJSIP`.
    pub technology: String,
    /// Such as `alice`.
    pub resource: String,
    /// `online`, `offline` or `unknown`.
    #[serde(default)]
    pub state: Option<String>,
    /// Its channels.
    #[serde(default)]
    pub channel_ids: Vec<Uniqueid>,
}

/// Where an endpoint is registered.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ContactInfo {
    /// Its address.
    pub uri: String,
    /// Such as `Reachable`, `Unreachable` or `NonQualified`.
    #[serde(default)]
    pub contact_status: String,
    /// The address of record.
    #[serde(default)]
    pub aor: String,
    /// How long it takes to answer, µs, in digits.
    #[serde(default)]
    pub roundtrip_usec: Option<String>,
}

/// The state of a peer (technologies before PJSIP, and contacts).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Peer {
    /// Such as `Registered`, `Unregistered`, `Reachable` or `Lagged`.
    pub peer_status: String,
    /// Why.
    #[serde(default)]
    pub cause: Option<String>,
    /// Its address.
    #[serde(default)]
    pub address: Option<String>,
    /// Its port.
    #[serde(default)]
    pub port: Option<String>,
    /// How long it takes to answer, ms, in digits.
    #[serde(default)]
    pub time: Option<String>,
}

/// A text message outside of a call.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TextMessage {
    /// The sender's URI.
    pub from: String,
    /// The receiver's URI.
    pub to: String,
    /// The text.
    #[serde(default)]
    pub body: String,
    /// The technology's own fields.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
}

/// A device, as the dialplan's hints see it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct DeviceState {
    /// Such as `PJSIP/alice` or `Stasis:door`.
    pub name: String,
    /// Such as `NOT_INUSE`, `INUSE`, `BUSY`, `RINGING`, `ONHOLD`, `UNAVAILABLE`, `INVALID` or `UNKNOWN`.
    #[serde(default)]
    pub state: String,
}

/// A mailbox that an application keeps (`res_stasis_mailbox.so`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Mailbox {
    /// Its name.
    pub name: String,
    /// Messages that were heard.
    #[serde(default)]
    pub old_messages: u32,
    /// Messages that were not.
    #[serde(default)]
    pub new_messages: u32,
}
