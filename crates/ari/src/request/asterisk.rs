//! Requests about the Asterisk process.

use super::{Method, Request};
use crate::model::{AsteriskInfo, Module};

/// Version, identity, start time.
pub fn info() -> Request<AsteriskInfo> {
    Request::json(Method::Get, &["asterisk", "info"])
}

/// Answered at once; touches nothing.
pub fn ping() -> Request<()> {
    Request::plain(Method::Get, &["asterisk", "ping"])
}

/// One module by file name, such as `chan_rtp.so`; 404 when it is not loaded.
pub fn module(name: &str) -> Request<Module> {
    Request::json(Method::Get, &["asterisk", "modules", name])
}
