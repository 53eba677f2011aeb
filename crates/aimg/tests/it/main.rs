//! The program as it is, beside a real Asterisk, with real SIP calls. One file a story.
//!
//! The installations of Asterisk have to be there (`scripts/lib/setup.sh`): without them these tests fail and say how to
//! build them.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

// What the stories are told with.
mod api;
mod bad_line;
mod bench;
mod client;
mod driver;
mod gateway;
mod home;
mod operator;
mod sharing;
mod site;
mod stereo;
mod users;
mod voice;
mod waiting;
mod wire;

mod asterisk_connects;
mod asterisk_ends;
mod away;
mod bad_input;
mod clock_set;
mod control;
mod database_locked;
mod disk;
mod doctor;
mod first_user;
mod flooded;
mod frozen;
mod hands;
mod killed;
mod killed_often;
mod links_cut;
mod listened;
mod live_events;
mod many_calls;
mod metrics;
mod models;
mod observed;
mod one_part;
mod packets_lost;
mod postgres;
mod quotas;
mod rotten_spool;
mod said;
mod shared_pbx;
mod shown;
mod speech;
mod stopped;
mod storm;
mod taken_over;
mod tap_ami;
mod tap_hook;
mod tls;
mod transcribe;
mod transcripts;
mod two_tenants;
mod webhooks;
mod where_spoken;
mod worker_dies;
