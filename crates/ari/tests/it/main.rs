//! Every request as Asterisk describes it; faults of the network and of Asterisk, played by a scripted server on loopback; and real ones.

#![allow(clippy::unwrap_used, reason = "a test may panic; clippy exempts only functions marked as tests")]

mod accept;
mod encoding;
mod fake;
mod live;
mod live_calls;
mod live_links;
mod live_objects;
mod requests;
mod stream;
mod tls;
