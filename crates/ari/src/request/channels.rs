//! Requests about channels.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use aimg_core::{Codec, Uniqueid};
use serde_json::json;

use super::call::{self, NewChannel, Originate};
use super::{Method, Play, Record, Request};
use crate::model::{Channel, LiveRecording, Playback, PlaybackId, RtpStatistics, Variable, Variables};

/// Which of a channel's audio a snoop hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spy {
    /// Audio coming from the channel: what its party says.
    In,
    /// Audio going to the channel: what its party hears.
    Out,
    /// Both mixed; loses audio before Asterisk 20.12, 21.7 and 22.2 (issue #851).
    Both,
    /// Nothing; to whisper only.
    None,
}

impl fmt::Display for Spy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::In => "in",
            Self::Out => "out",
            Self::Both => "both",
            Self::None => "none",
        })
    }
}

/// A snoop channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snoop {
    /// Its id, minted by the caller.
    pub id: Uniqueid,
    /// The application it enters.
    pub app: String,
    /// What its StasisStart tells; none may hold a comma.
    pub args: Vec<String>,
    /// What it hears.
    pub spy: Spy,
    /// Who hears what is sent to it: `Out` the channel's party, `In` whoever listens to the channel.
    pub whisper: Spy,
}

/// Keys to be pressed on a channel, as its party hears them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digits {
    /// 0-9, A-D, # and *.
    pub digits: String,
    /// Silence before the first, ms.
    pub before_ms: Option<u32>,
    /// Silence between them, ms; Asterisk's default is 100.
    pub between_ms: Option<u32>,
    /// How long each is pressed, ms; Asterisk's default is 100.
    pub duration_ms: Option<u32>,
    /// Silence after the last, ms.
    pub after_ms: Option<u32>,
}

/// Which of a channel's audio is muted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MuteDirection {
    /// Both directions.
    #[default]
    Both,
    /// What its party says.
    In,
    /// What its party hears.
    Out,
}

impl fmt::Display for MuteDirection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Both => "both",
            Self::In => "in",
            Self::Out => "out",
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
    /// The number is incomplete (28).
    NumberIncomplete,
    /// No codec in common (65).
    CodecMismatch,
    /// Interworking (127).
    Interworking,
    /// Answered elsewhere (26).
    AnsweredElsewhere,
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
            Self::NumberIncomplete => "number_incomplete",
            Self::CodecMismatch => "codec_mismatch",
            Self::Interworking => "interworking",
            Self::AnsweredElsewhere => "answered_elsewhere",
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

/// Creates a snoop channel that may also whisper; otherwise as [`snoop`].
pub fn snoop_as(channel: &Uniqueid, snoop: &Snoop) -> Request<Channel> {
    Request::json(Method::Post, &["channels", channel.as_str(), "snoop", snoop.id.as_str()])
        .query("spy", snoop.spy)
        .query("whisper", snoop.whisper)
        .query("app", &snoop.app)
        .query_list("appArgs", &snoop.args)
}

/// Calls an endpoint. The answer comes when the channel exists; whether it is answered, events tell. 409 when an id is taken,
/// a server error (500) when the endpoint is unknown or not registered.
pub fn originate(call: &Originate) -> Request<Channel> {
    call::originate(call)
}

/// Creates a channel that is in Stasis and not dialled yet; see [`dial`]. 409 when an id is taken.
pub fn create(channel: &NewChannel) -> Request<Channel> {
    call::create(channel)
}

