//! Typed events: what the gateway acts upon has a variant, everything else passes through as its message. No IO.

use aimg_core::{Timestamp, Uniqueid};

use crate::channel::{text, unescaped};
use crate::{BridgeSnapshot, ChannelSnapshot, ListedChannel, Message};

/// An event. One that lacks what its variant needs comes as [`Event::Other`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A channel was created: the first event of its Uniqueid.
    NewChannel(ChannelSnapshot),
    /// A channel's state changed.
    NewState(ChannelSnapshot),
    /// A channel entered a step of the dialplan (class `dialplan`).
    NewExten(Box<NewExten>),
    /// A variable was set (class `dialplan`).
    VarSet(Box<VarSet>),
    /// A channel's caller id changed.
    NewCallerid(ChannelSnapshot),
    /// Whom a channel is connected to changed.
    NewConnectedLine(ChannelSnapshot),
    /// A channel got another name.
    Rename(Rename),
    /// A channel, or Asterisk itself, began to call another.
    DialBegin(Box<Dial>),
    /// That call attempt ended, by an answer or without.
    DialEnd(Box<Dial>),
    /// A bridge was created.
    BridgeCreate(BridgeSnapshot),
    /// A channel entered a bridge. Its Linkedid may be another from here on.
    BridgeEnter(Box<BridgeMember>),
    /// A channel left a bridge.
    BridgeLeave(Box<BridgeMember>),
    /// A bridge is gone.
    BridgeDestroy(BridgeSnapshot),
    /// Somebody wants a channel to end; it lives on until [`Event::Hangup`].
    HangupRequest(Box<Hangup>),
    /// A channel is gone: the last event of its Uniqueid, after its `h` extension.
    Hangup(Box<Hangup>),
    /// An item of the list that `CoreShowChannels` gives.
    CoreShowChannel(Box<ListedChannel>),
    /// Asterisk is ready; also sent after login where the user may read class `system`.
    FullyBooted,
    /// Asterisk stops: every channel dies, and the connection will close.
    Shutdown {
        /// Whether it starts again at once.
        restart: bool,
    },
    /// A module, or all, read its configuration anew.
    Reload {
        /// The module; empty when all.
        module: String,
    },
    /// Any other event.
    Other(Message),
}

/// A step of the dialplan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewExten {
    /// The channel that entered it.
    pub channel: ChannelSnapshot,
    /// The application about to run.
    pub application: String,
    /// Its arguments.
    pub application_data: String,
}

/// A variable that was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VarSet {
    /// Whose it is; a global variable has none.
    pub channel: Option<ChannelSnapshot>,
    /// Its name.
    pub variable: String,
    /// Its value.
    pub value: String,
}

/// Another name for a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    /// The channel.
    pub uniqueid: Uniqueid,
    /// The name it had.
    pub name_before: String,
    /// The name it has.
    pub name: String,
}

/// An attempt to call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dial {
    /// Who calls; nobody when Asterisk was told to originate the call.
    pub caller: Option<ChannelSnapshot>,
    /// Who is called.
    pub callee: ChannelSnapshot,
    /// How the attempt ended, such as `ANSWER`, `BUSY` or `CANCEL`; empty at its beginning.
    pub status: String,
}

/// A channel and a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeMember {
    /// The bridge.
    pub bridge: BridgeSnapshot,
    /// The channel.
    pub channel: ChannelSnapshot,
}

/// The end of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hangup {
    /// The channel.
    pub channel: ChannelSnapshot,
    /// The Q.850 cause; 0 when Asterisk tells none.
    pub cause: u16,
    /// The cause in Asterisk's words; empty in a request.
    pub cause_text: String,
}

