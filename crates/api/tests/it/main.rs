//! The HTTP service over real sockets, a real store and a real gateway without PBXs.

#![allow(clippy::unwrap_used, reason = "tests")]

mod auth;
mod calls;
mod document;
mod fixture;
mod installation;
mod isolation;
mod people;
mod quotas;
mod recordings;
mod schemathesis;
mod settings;
mod strangers;
mod transcripts;
mod webhooks;
mod websocket;
mod websocket_matrix;
mod world;
