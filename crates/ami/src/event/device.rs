//! Who can be reached: peers, contacts, registrations, and the states of devices and extensions.

use std::time::Duration;

use smol_str::SmolStr;

use super::Event;
use super::fields::{DeviceState, Fields, debug_shows};

/// A peer became, or is no longer, reachable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Such as `PJSIP`.
    pub channel_type: SmolStr,
    /// Such as `PJSIP/alice`.
    pub peer: SmolStr,
    /// `Registered`, `Unregistered`, `Rejected`, `Reachable`, `Lagged`, `Unreachable` or `Unknown`.
    pub status: SmolStr,
    /// Why, where that is told.
    pub cause: SmolStr,
    /// Its address, where that is told.
    pub address: SmolStr,
}

/// A contact of PJSIP: one place where an address of record can be reached.
#[derive(Clone, PartialEq, Eq)]
pub struct ContactStatus {
    /// The contact's URI.
    pub uri: SmolStr,
    /// `Created`, `Updated`, `Removed`, `Reachable`, `Unreachable`, `NonQualified` or `Unknown`.
    pub status: SmolStr,
    /// The address of record.
    pub aor: SmolStr,
    /// The endpoint.
    pub endpoint: SmolStr,
    /// How long the last qualify took; `None` when there was none.
    pub round_trip: Option<Duration>,
}
debug_shows!(ContactStatus: status, aor, endpoint, round_trip);

/// A registration of this Asterisk with another server.
#[derive(Clone, PartialEq, Eq)]
pub struct Registry {
    /// Such as `pjsip`.
    pub channel_type: SmolStr,
    /// As whom.
    pub username: SmolStr,
    /// Where.
    pub domain: SmolStr,
    /// `Registered`, `Unregistered`, `Rejected` or `Failed`.
    pub status: SmolStr,
    /// Why, where that is told.
    pub cause: SmolStr,
}
debug_shows!(Registry: channel_type, domain, status, cause);

/// The state of a device changed.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceStateChange {
    /// Such as `PJSIP/alice` or `Custom:lamp`.
    pub device: SmolStr,
    /// Its state.
    pub state: DeviceState,
}
// The device of a Local channel is the number it dials.
debug_shows!(DeviceStateChange: state);

/// The state of an extension changed, which is that of the devices in its hint.
#[derive(Clone, PartialEq, Eq)]
pub struct ExtensionStatus {
    /// The extension.
    pub exten: SmolStr,
    /// Its context.
    pub context: SmolStr,
    /// The devices.
    pub hint: SmolStr,
    /// Asterisk's number: -2 removed, -1 no hint, 0 idle, and bits 1 in use, 2 busy, 4 unavailable, 8 ringing, 16 on hold.
    pub status: i32,
    /// The same in words, such as `InUse&Ringing`.
    pub status_text: SmolStr,
}
debug_shows!(ExtensionStatus: context, status, status_text);

/// Somebody's presence, as set by the dialplan's `PRESENCE_STATE`.
#[derive(Clone, PartialEq, Eq)]
pub struct PresenceStateChange {
    /// Such as `CustomPresence:alice`.
    pub presentity: SmolStr,
    /// Such as `available`, `away` or `dnd`.
    pub status: SmolStr,
    /// What kind of it.
    pub subtype: SmolStr,
    /// What that one says.
    pub message: SmolStr,
}
debug_shows!(PresenceStateChange: presentity, status, subtype);

/// A mailbox changed.
#[derive(Clone, PartialEq, Eq)]
pub struct MessageWaiting {
    /// Such as `100@default`.
    pub mailbox: SmolStr,
    /// Messages nobody has heard.
    pub new_messages: u32,
    /// Messages that were heard.
    pub old_messages: u32,
}
debug_shows!(MessageWaiting: new_messages, old_messages);

