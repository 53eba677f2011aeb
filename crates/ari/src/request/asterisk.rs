//! Requests about the Asterisk process.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Method, Request};
use crate::model::{AsteriskInfo, ConfigTuple, LogChannel, Module, Variable};

/// Version, identity, start time.
pub fn info() -> Request<AsteriskInfo> {
    Request::json(Method::Get, &["asterisk", "info"])
}

/// Answered at once; touches nothing.
pub fn ping() -> Request<()> {
    Request::plain(Method::Get, &["asterisk", "ping"])
}

/// Every module that is loaded.
pub fn modules() -> Request<Vec<Module>> {
    Request::json(Method::Get, &["asterisk", "modules"])
}

/// One module by file name, such as `chan_rtp.so`; 404 when it is not loaded.
pub fn module(name: &str) -> Request<Module> {
    Request::json(Method::Get, &["asterisk", "modules", name])
}

/// Loads a module. A conflict when it is loaded already.
pub fn load_module(name: &str) -> Request<()> {
    Request::plain(Method::Post, &["asterisk", "modules", name])
}

/// Unloads a module. A conflict when others need it.
pub fn unload_module(name: &str) -> Request<()> {
    Request::plain(Method::Delete, &["asterisk", "modules", name])
}

/// Has a module read its configuration again. A conflict when it cannot.
pub fn reload_module(name: &str) -> Request<()> {
    Request::plain(Method::Put, &["asterisk", "modules", name])
}

/// Every file and console that Asterisk logs to.
pub fn log_channels() -> Request<Vec<LogChannel>> {
    Request::json(Method::Get, &["asterisk", "logging"])
}

/// Logs to one more file, with levels such as `notice,warning`. A conflict when it exists.
pub fn add_log_channel(name: &str, levels: &str) -> Request<()> {
    Request::plain(Method::Post, &["asterisk", "logging", name]).query("configuration", levels)
}

/// Ends a log.
pub fn remove_log_channel(name: &str) -> Request<()> {
    Request::plain(Method::Delete, &["asterisk", "logging", name])
}

/// Begins a new file for a log. Asterisk reads logger.conf again for it: logs that were added by request end.
pub fn rotate_log_channel(name: &str) -> Request<()> {
    Request::plain(Method::Put, &["asterisk", "logging", name, "rotate"])
}

/// The value of a global variable.
pub fn variable(name: &str) -> Request<Variable> {
    Request::json(Method::Get, &["asterisk", "variable"]).query("variable", name)
}

/// Sets a global variable. In the body, because Asterisk's request line ends at 4,096 bytes.
pub fn set_variable(name: &str, value: &str) -> Request<()> {
    Request::plain(Method::Post, &["asterisk", "variable"]).with_body(json!({"variable": name, "value": value}))
}

/// The fields of a configuration object, such as class `res_pjsip`, type `endpoint`.
pub fn config(class: &str, kind: &str, id: &str) -> Request<Vec<ConfigTuple>> {
    Request::json(Method::Get, &["asterisk", "config", "dynamic", class, kind, id])
}

/// Creates or changes a configuration object. Forbidden unless sorcery.conf keeps that type where it can be written.
pub fn set_config(class: &str, kind: &str, id: &str, fields: &BTreeMap<String, String>) -> Request<Vec<ConfigTuple>> {
    let fields: Vec<_> = fields.iter().map(|(name, value)| json!({"attribute": name, "value": value})).collect();
    Request::json(Method::Put, &["asterisk", "config", "dynamic", class, kind, id]).with_body(json!({"fields": fields}))
}

/// Removes a configuration object.
pub fn remove_config(class: &str, kind: &str, id: &str) -> Request<()> {
    Request::plain(Method::Delete, &["asterisk", "config", "dynamic", class, kind, id])
}