impl Event {
    fn read(message: &Message) -> Option<Self> {
        let field = |key| text(message.first(key).unwrap_or_default());
        let channel = || ChannelSnapshot::read(message, "");
        let bridge = || BridgeSnapshot::read(message);
        let dial = || {
            Some(Box::new(Dial {
                caller: channel(),
                callee: ChannelSnapshot::read(message, "Dest")?,
                status: field("DialStatus"),
            }))
        };
        let member = || Some(Box::new(BridgeMember { bridge: bridge()?, channel: channel()? }));
        let hangup = || {
            Some(Box::new(Hangup {
                channel: channel()?,
                cause: message.first("Cause").and_then(|cause| cause.parse().ok()).unwrap_or_default(),
                cause_text: field("Cause-txt"),
            }))
        };
        Some(match message.first("Event")? {
            "Newchannel" => Self::NewChannel(channel()?),
            "Newstate" => Self::NewState(channel()?),
            "Newexten" => Self::NewExten(Box::new(NewExten {
                channel: channel()?,
                application: field("Application"),
                application_data: field("AppData"),
            })),
            "VarSet" => Self::VarSet(Box::new(VarSet {
                channel: channel(),
                variable: field("Variable"),
                value: unescaped(message.first("Value").unwrap_or_default()),
            })),
            "NewCallerid" => Self::NewCallerid(channel()?),
            "NewConnectedLine" => Self::NewConnectedLine(channel()?),
            "Rename" => Self::Rename(Rename {
                uniqueid: Uniqueid::new(message.first("Uniqueid")?),
                name_before: field("Channel"),
                name: field("Newname"),
            }),
            "DialBegin" => Self::DialBegin(dial()?),
            "DialEnd" => Self::DialEnd(dial()?),
            "BridgeCreate" => Self::BridgeCreate(bridge()?),
            "BridgeEnter" => Self::BridgeEnter(member()?),
            "BridgeLeave" => Self::BridgeLeave(member()?),
            "BridgeDestroy" => Self::BridgeDestroy(bridge()?),
            "HangupRequest" | "SoftHangupRequest" => Self::HangupRequest(hangup()?),
            "Hangup" => Self::Hangup(hangup()?),
            "CoreShowChannel" => Self::CoreShowChannel(Box::new(ListedChannel::read(message)?)),
            "FullyBooted" => Self::FullyBooted,
            "Shutdown" => Self::Shutdown { restart: field("Restart").eq_ignore_ascii_case("true") },
            "Reload" => Self::Reload { module: field("Module") },
            _ => return None,
        })
    }
}

impl From<Message> for Event {
    fn from(message: Message) -> Self {
        Self::read(&message).unwrap_or(Self::Other(message))
    }
}

