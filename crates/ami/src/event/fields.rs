//! The values of a message as types. No IO.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use aimg_core::Uniqueid;
use smol_str::SmolStr;

use crate::channel::{text, unescaped};
use crate::{BridgeSnapshot, ChannelSnapshot, Message};

/// Reads a message's values by their keys. What is absent or not understood is empty, zero or `false`: Asterisk's versions
/// differ in what they tell, and an event is worth having without its least field.
#[derive(Clone, Copy)]
pub(super) struct Fields<'m>(pub(super) &'m Message);

impl Fields<'_> {
    /// The value as it is.
    pub(super) fn text(self, key: &str) -> SmolStr {
        text(self.0.first(key).unwrap_or_default())
    }

    /// The value, C-escaped by Asterisk.
    pub(super) fn unescaped(self, key: &str) -> SmolStr {
        unescaped(self.0.first(key).unwrap_or_default())
    }

    /// The value, or nothing when it is empty.
    pub(super) fn optional(self, key: &str) -> Option<SmolStr> {
        Some(self.text(key)).filter(|value| !value.is_empty())
    }

    /// A number.
    pub(super) fn number<T: FromStr + Default>(self, key: &str) -> T {
        self.0.first(key).and_then(|value| value.trim().parse().ok()).unwrap_or_default()
    }

    /// A number of seconds.
    pub(super) fn seconds(self, key: &str) -> Duration {
        Duration::from_secs(self.number(key))
    }

    /// `Yes`, `true`, `on` or `1`.
    pub(super) fn flag(self, key: &str) -> bool {
        let value = self.0.first(key).unwrap_or_default();
        ["yes", "true", "on", "1"].iter().any(|word| value.eq_ignore_ascii_case(word))
    }

    /// The id of a channel of which nothing else is told.
    pub(super) fn uniqueid(self, key: &str) -> Option<Uniqueid> {
        self.optional(key).map(Uniqueid::new)
    }

    /// The channel that the message is about.
    pub(super) fn channel(self) -> Option<ChannelSnapshot> {
        ChannelSnapshot::read(self.0, "")
    }

    /// One of several channels, by what its keys begin with.
    pub(super) fn channel_of(self, prefix: &str) -> Option<ChannelSnapshot> {
        ChannelSnapshot::read(self.0, prefix)
    }

    /// The bridge that the message is about.
    pub(super) fn bridge(self) -> Option<BridgeSnapshot> {
        BridgeSnapshot::read(self.0)
    }

    /// One of several bridges, by what its keys begin with.
    pub(super) fn bridge_of(self, prefix: &str) -> Option<BridgeSnapshot> {
        BridgeSnapshot::read_prefixed(self.0, prefix)
    }
}

/// `Debug` that shows the named fields only: the others may hold phone numbers, names, or what a dialplan keeps to itself.
macro_rules! debug_shows {
    ($type:ident: $($field:ident),+) => {
        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($type))$(.field(stringify!($field), &self.$field))+.finish_non_exhaustive()
            }
        }
    };
}
pub(super) use debug_shows;

/// How a device is doing, as Asterisk's core sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DeviceState {
    /// It is valid, and its channel driver cannot tell.
    #[default]
    Unknown,
    /// Idle.
    NotInUse,
    /// In a call.
    InUse,
    /// In as many calls as it can be.
    Busy,
    /// Nobody knows it.
    Invalid,
    /// Not reachable, such as not registered.
    Unavailable,
    /// It rings.
    Ringing,
    /// It rings while it is in a call.
    RingInUse,
    /// Its call is on hold.
    OnHold,
}

impl DeviceState {
    /// Each state, in the order of its number, with its word.
    const ALL: [(Self, &'static str); 9] = [
        (Self::Unknown, "UNKNOWN"),
        (Self::NotInUse, "NOT_INUSE"),
        (Self::InUse, "INUSE"),
        (Self::Busy, "BUSY"),
        (Self::Invalid, "INVALID"),
        (Self::Unavailable, "UNAVAILABLE"),
        (Self::Ringing, "RINGING"),
        (Self::RingInUse, "RINGINUSE"),
        (Self::OnHold, "ONHOLD"),
    ];

    /// The state of a number, as the events of queues tell it.
    pub fn from_number(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).map_or(Self::Unknown, |(state, _)| *state)
    }

    /// The state of a word, as `DeviceStateChange` tells it.
    pub fn from_word(word: &str) -> Self {
        Self::ALL.iter().find(|(_, own)| *own == word).map_or(Self::Unknown, |(state, _)| *state)
    }
}

impl fmt::Display for DeviceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, word) = Self::ALL[*self as usize];
        f.write_str(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::tests::message;

    #[test]
    fn what_is_absent_or_odd_is_empty() {
        let m = message("N: 7\r\nOdd: soon\r\nEmpty: <unknown>\r\nYes: Yes\r\nNo: No\r\nEscaped: a\\nb\r\n");
        let fields = Fields(&m);
        assert_eq!((fields.number::<u32>("N"), fields.number::<u32>("Odd"), fields.number::<u32>("Absent")), (7, 0, 0));
        assert_eq!(
            (fields.text("Empty"), fields.optional("Empty"), fields.optional("N")),
            ("".into(), None, Some("7".into()))
        );
        assert_eq!((fields.flag("Yes"), fields.flag("No"), fields.flag("Absent")), (true, false, false));
        assert_eq!(fields.unescaped("Escaped"), "a\nb");
        assert_eq!(fields.seconds("N"), Duration::from_secs(7));
    }

    #[test]
    fn device_states_are_known_by_number_and_word() {
        for (number, (state, word)) in DeviceState::ALL.into_iter().enumerate() {
            assert_eq!(DeviceState::from_number(u8::try_from(number).unwrap()), state);
            assert_eq!(DeviceState::from_word(word), state);
            assert_eq!(state.to_string(), word);
        }
        assert_eq!(
            (DeviceState::from_number(9), DeviceState::from_word("")),
            (DeviceState::Unknown, DeviceState::Unknown)
        );
    }
}
