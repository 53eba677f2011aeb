//! Requests about channels.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use aimg_core::{Codec, Uniqueid};
use serde_json::json;

use super::{Method, Request};
use crate::model::{Channel, RtpStatistics, Variable};

/// Which of a channel's audio a snoop hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spy {
    /// Audio coming from the channel: what its party says.
    In,
    /// Audio going to the channel: what its party hears.
    Out,
    /// Both mixed; loses audio before Asterisk 20.12, 21.7 and 22.2 (issue #851).
    Both,
}

impl fmt::Display for Spy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::In => "in",
            Self::Out => "out",
            Self::Both => "both",
        })
    }
}

/// A channel that sends its audio as RTP over UDP to an address of ours.
#[derive(Clone, Debug)]
pub struct ExternalMedia {
    /// Its id, minted by the caller.
    pub id: Uniqueid,
    /// The application it enters.
    pub app: String,
    /// Where Asterisk sends to: an address, not a name, because Asterisk resolves names while everything waits.
    pub external_host: SocketAddr,
    /// The encoding. `slin` silently becomes µ-law before Asterisk 18.21, 20.6 and 21.1 (issue #394).
    pub format: Codec,
    /// Channel variables to set at birth.
    pub variables: BTreeMap<String, String>,
}

/// Where in the dialplan a channel goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialplanPlace {
    /// The context.
    pub context: String,
    /// The extension.
    pub exten: String,
    /// The priority, from 1.
    pub priority: u32,
}

/// Why a channel is hung up, as its party is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HangupReason {
    /// Normal clearing (Q.850 cause 16).
    #[default]
    Normal,
    /// Busy (17).
    Busy,
    /// Congestion (34).
    Congestion,
    /// No answer (19).
    NoAnswer,
    /// No response (18).
    Timeout,
    /// Rejected (21).
    Rejected,
    /// Unallocated number (1).
    Unallocated,
    /// Normal, unspecified (31).
    NormalUnspecified,
    /// Failure (38).
    Failure,
}

impl fmt::Display for HangupReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Normal => "normal",
            Self::Busy => "busy",
            Self::Congestion => "congestion",
            Self::NoAnswer => "no_answer",
            Self::Timeout => "timeout",
            Self::Rejected => "rejected",
            Self::Unallocated => "unallocated",
            Self::NormalUnspecified => "normal_unspecified",
            Self::Failure => "failure",
        })
    }
}

/// Every channel of the PBX, whether in Stasis or not.
pub fn list() -> Request<Vec<Channel>> {
    Request::json(Method::Get, &["channels"])
}

/// One channel.
pub fn one(id: &Uniqueid) -> Request<Channel> {
    Request::json(Method::Get, &["channels", id.as_str()])
}

/// Creates a snoop channel with our id that hears `channel` and enters `app`. The channel need not be in Stasis. An id
/// already taken is a server error (500), as is any other failure.
pub fn snoop(channel: &Uniqueid, id: &Uniqueid, app: &str, spy: Spy) -> Request<Channel> {
    Request::json(Method::Post, &["channels", channel.as_str(), "snoop", id.as_str()])
        .query("spy", spy)
        .query("app", app)
}

/// Creates an external media channel (Asterisk 16.6 and later). The answer tells the source address of its RTP:
/// [`Channel::rtp_source`]. An id already taken is a conflict with Asterisk 16, a server error (500) with 22.
pub fn external_media(media: &ExternalMedia) -> Request<Channel> {
    let mut request = Request::json(Method::Post, &["channels", "externalMedia"])
        .query("channelId", &media.id)
        .query("app", &media.app)
        .query("external_host", media.external_host)
        .query("encapsulation", "rtp")
        .query("transport", "udp")
        .query("connection_type", "client")
        .query("format", media.format)
        .query("direction", "both");
    request.on_server_error = Some(
        "are chan_rtp.so and res_rtp_asterisk.so loaded, is the id free, and is the range of rtp.conf large enough?",
    );
    if media.variables.is_empty() { request } else { request.with_body(json!({"variables": media.variables})) }
}

/// The value of a variable or function, such as `CHANNEL(linkedid)`; the channel need not be in Stasis. 404 for a variable
/// that is not set.
pub fn variable(id: &Uniqueid, name: &str) -> Request<Variable> {
    Request::json(Method::Get, &["channels", id.as_str(), "variable"]).query("variable", name)
}

/// Sets a variable or function. In the body, because Asterisk's request line ends at 4,096 bytes. 409 when the channel is
/// not in Stasis. Done by the channel's own thread after the answer: with Asterisk 16 up to 200 ms later (issue #362).
pub fn set_variable(id: &Uniqueid, name: &str, value: &str) -> Request<()> {
    Request::plain(Method::Post, &["channels", id.as_str(), "variable"])
        .with_body(json!({"variable": name, "value": value}))
}

/// Sends the channel back to the dialplan: to the next priority, or to `place`.
pub fn continue_in_dialplan(id: &Uniqueid, place: Option<&DialplanPlace>) -> Request<()> {
    Request::plain(Method::Post, &["channels", id.as_str(), "continue"])
        .query_if("context", place.map(|place| &place.context))
        .query_if("extension", place.map(|place| &place.exten))
        .query_if("priority", place.map(|place| place.priority))
}

/// Hangs a channel up; it need not be in Stasis.
pub fn hangup(id: &Uniqueid, reason: HangupReason) -> Request<()> {
    Request::plain(Method::Delete, &["channels", id.as_str()]).query("reason", reason)
}

/// The RTP statistics of a channel. Only SIP channels have them: 403 for snoop and Local channels, 403 (16) or 404 (22) for
/// external media.
pub fn rtp_statistics(id: &Uniqueid) -> Request<RtpStatistics> {
    Request::json(Method::Get, &["channels", id.as_str(), "rtp_statistics"])
}

/// Answers a channel that is in Stasis.
pub fn answer(id: &Uniqueid) -> Request<()> {
    Request::plain(Method::Post, &["channels", id.as_str(), "answer"])
}
