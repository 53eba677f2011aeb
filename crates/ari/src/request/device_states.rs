//! Requests about device states: of any device to read, of `Stasis:NAME` to set.

use super::{Method, Request};
use crate::model::DeviceState;

/// Every device that applications have set.
pub fn list() -> Request<Vec<DeviceState>> {
    Request::json(Method::Get, &["deviceStates"])
}

/// One device, of any technology; one that nobody knows is `INVALID` or `UNKNOWN`.
pub fn one(device: &str) -> Request<DeviceState> {
    Request::json(Method::Get, &["deviceStates", device])
}

/// Sets the state of `Stasis:NAME`, such as `INUSE`. A conflict for other devices.
pub fn set(device: &str, state: &str) -> Request<()> {
    Request::plain(Method::Put, &["deviceStates", device]).query("deviceState", state)
}

/// Forgets `Stasis:NAME`.
pub fn remove(device: &str) -> Request<()> {
    Request::plain(Method::Delete, &["deviceStates", device])
}
