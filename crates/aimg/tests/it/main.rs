//! The program as it is, beside a real Asterisk, with real SIP calls. One file a story.
//!
//! The installations of Asterisk have to be there (`scripts/lib/setup.sh`): without them these tests fail and say how to
//! build them.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod bench;
mod gateway;
mod home;
mod killed;
mod many_calls;
mod stereo;
mod tap_ami;
mod tap_hook;
mod waiting;
mod where_spoken;
mod wire;
