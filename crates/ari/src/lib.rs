//! Asterisk REST Interface, of one PBX.
//!
//! Three modules know no IO and can be used and fuzzed alone: [`request`] (typed requests and their encoding), [`model`]
//! (what Asterisk answers) and [`event`] (what it reports). On top of them stand [`Http`], which sends requests over a
//! warm pool and leaves a PBX alone that does not answer ([`BreakerState`]), and [`Client`], which also keeps the event
//! WebSocket of one application alive and resynchronises after every interruption. Mostly we connect to Asterisk; it can
//! also connect to us, at a [`Listener`].
//!
//! Left to others: which channels are tapped and when (the session reducer), and which ids objects get — the caller mints
//! and registers an id *before* it asks for the object, because the object's first event may arrive before the reply.

mod breaker;
mod client;
mod config;
mod counters;
mod error;
pub mod event;
mod http;
mod listener;
pub mod model;
mod probe;
pub mod request;
mod socket;
mod stream;
mod time;

pub use breaker::BreakerState;
pub use client::{Client, Events, Notice};
pub use config::{Config, ConfigError};
pub use counters::{Counts, ListenerCounts};
pub use error::{Error, RequestLine};
pub use event::{Event, EventKind};
pub use http::Http;
pub use listener::{Entrance, Listener};
pub use model::{
    Application, AsteriskInfo, Bridge, BridgeId, Channel, ChannelState, LiveRecording, Playback, PlaybackId,
    RtpStatistics,
};
pub use probe::{Probe, probe};
pub use request::{
    Arrival, BridgeKind, Control, DialplanPlace, Digits, ExternalMedia, HangupReason, MuteDirection, NewChannel,
    Originate, Play, Record, Request, Snoop, Spy,
};
