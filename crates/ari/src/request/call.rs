//! Channels that begin a call from our side.

use std::collections::BTreeMap;

use aimg_core::Uniqueid;

use super::{DialplanPlace, Method, Request};
use crate::model::Channel;

/// Where an originated channel goes when it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Into an application.
    App {
        /// Its name.
        app: String,
        /// What its StasisStart tells; none may hold a comma.
        args: Vec<String>,
    },
    /// Into the dialplan.
    Dialplan(DialplanPlace),
}

/// A call to an endpoint: the channel is created, dialled, and goes on when it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Originate {
    /// The channel's id, minted by the caller.
    pub id: Uniqueid,
    /// The id of a Local channel's second half.
    pub other_id: Option<Uniqueid>,
    /// Such as `PJSIP/alice` or `Local/100@internal/n`.
    pub endpoint: String,
    /// Where it goes.
    pub arrival: Arrival,
    /// Who calls, as in `Reception <100>`.
    pub caller_id: Option<String>,
    /// How long it may ring, s; Asterisk's default is 30, −1 is for ever.
    pub timeout_s: Option<i32>,
    /// The channel on whose behalf: its Linkedid and tenant are inherited. Not with `formats`.
    pub originator: Option<Uniqueid>,
    /// The formats it may use, such as `ulaw`; Asterisk's own choice when empty. Not with `originator`.
    pub formats: Vec<String>,
    /// Channel variables to set at birth; `_` and `__` before a name inherit it.
    pub variables: BTreeMap<String, String>,
}

impl Originate {
    /// With nothing but what is needed.
    pub fn new(id: Uniqueid, endpoint: impl Into<String>, arrival: Arrival) -> Self {
        Self {
            id,
            other_id: None,
            endpoint: endpoint.into(),
            arrival,
            caller_id: None,
            timeout_s: None,
            originator: None,
            formats: Vec::new(),
            variables: BTreeMap::new(),
        }
    }
}

/// A channel that enters an application before it is dialled, so that it can be bridged first and early media is heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewChannel {
    /// The channel's id, minted by the caller.
    pub id: Uniqueid,
    /// The id of a Local channel's second half.
    pub other_id: Option<Uniqueid>,
    /// Such as `PJSIP/alice`.
    pub endpoint: String,
    /// The application that it enters.
    pub app: String,
    /// What its StasisStart tells; none may hold a comma.
    pub args: Vec<String>,
    /// The channel on whose behalf: its Linkedid and tenant are inherited. Not with `formats`.
    pub originator: Option<Uniqueid>,
    /// The formats it may use; Asterisk's own choice when empty. Not with `originator`.
    pub formats: Vec<String>,
    /// Channel variables to set at birth (Asterisk 16.6 and later).
    pub variables: BTreeMap<String, String>,
}

impl NewChannel {
    /// With nothing but what is needed.
    pub fn new(id: Uniqueid, endpoint: impl Into<String>, app: impl Into<String>) -> Self {
        Self {
            id,
            other_id: None,
            endpoint: endpoint.into(),
            app: app.into(),
            args: Vec::new(),
            originator: None,
            formats: Vec::new(),
            variables: BTreeMap::new(),
        }
    }
}

pub(super) fn originate(call: &Originate) -> Request<Channel> {
    let request = Request::json(Method::Post, &["channels"])
        .query("channelId", &call.id)
        .query_if("otherChannelId", call.other_id.as_ref())
        .query("endpoint", &call.endpoint);
    let request = match &call.arrival {
        Arrival::App { app, args } => request.query("app", app).query_list("appArgs", args),
        Arrival::Dialplan(place) => {
            request.query("context", &place.context).query("extension", &place.exten).query("priority", place.priority)
        }
    };
    request
        .query_if("callerId", call.caller_id.as_ref())
        .query_if("timeout", call.timeout_s)
        .query_if("originator", call.originator.as_ref())
        .query_list("formats", &call.formats)
        .with_variables(&call.variables)
}

pub(super) fn create(channel: &NewChannel) -> Request<Channel> {
    Request::json(Method::Post, &["channels", "create"])
        .query("channelId", &channel.id)
        .query_if("otherChannelId", channel.other_id.as_ref())
        .query("endpoint", &channel.endpoint)
        .query("app", &channel.app)
        .query_list("appArgs", &channel.args)
        .query_if("originator", channel.originator.as_ref())
        .query_list("formats", &channel.formats)
        .with_variables(&channel.variables)
}
