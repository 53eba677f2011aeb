//! The HTTP service over real sockets, a real store and a real gateway without PBXs.

#![allow(clippy::unwrap_used, reason = "tests")]

mod auth;
mod calls;
mod document;
mod fixture;
mod isolation;
mod recordings;
mod schemathesis;
mod webhooks;
mod websocket;
mod world;
