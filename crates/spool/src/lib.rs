//! The format of spool files: one file for each flow, whole packets as they were received, readable after a crash.
//!
//! Nothing here does IO: functions work on byte slices, which `media` maps and `recording` reads. Why the format is
//! what it is: `docs/decisions/0002-spool.md`.
//!
//! A file is a header page of [`HEADER_BYTES`], then chunks of the size that the header tells. A chunk is records one
//! after the other, then zeros to its end. All integers are little-endian.

mod error;
pub mod fuzz;
mod header;
mod reader;
mod record;

pub use error::SpoolError;
pub use header::{CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, FlowMeta, HEADER_BYTES, Header, LiveCounters, Route, VERSION};
pub use reader::{ChunkReader, Damage, Reader};
pub use record::{PACKET_BYTES_MAX, RECORD_HEADER_BYTES, Record, encode_into, encoded_bytes};
