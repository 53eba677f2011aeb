//! The wall clock, which expiries and locks are compared with.

use std::time::{SystemTime, UNIX_EPOCH};

use aimg_core::Timestamp;

/// Now.
pub(crate) fn now() -> Timestamp {
    Timestamp::default() + SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
