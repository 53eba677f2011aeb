//! What Asterisk tells of itself, and what a dialplan or another manager tells everybody.

use smol_str::SmolStr;

use super::Event;
use super::fields::{Fields, debug_shows};
use crate::ChannelSnapshot;

/// What a dialplan's `UserEvent` or another manager told (class `user`).
#[derive(Clone, PartialEq, Eq)]
pub struct UserEvent {
    /// The event's own name.
    pub name: SmolStr,
    /// The channel whose dialplan told it; none when a manager did.
    pub channel: Option<ChannelSnapshot>,
    /// All headers of the message, the channel's too, in order.
    pub headers: Vec<(SmolStr, SmolStr)>,
}
debug_shows!(UserEvent: name, channel);

impl UserEvent {
    /// The value of the first header named `key`, in whatever case.
    pub fn first(&self, key: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(key)).map(|(_, value)| value.as_str())
    }
}

pub(super) fn read(name: &str, f: Fields<'_>) -> Option<Event> {
    Some(match name {
        "FullyBooted" => Event::FullyBooted,
        "Shutdown" => Event::Shutdown { restart: f.flag("Restart") },
        "Reload" => Event::Reload { module: f.text("Module") },
        "UserEvent" => Event::UserEvent(Box::new(UserEvent {
            name: f.optional("UserEvent")?,
            channel: f.channel(),
            headers: f.0.headers().map(|(key, value)| (key.into(), value.into())).collect(),
        })),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::{event, with_id};

    #[test]
    fn a_user_event_keeps_its_own_headers() {
        let Event::UserEvent(told) = event("Event: UserEvent\r\nUniqueid: 1\r\nUserEvent: Lamp\r\nColour: red\r\n")
        else {
            panic!("no user event")
        };
        assert_eq!((told.name.as_str(), &told.channel), ("Lamp", &Some(with_id("1"))));
        assert_eq!((told.first("colour"), told.first("Absent")), (Some("red"), None));
        assert!(!format!("{told:?}").contains("red"));
    }
}
