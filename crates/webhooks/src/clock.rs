//! What time it is.

use std::time::{SystemTime, UNIX_EPOCH};

use aimg_core::Timestamp;

/// The wall clock: what receivers compare the time of a signature with.
pub fn now() -> Timestamp {
    Timestamp::default() + SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
