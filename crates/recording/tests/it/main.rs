//! From spool files as a shard writes them to recordings and certificates.

mod damage;
mod recording;
mod source;