/// When Asterisk says the event happened, by its own clock: `Timestamp`, which it adds with `timestampevents = yes` in
/// manager.conf.
pub fn event_time(message: &Message) -> Option<Timestamp> {
    let (seconds, fraction) = message.first("Timestamp")?.split_once('.')?;
    // Asterisk writes six digits; a cut or longer fraction keeps its meaning.
    let micros = format!("{fraction:0<6}").get(..6)?.parse::<u32>().ok()?;
    seconds.parse::<i64>().ok()?.checked_mul(1_000_000)?.checked_add(i64::from(micros)).map(Timestamp::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::tests::message;

    fn event(text: &str) -> Event {
        Event::from(message(text))
    }

    fn with_id(id: &str) -> ChannelSnapshot {
        ChannelSnapshot::new(Uniqueid::new(id))
    }

    #[test]
    fn events_of_a_call_are_typed() {
        let bridge = BridgeSnapshot { id: "b".to_owned(), ..BridgeSnapshot::default() };
        let member = || Box::new(BridgeMember { bridge: bridge.clone(), channel: with_id("1") });
        let dial = |caller, status: &str| Box::new(Dial { caller, callee: with_id("2"), status: status.to_owned() });
        let hangup =
            |cause, words: &str| Box::new(Hangup { channel: with_id("1"), cause, cause_text: words.to_owned() });
        let cases = [
            ("Event: Newchannel\r\nUniqueid: 1\r\n", Event::NewChannel(with_id("1"))),
            ("Event: Newstate\r\nUniqueid: 1\r\n", Event::NewState(with_id("1"))),
            ("Event: NewCallerid\r\nUniqueid: 1\r\n", Event::NewCallerid(with_id("1"))),
            ("Event: DialBegin\r\nUniqueid: 1\r\nDestUniqueid: 2\r\n", Event::DialBegin(dial(Some(with_id("1")), ""))),
            ("Event: DialEnd\r\nDestUniqueid: 2\r\nDialStatus: BUSY\r\n", Event::DialEnd(dial(None, "BUSY"))),
            ("Event: BridgeCreate\r\nBridgeUniqueid: b\r\n", Event::BridgeCreate(bridge.clone())),
            ("Event: BridgeEnter\r\nBridgeUniqueid: b\r\nUniqueid: 1\r\n", Event::BridgeEnter(member())),
            ("Event: BridgeLeave\r\nBridgeUniqueid: b\r\nUniqueid: 1\r\n", Event::BridgeLeave(member())),
            ("Event: BridgeDestroy\r\nBridgeUniqueid: b\r\n", Event::BridgeDestroy(bridge.clone())),
            ("Event: HangupRequest\r\nUniqueid: 1\r\n", Event::HangupRequest(hangup(0, ""))),
            ("Event: SoftHangupRequest\r\nUniqueid: 1\r\nCause: 16\r\n", Event::HangupRequest(hangup(16, ""))),
            (
                "Event: Hangup\r\nUniqueid: 1\r\nCause: 17\r\nCause-txt: User busy\r\n",
                Event::Hangup(hangup(17, "User busy")),
            ),
            (
                "Event: Rename\r\nChannel: a\r\nNewname: b\r\nUniqueid: 1\r\n",
                Event::Rename(Rename {
                    uniqueid: Uniqueid::new("1"),
                    name_before: "a".to_owned(),
                    name: "b".to_owned(),
                }),
            ),
            (
                "Event: VarSet\r\nChannel: none\r\nUniqueid: none\r\nVariable: X\r\nValue: a\\nb\r\n",
                Event::VarSet(Box::new(VarSet { channel: None, variable: "X".to_owned(), value: "a\nb".to_owned() })),
            ),
            ("Event: FullyBooted\r\nStatus: Fully Booted\r\n", Event::FullyBooted),
            ("Event: Shutdown\r\nShutdown: Cleanly\r\nRestart: True\r\n", Event::Shutdown { restart: true }),
            ("Event: Reload\r\nModule: manager\r\nStatus: 0\r\n", Event::Reload { module: "manager".to_owned() }),
        ];
        for (text, expected) in cases {
            assert_eq!(event(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_unknown_or_incomplete_passes_through() {
        for text in [
            "Event: PeerStatus\r\nPeer: x\r\n",
            "Event: Newchannel\r\nChannel: without an id\r\n",
            "Event: BridgeEnter\r\nUniqueid: 1\r\n",
            "Response: Success\r\n",
        ] {
            assert_eq!(event(text), Event::Other(message(text)), "{text}");
        }
    }

    #[test]
    fn the_time_of_an_event_is_exact() {
        let cases = [
            ("1763900000.123456", Some(1_763_900_000_123_456)),
            ("1763900000.5", Some(1_763_900_000_500_000)),
            ("1763900000.1234567", Some(1_763_900_000_123_456)),
            ("1763900000", None),
            ("9223372036854775807.0", None),
            ("1.é", None),
            ("", None),
        ];
        for (value, expected) in cases {
            let m = message(&format!("Event: Hangup\r\nTimestamp: {value}\r\n"));
            assert_eq!(event_time(&m).map(Timestamp::as_micros), expected, "{value}");
        }
        assert_eq!(event_time(&message("Event: Hangup\r\n")), None);
    }
}
