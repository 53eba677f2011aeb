//! Calls through both versions of Asterisk, as the tests of the gateway place them.
//!
//! The installations have to be there (`scripts/lib/setup.sh`): without them these tests fail and say how to build them.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod calls;
mod lifecycle;
mod network;
