//! What Asterisk says its objects are. Fields that we do not know are kept, so that newer versions lose nothing.

use std::collections::BTreeMap;

use serde_json::Value;

mod application;
mod asterisk;
mod bridge;
mod channel;
mod endpoint;
mod playback;
mod recording;
mod sound;
mod transfer;

pub use application::{Application, EventType};
pub use asterisk::{AsteriskInfo, ConfigInfo, ConfigTuple, LogChannel, Module, StatusInfo, SystemInfo};
pub use bridge::{Bridge, BridgeId};
pub use channel::{Channel, ChannelState, Dialplan, Party, RtpStatistics, Variable, Variables};
pub use endpoint::{ContactInfo, DeviceState, Endpoint, Mailbox, Peer, TextMessage};
pub use playback::{Playback, PlaybackId};
pub use recording::{LiveRecording, StoredRecording};
pub use sound::{Sound, SoundFormat};
pub use transfer::{AttendedTransfer, ReferTo, ReferredBy, RequestedDestination};

/// Fields that have no place of their own here, by name.
pub type Extra = BTreeMap<String, Value>;

/// An id that is text to us.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps Asterisk's text, or ours.
            pub fn new(id: impl Into<String>) -> Self {
                Self(id.into())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

use text_id;
