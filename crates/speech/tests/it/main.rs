//! What the crate does with real servers, real models and real speech.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod fixture;
mod http;
mod local;
mod model;
mod riva_faults;
mod riva_streams;
mod riva_trust;
mod riva_voice;
mod speech;
mod voice;
mod websocket;
mod websocket_server;