pub(super) fn read(name: &str, f: Fields<'_>) -> Option<Event> {
    Some(match name {
        "PeerStatus" => Event::PeerStatus(Box::new(PeerStatus {
            channel_type: f.text("ChannelType"),
            peer: f.optional("Peer")?,
            status: f.text("PeerStatus"),
            cause: f.text("Cause"),
            address: f.text("Address"),
        })),
        "ContactStatus" => Event::ContactStatus(Box::new(ContactStatus {
            uri: f.text("URI"),
            status: f.text("ContactStatus"),
            aor: f.optional("AOR")?,
            endpoint: f.text("EndpointName"),
            round_trip: f.optional("RoundtripUsec").and_then(|us| us.parse().ok()).map(Duration::from_micros),
        })),
        "Registry" => Event::Registry(Box::new(Registry {
            channel_type: f.text("ChannelType"),
            username: f.text("Username"),
            domain: f.text("Domain"),
            status: f.optional("Status")?,
            cause: f.text("Cause"),
        })),
        "DeviceStateChange" => Event::DeviceStateChange(DeviceStateChange {
            device: f.optional("Device")?,
            state: DeviceState::from_word(&f.text("State")),
        }),
        "ExtensionStatus" => Event::ExtensionStatus(Box::new(ExtensionStatus {
            exten: f.optional("Exten")?,
            context: f.text("Context"),
            hint: f.text("Hint"),
            status: f.number("Status"),
            status_text: f.text("StatusText"),
        })),
        "PresenceStateChange" => Event::PresenceStateChange(Box::new(PresenceStateChange {
            presentity: f.optional("Presentity")?,
            status: f.text("Status"),
            subtype: f.text("Subtype"),
            message: f.text("Message"),
        })),
        "MessageWaiting" => Event::MessageWaiting(MessageWaiting {
            mailbox: f.optional("Mailbox")?,
            new_messages: f.number("New"),
            old_messages: f.number("Old"),
        }),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::event;

    #[test]
    fn who_can_be_reached_is_typed() {
        let s = SmolStr::new;
        let cases = [
            (
                "Event: PeerStatus\r\nChannelType: PJSIP\r\nPeer: PJSIP/a\r\nPeerStatus: Reachable\r\n",
                Event::PeerStatus(Box::new(PeerStatus {
                    channel_type: s("PJSIP"),
                    peer: s("PJSIP/a"),
                    status: s("Reachable"),
                    cause: SmolStr::default(),
                    address: SmolStr::default(),
                })),
            ),
            (
                "Event: ContactStatus\r\nURI: sip:a@127.0.0.1\r\nContactStatus: Reachable\r\nAOR: a\r\nEndpointName: a\r\n\
                 RoundtripUsec: 900\r\n",
                Event::ContactStatus(Box::new(ContactStatus {
                    uri: s("sip:a@127.0.0.1"),
                    status: s("Reachable"),
                    aor: s("a"),
                    endpoint: s("a"),
                    round_trip: Some(Duration::from_micros(900)),
                })),
            ),
            (
                "Event: Registry\r\nChannelType: pjsip\r\nUsername: sip:a\r\nDomain: sip:d\r\nStatus: Rejected\r\n",
                Event::Registry(Box::new(Registry {
                    channel_type: s("pjsip"),
                    username: s("sip:a"),
                    domain: s("sip:d"),
                    status: s("Rejected"),
                    cause: SmolStr::default(),
                })),
            ),
            (
                "Event: DeviceStateChange\r\nDevice: PJSIP/a\r\nState: RINGINUSE\r\n",
                Event::DeviceStateChange(DeviceStateChange { device: s("PJSIP/a"), state: DeviceState::RingInUse }),
            ),
            (
                "Event: ExtensionStatus\r\nExten: 100\r\nContext: c\r\nHint: PJSIP/a\r\nStatus: -1\r\nStatusText: Unavailable\r\n",
                Event::ExtensionStatus(Box::new(ExtensionStatus {
                    exten: s("100"),
                    context: s("c"),
                    hint: s("PJSIP/a"),
                    status: -1,
                    status_text: s("Unavailable"),
                })),
            ),
            (
                "Event: PresenceStateChange\r\nPresentity: CustomPresence:a\r\nStatus: dnd\r\nSubtype: x\r\nMessage: y\r\n",
                Event::PresenceStateChange(Box::new(PresenceStateChange {
                    presentity: s("CustomPresence:a"),
                    status: s("dnd"),
                    subtype: s("x"),
                    message: s("y"),
                })),
            ),
            (
                "Event: MessageWaiting\r\nMailbox: 100@default\r\nWaiting: 1\r\nNew: 2\r\nOld: 3\r\n",
                Event::MessageWaiting(MessageWaiting { mailbox: s("100@default"), new_messages: 2, old_messages: 3 }),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(event(text), expected, "{text}");
        }
    }
}
