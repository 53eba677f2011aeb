//! Requests about recordings that Asterisk makes and keeps on its own disk.

use super::{Method, Request};
use crate::model::{LiveRecording, StoredRecording};

/// Every recording that is done.
pub fn stored() -> Request<Vec<StoredRecording>> {
    Request::json(Method::Get, &["recordings", "stored"])
}

/// One recording that is done.
pub fn stored_one(name: &str) -> Request<StoredRecording> {
    Request::json(Method::Get, &["recordings", "stored", name])
}

/// Removes a recording.
pub fn remove_stored(name: &str) -> Request<()> {
    Request::plain(Method::Delete, &["recordings", "stored", name])
}

/// The file of a recording, no larger than [`crate::Config::reply_bytes_max`].
pub fn file(name: &str) -> Request<Vec<u8>> {
    Request::file(Method::Get, &["recordings", "stored", name, "file"])
}

/// Copies a recording. A conflict when the new name is taken.
pub fn copy(name: &str, to: &str) -> Request<StoredRecording> {
    Request::json(Method::Post, &["recordings", "stored", name, "copy"]).query("destinationRecordingName", to)
}

/// One recording being made.
pub fn live(name: &str) -> Request<LiveRecording> {
    Request::json(Method::Get, &["recordings", "live", name])
}

/// Ends a recording and throws it away.
pub fn discard(name: &str) -> Request<()> {
    Request::plain(Method::Delete, &["recordings", "live", name])
}

/// Ends a recording and keeps it.
pub fn stop(name: &str) -> Request<()> {
    Request::plain(Method::Post, &["recordings", "live", name, "stop"])
}

/// Leaves out what follows, until [`unpause`].
pub fn pause(name: &str) -> Request<()> {
    Request::plain(Method::Post, &["recordings", "live", name, "pause"])
}

/// The reverse of [`pause`].
pub fn unpause(name: &str) -> Request<()> {
    Request::plain(Method::Delete, &["recordings", "live", name, "pause"])
}

/// Records silence instead of what is said, until [`unmute`].
pub fn mute(name: &str) -> Request<()> {
    Request::plain(Method::Post, &["recordings", "live", name, "mute"])
}

/// The reverse of [`mute`].
pub fn unmute(name: &str) -> Request<()> {
    Request::plain(Method::Delete, &["recordings", "live", name, "mute"])
}
