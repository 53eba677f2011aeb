//! A real Asterisk and real SIP calls on loopback: for tests, for the demo, and by hand.
//!
//! An [`Asterisk`] is one process with its own ports, configuration and directories, run from an installation that
//! `scripts/lib/setup.sh` has put into the cache. [`Caller`] and [`Callee`] are SIPp processes that speak known
//! [`Speech`] into the call, and a [`Capture`] is what the loopback interface says was sent. Everything started here ends
//! with its handle, or with the process that holds it, however that dies; nothing stays mounted.
//!
//! A [`Postgres`] is a server of its own likewise. A [`BadNetwork`] stands between Asterisk and the gateway where a test
//! wants one.
//!
//! The gateway is not known here: tests start it themselves and give it an [`Access`]. Only the [`demo`] runs it, as a
//! program.

mod asterisk;
mod boot;
mod call_features;
mod capture;
mod config;
pub mod demo;
mod disk;
pub mod doctor;
mod error;
mod guarded;
mod namespace;
mod network;
mod pcap;
mod ports;
pub mod postgres;
mod privilege;
mod prompts;
mod root;
mod scenario;
mod sipp;
mod speech;
mod tenants;
mod wait;
mod words;
mod workdir;

pub use asterisk::{Access, Asterisk, Bridge, Channel, Options};
pub use call_features::DRIVER;
pub use capture::{Capture, Captured};
pub use disk::Disk;
pub use error::Error;
pub use namespace::Namespace;
pub use network::{BadNetwork, Counts, Faults, Flow, Tcp};
pub use pcap::{Packet, packets};
pub use ports::PortBlock;
pub use postgres::Postgres;
pub use prompts::Prompt;
pub use root::{Root, Version, cache_dir};
pub use scenario::{Callee, Caller, Context};
pub use sipp::{Outcome, Sipp};
pub use speech::Speech;
pub use wait::wait_until;
pub use words::WordErrors;
