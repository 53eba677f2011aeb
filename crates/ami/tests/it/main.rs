//! The client against a server on the loopback that fails in every way that we could think of.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod actions;
mod asterisk;
mod fake_asterisk;
mod handlers;
mod link;
mod tls;
