//! Bridges.

use aimg_core::{Minted, Timestamp, Uniqueid};
use serde::Deserialize;

use super::{Extra, text_id};

text_id! {
    /// The id of a bridge.
    BridgeId
}

impl From<&Minted> for BridgeId {
    fn from(id: &Minted) -> Self {
        Self::new(id.to_string())
    }
}

/// A bridge.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Bridge {
    /// Asterisk's id, or the one that we minted.
    pub id: BridgeId,
    /// What mixes it, such as `simple_bridge` or `softmix`.
    #[serde(default)]
    pub technology: String,
    /// Such as `mixing`.
    #[serde(default)]
    pub bridge_type: String,
    /// Such as `stasis` or `basic`.
    #[serde(default)]
    pub bridge_class: String,
    /// Who created it, such as `Stasis`.
    #[serde(default)]
    pub creator: String,
    /// Its name, mostly empty.
    #[serde(default)]
    pub name: String,
    /// The channels in it.
    #[serde(default)]
    pub channels: Vec<Uniqueid>,
    /// When Asterisk created it, by Asterisk's clock; absent on old versions.
    #[serde(default, deserialize_with = "crate::time::deserialize")]
    pub creationtime: Option<Timestamp>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}
