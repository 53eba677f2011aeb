//! Faults of the network and of Asterisk, played by a scripted server on loopback.

#![allow(clippy::unwrap_used, reason = "a test may panic; clippy exempts only functions marked as tests")]

mod fake;
mod requests;
mod stream;
