//! The Asterisk process.

use aimg_core::Timestamp;
use serde::Deserialize;

use super::Extra;

/// What Asterisk says about itself.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct AsteriskInfo {
    /// Version and identity.
    #[serde(default)]
    pub system: SystemInfo,
    /// Names and limits.
    #[serde(default)]
    pub config: ConfigInfo,
    /// Since when it runs.
    #[serde(default)]
    pub status: StatusInfo,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Version and identity of an Asterisk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct SystemInfo {
    /// Such as `22.10.1`.
    #[serde(default)]
    pub version: String,
    /// The entity id (a MAC address unless asterisk.conf sets one).
    #[serde(default)]
    pub entity_id: String,
}

/// Names and limits of an Asterisk.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct ConfigInfo {
    /// `systemname` of asterisk.conf: makes Uniqueids unique across hosts; empty where unset.
    #[serde(default)]
    pub name: String,
    /// The most channels it will take, if it has a limit.
    #[serde(default)]
    pub max_channels: Option<i64>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Since when an Asterisk runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct StatusInfo {
    /// When it started: a change means that it restarted.
    #[serde(default, deserialize_with = "crate::time::deserialize")]
    pub startup_time: Option<Timestamp>,
    /// When it last reloaded its configuration.
    #[serde(default, deserialize_with = "crate::time::deserialize")]
    pub last_reload_time: Option<Timestamp>,
}

/// A module of Asterisk.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Module {
    /// Its file name, such as `chan_rtp.so`.
    pub name: String,
    /// `Running` or `Not Running`.
    #[serde(default)]
    pub status: String,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Module {
    /// Whether it is loaded and running.
    pub fn is_running(&self) -> bool {
        self.status == "Running"
    }
}

/// A file or console that Asterisk logs to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LogChannel {
    /// Its path or name.
    pub channel: String,
    /// Such as `File` or `Console`.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// `Enabled` or `Disabled`.
    #[serde(default)]
    pub status: String,
    /// The levels it takes, such as `WARNING ERROR`.
    #[serde(default)]
    pub configuration: String,
}

/// One field of a configuration object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ConfigTuple {
    /// The field's name.
    pub attribute: String,
    /// Its value.
    pub value: String,
}
