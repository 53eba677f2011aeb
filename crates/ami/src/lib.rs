//! Asterisk's Manager Interface (AMI): what happens in a PBX, the moment it happens, and actions upon it.
//!
//! The protocol is without IO, each part usable and fuzzable alone: `frame` (bytes to messages), `channel` and `event`
//! (messages to types), `action` (what is asked). Around it, on tokio, the [`Client`]: two connections, one that only
//! reads events and one for actions, kept up for ever, with the state of Asterisk asked anew each time.
//!
//! A program that would rather be called than ask for the next event registers functions at a [`Manager`]:
//! `examples/watch.rs` shows what happens in a PBX, in some forty lines.
//!
//! With [`Config::tls`] both connections are TLS from the first byte (`tlsenable = yes` in manager.conf, port 5039).
//!
//! What a call is, and whose, is left to `session` and `gateway`.

mod action;
mod channel;
mod client;
mod config;
mod connection;
mod counters;
mod desk;
mod error;
mod event;
mod filter;
mod frame;
pub mod fuzz;
mod handlers;
mod heartbeat;
mod link;
mod listener;
mod probe;
mod queue;
mod resync;
mod stream;

pub use aimg_tls::{Tls, Trust};

pub use action::{Action, Muted, NewMember, Originate, Place, Target};
pub use channel::{BridgeSnapshot, ChannelSnapshot, ChannelState, ListedChannel};
pub use client::{Client, Events, Notice, Server, Up};
pub use config::{Auth, Config};
pub use counters::Counts;
pub use error::{ActionError, CommandError, Error, FrameError, InvalidAction};
pub use event::{
    Agent, AgentCall, AttendedTransfer, BlindTransfer, BridgeMember, BridgeMerge, Conference, ContactStatus,
    DeviceState, DeviceStateChange, Dial, Dtmf, Event, ExtensionStatus, Hangup, Hold, LocalPair, MessageWaiting,
    MusicOnHold, NewExten, OriginateResponse, ParkedCall, PeerStatus, Pickup, PresenceStateChange, QueueCaller,
    QueueEntry, QueueMember, QueueParams, QueueSummary, Registry, Rename, Talked, UserEvent, VarSet, event_time,
};
pub use filter::EventFilter;
pub use frame::{Frame, Limits, Message, Parser};
pub use handlers::{Handler, HandlerCounts, LinkChange, Manager};
pub use probe::probe;
pub use smol_str::SmolStr;