/// Dials a channel of [`create`]: `caller`, where given, hears its early media; after `timeout_s` without an answer it is
/// hung up (0 for never).
pub fn dial(id: &Uniqueid, caller: Option<&Uniqueid>, timeout_s: u32) -> Request<()> {
    Request::plain(Method::Post, &["channels", id.as_str(), "dial"])
        .query_if("caller", caller)
        .query("timeout", timeout_s)
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
    request.with_variables(&media.variables)
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

/// Hands a channel that is in Stasis to another application (Asterisk 16.3 and later). Done after the answer; a failure is
/// [`crate::EventKind::ApplicationMoveFailed`].
pub fn move_to_app<T: AsRef<str>>(id: &Uniqueid, app: &str, args: &[T]) -> Request<()> {
    Request::plain(Method::Post, &["channels", id.as_str(), "move"]).query("app", app).query_list("appArgs", args)
}

/// Has the party of a channel call `endpoint` instead (SIP 302 or REFER). Both must be of one technology: 422 otherwise.
pub fn redirect(id: &Uniqueid, endpoint: &str) -> Request<()> {
    Request::plain(Method::Post, &["channels", id.as_str(), "redirect"]).query("endpoint", endpoint)
}

/// Hangs a channel up with a Q.850 cause of its own (Asterisk 18 and later).
pub fn hangup_with_cause(id: &Uniqueid, cause: u16) -> Request<()> {
    Request::plain(Method::Delete, &["channels", id.as_str()]).query("reason_code", cause)
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

/// Tells a channel's party that it rings.
pub fn start_ringing(id: &Uniqueid) -> Request<()> {
    channel(Method::Post, id, "ring")
}

/// Ends the ringing.
pub fn stop_ringing(id: &Uniqueid) -> Request<()> {
    channel(Method::Delete, id, "ring")
}

/// Tells a channel's party that media comes before the answer (SIP 183; Asterisk 20.16, 21.11, 22.6 and later).
pub fn progress(id: &Uniqueid) -> Request<()> {
    channel(Method::Post, id, "progress")
}

/// Presses keys on a channel.
pub fn dtmf(id: &Uniqueid, keys: &Digits) -> Request<()> {
    channel(Method::Post, id, "dtmf")
        .query("dtmf", &keys.digits)
        .query_if("before", keys.before_ms)
        .query_if("between", keys.between_ms)
        .query_if("duration", keys.duration_ms)
        .query_if("after", keys.after_ms)
}

/// Mutes a channel. Needs `res_mutestream.so`.
pub fn mute(id: &Uniqueid, sound: MuteDirection) -> Request<()> {
    channel(Method::Post, id, "mute").query("direction", sound)
}

/// The reverse of [`mute`].
pub fn unmute(id: &Uniqueid, sound: MuteDirection) -> Request<()> {
    channel(Method::Delete, id, "mute").query("direction", sound)
}

/// Puts a channel's party on hold, as its phone shows it.
pub fn hold(id: &Uniqueid) -> Request<()> {
    channel(Method::Post, id, "hold")
}

/// The reverse of [`hold`].
pub fn unhold(id: &Uniqueid) -> Request<()> {
    channel(Method::Delete, id, "hold")
}

/// Plays music to a channel: of a class of musiconhold.conf, or the default.
pub fn start_moh(id: &Uniqueid, class: Option<&str>) -> Request<()> {
    channel(Method::Post, id, "moh").query_if("mohClass", class)
}

/// Ends the music.
pub fn stop_moh(id: &Uniqueid) -> Request<()> {
    channel(Method::Delete, id, "moh")
}

/// Sends silence to a channel that nothing else is sent to, for phones that hang up without RTP.
pub fn start_silence(id: &Uniqueid) -> Request<()> {
    channel(Method::Post, id, "silence")
}

/// Ends the silence.
pub fn stop_silence(id: &Uniqueid) -> Request<()> {
    channel(Method::Delete, id, "silence")
}

/// Plays to a channel. The answer comes when it is queued; [`crate::EventKind::PlaybackFinished`] tells the end.
pub fn play(id: &Uniqueid, playback: &PlaybackId, play: &Play) -> Request<Playback> {
    play.asked(Request::json(Method::Post, &["channels", id.as_str(), "play", playback.as_str()]))
}

/// Records what a channel's party says. Asterisk's directory of recordings must exist (500 otherwise). 409 when the channel is in a bridge, or the name is taken.
pub fn record(id: &Uniqueid, record: &Record) -> Request<LiveRecording> {
    record.asked(Request::json(Method::Post, &["channels", id.as_str(), "record"]))
}

/// The values of several variables or functions; 404 when one is not set (Asterisk 20.20, 22.10, 23.4 and later).
pub fn variables(id: &Uniqueid, names: &[&str]) -> Request<Variables> {
    Request::json(Method::Get, &["channels", id.as_str(), "variables"]).query_list("variables", names)
}

/// Sets several variables or functions (Asterisk 20.20, 22.10, 23.4 and later).
pub fn set_variables(id: &Uniqueid, variables: &BTreeMap<String, String>) -> Request<()> {
    channel(Method::Post, id, "variables").with_body(json!({"variables": variables}))
}

/// Tells the party that transfers a call how that goes: `channel_progress`, `channel_answered`, `channel_unavailable` or
/// `channel_declined` (Asterisk 20.13, 21.8, 22.3 and later).
pub fn transfer_progress(id: &Uniqueid, state: &str) -> Request<()> {
    channel(Method::Post, id, "transfer_progress").query("states", state)
}

fn channel(method: Method, id: &Uniqueid, what: &str) -> Request<()> {
    Request::plain(method, &["channels", id.as_str(), what])
}
