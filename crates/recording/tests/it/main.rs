//! From spool files as a shard writes them to recordings and certificates.

// Clippy takes only functions marked as tests for tests; here all are.
#![allow(clippy::unwrap_used)]

mod damage;
mod recording;
mod source;
