//! The HTTP service over real sockets, a real store and a real gateway without PBXs.

#![allow(clippy::unwrap_used, reason = "tests")]

mod auth;
mod document;
mod fixture;
mod isolation;
mod schemathesis;
mod websocket;
mod world;
