//! What the crate does with real servers.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod fixture;
mod http;
mod riva_faults;
mod riva_streams;
mod riva_trust;
mod riva_voice;
