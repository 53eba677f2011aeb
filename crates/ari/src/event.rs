//! What Asterisk reports over the event WebSocket. No IO.
//!
//! An unknown type, or a known one with fields missing, is [`EventKind::Other`]: a newer Asterisk must not stop the stream.

use aimg_core::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::model::{
    AttendedTransfer, Bridge, Channel, ContactInfo, DeviceState, Endpoint, Extra, LiveRecording, Peer, Playback,
    ReferTo, ReferredBy, TextMessage,
};

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The application it was sent to.
    pub app: String,
    /// When it happened, by Asterisk's clock; nothing if it is unreadable.
    pub at: Option<Timestamp>,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "type")]
pub enum EventKind {
    /// A channel entered the application.
    StasisStart {
        /// The arguments of `Stasis(app,…)` in the dialplan.
        #[serde(default)]
        args: Vec<String>,
        /// The channel.
        channel: Box<Channel>,
        /// The channel whose place it takes (a masquerade).
        replace_channel: Option<Box<Channel>>,
    },
    /// A channel left the application. Its own events stop with it: ChannelDestroyed may not follow.
    StasisEnd {
        /// The channel.
        channel: Box<Channel>,
    },
    /// A channel exists; comes only where everything is subscribed to.
    ChannelCreated {
        /// The channel.
        channel: Box<Channel>,
    },
    /// A channel rings, is answered, …
    ChannelStateChange {
        /// The channel, in its state from here on.
        channel: Box<Channel>,
    },
    /// Somebody asked for the end of a channel.
    ChannelHangupRequest {
        /// The channel.
        channel: Box<Channel>,
        /// Q.850 cause.
        #[serde(default)]
        cause: Option<u16>,
        /// Whether the channel may finish what it does.
        #[serde(default)]
        soft: bool,
    },
    /// A channel is gone.
    ChannelDestroyed {
        /// The channel.
        channel: Box<Channel>,
        /// Q.850 cause.
        #[serde(default)]
        cause: u16,
        /// The cause in words.
        #[serde(default)]
        cause_txt: String,
        /// The technology's own cause, such as a SIP status (newer versions).
        #[serde(default)]
        tech_cause: Option<i64>,
    },
    /// A key was pressed and released.
    ChannelDtmfReceived {
        /// The channel.
        channel: Box<Channel>,
        /// 0-9, A-D, # or *.
        digit: String,
        /// How long it was pressed, ms.
        #[serde(default)]
        duration_ms: u32,
    },
    /// A channel joined a bridge.
    ChannelEnteredBridge {
        /// The bridge, the channel included.
        bridge: Box<Bridge>,
        /// The channel.
        channel: Option<Box<Channel>>,
    },
    /// A channel left a bridge.
    ChannelLeftBridge {
        /// The bridge, without the channel.
        bridge: Box<Bridge>,
        /// The channel.
        channel: Box<Channel>,
    },
    /// A variable was set.
    ChannelVarset {
        /// The variable's name.
        variable: String,
        /// Its value.
        value: String,
        /// The channel; nothing for a global variable.
        channel: Option<Box<Channel>>,
    },
    /// A dial began, progressed or ended.
    Dial {
        /// The calling channel; nothing when there is none.
        caller: Option<Box<Channel>>,
        /// The called channel.
        peer: Box<Channel>,
        /// Such as `ANSWER`; empty at the beginning.
        #[serde(default)]
        dialstatus: String,
        /// What was dialled.
        #[serde(default)]
        dialstring: String,
        /// The channel the call was forwarded to.
        forwarded: Option<Box<Channel>>,
    },
    /// A bridge exists.
    BridgeCreated {
        /// The bridge.
        bridge: Box<Bridge>,
    },
    /// A bridge is gone.
    BridgeDestroyed {
        /// The bridge.
        bridge: Box<Bridge>,
    },
    /// A bridge's channels moved to another.
    BridgeMerged {
        /// The bridge that stays.
        bridge: Box<Bridge>,
        /// The bridge that was emptied.
        bridge_from: Box<Bridge>,
    },
    /// A party put the call on hold.
    ChannelHold {
        /// The channel.
        channel: Box<Channel>,
        /// The music the party asks for.
        musicclass: Option<String>,
    },
    /// A party took the call from hold.
    ChannelUnhold {
        /// The channel.
        channel: Box<Channel>,
    },
    /// A playback began.
    PlaybackStarted {
        /// The playback.
        playback: Box<Playback>,
    },
    /// A playback ended.
    PlaybackFinished {
        /// The playback.
        playback: Box<Playback>,
    },
    /// The next of several sounds of a playback began.
    PlaybackContinuing {
        /// The playback.
        playback: Box<Playback>,
    },
    /// Asterisk began a recording of its own.
    RecordingStarted {
        /// The recording.
        recording: Box<LiveRecording>,
    },
    /// It is done.
    RecordingFinished {
        /// The recording.
        recording: Box<LiveRecording>,
    },
    /// It could not be made.
    RecordingFailed {
        /// The recording, with its cause.
        recording: Box<LiveRecording>,
    },
    /// A channel runs the next application of the dialplan.
    ChannelDialplan {
        /// The channel.
        channel: Box<Channel>,
        /// Such as `Dial`.
        #[serde(default)]
        dialplan_app: String,
        /// Its arguments.
        #[serde(default)]
        dialplan_app_data: String,
    },
    /// A channel's caller is known, or another one.
    ChannelCallerId {
        /// The channel.
        channel: Box<Channel>,
        /// Whether the number may be shown, as Asterisk's number.
        #[serde(default)]
        caller_presentation: i64,
        /// The same in words.
        #[serde(default)]
        caller_presentation_txt: String,
    },
    /// A channel learned who it is connected to.
    ChannelConnectedLine {
        /// The channel.
        channel: Box<Channel>,
    },
    /// Somebody began to speak. Needs `TALK_DETECT` on the channel.
    ChannelTalkingStarted {
        /// The channel.
        channel: Box<Channel>,
    },
    /// Somebody ceased to speak.
    ChannelTalkingFinished {
        /// The channel.
        channel: Box<Channel>,
        /// How long it was, ms.
        #[serde(default, rename = "duration")]
        duration_ms: u64,
    },
    /// A tone such as that of a fax machine was heard. Needs `TONE_DETECT` on the channel.
    ChannelToneDetected {
        /// The channel.
        channel: Box<Channel>,
    },
    /// What a program or the dialplan tells of its own.
    ChannelUserevent {
        /// Its name.
        eventname: String,
        /// The channel it is about.
        channel: Option<Box<Channel>>,
        /// The bridge it is about.
        bridge: Option<Box<Bridge>>,
        /// The endpoint it is about.
        endpoint: Option<Box<Endpoint>>,
        /// What it says.
        #[serde(default)]
        userevent: Extra,
    },
    /// A party asks for a transfer that the application has to make (Asterisk 20.13, 21.8, 22.3 and later).
    ChannelTransfer {
        /// How far it is.
        #[serde(default)]
        state: Option<String>,
        /// Where the call is to go.
        refer_to: Box<ReferTo>,
        /// Who asks.
        referred_by: Box<ReferredBy>,
    },
    /// A party sent the other away.
    BridgeBlindTransfer {
        /// The channel of the party that transfers.
        channel: Box<Channel>,
        /// The channel that is transferred; nothing for more than one.
        transferee: Option<Box<Channel>>,
        /// The channel that stands for the party that transfers.
        replace_channel: Option<Box<Channel>>,
        /// The bridge that is transferred.
        bridge: Option<Box<Bridge>>,
        /// The extension.
        exten: String,
        /// Its context.
        context: String,
        /// Such as `Success` or `Fail`.
        result: String,
        /// Whether another program asked for it.
        #[serde(default)]
        is_external: bool,
    },
    /// A party connected its two calls with each other.
    BridgeAttendedTransfer(Box<AttendedTransfer>),
    /// A bridge shows another channel's video.
    BridgeVideoSourceChanged {
        /// The bridge.
        bridge: Box<Bridge>,
        /// The channel it showed.
        old_video_source_id: Option<String>,
    },
    /// A device is in another state.
    DeviceStateChanged {
        /// The device.
        device_state: DeviceState,
    },
    /// An endpoint is in another state.
    EndpointStateChange {
        /// The endpoint.
        endpoint: Endpoint,
    },
    /// A contact of an endpoint came, went, or answers no more.
    ContactStatusChange {
        /// The endpoint.
        endpoint: Endpoint,
        /// The contact.
        contact_info: ContactInfo,
    },
    /// A peer came, went, or answers no more.
    PeerStatusChange {
        /// The endpoint.
        endpoint: Endpoint,
        /// The peer.
        peer: Peer,
    },
    /// A text message arrived outside of a call. Its text is the party's: not to be logged.
    TextMessageReceived {
        /// The message.
        message: TextMessage,
        /// Who sent it, if it is an endpoint.
        endpoint: Option<Endpoint>,
    },
    /// A channel could not be handed to another application, and stays.
    ApplicationMoveFailed {
        /// The channel.
        channel: Box<Channel>,
        /// The application.
        destination: String,
        /// What it should have been told.
        #[serde(default)]
        args: Vec<String>,
    },
    /// The application exists (Asterisk connecting to us: the first event).
    ApplicationRegistered,
    /// The application is gone.
    ApplicationUnregistered,
    /// A channel is offered to several applications; the first claim has it (Asterisk 20.17, 22.7, 23.1 and later).
    CallBroadcast {
        /// The channel.
        channel: Box<Channel>,
        /// Who calls.
        caller: Option<String>,
        /// Who is called.
        called: Option<String>,
    },
    /// A channel that was offered is taken.
    CallClaimed {
        /// The channel.
        channel: Box<Channel>,
        /// The application that has it.
        winner_app: String,
    },
    /// Another program took the application over; nothing more will come.
    ApplicationReplaced,
    /// Anything else, as it came.
    #[serde(skip)]
    Other(Value),
}

/// A message that is no event at all.
#[derive(Debug, thiserror::Error)]
#[error("a message of the event stream is not an event: {0}")]
pub struct ParseEventError(#[from] serde_json::Error);

#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    application: String,
    #[serde(default, deserialize_with = "crate::time::deserialize")]
    timestamp: Option<Timestamp>,
}

impl Event {
    /// Reads one message. It fails only when the message is no JSON object.
    pub fn parse(message: &[u8]) -> Result<Self, ParseEventError> {
        // serde would read an array as a struct's fields in order.
        if message.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err(ParseEventError(serde::de::Error::custom("not a JSON object")));
        }
        let kind = match serde_json::from_slice(message) {
            Ok(kind) => kind,
            Err(_) => EventKind::Other(serde_json::from_slice(message)?),
        };
        let Envelope { application: app, timestamp: at } = serde_json::from_slice(message)?;
        Ok(Self { app, at, kind })
    }
}

#[cfg(test)]
mod tests {
    use aimg_core::Uniqueid;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::model::ChannelState;

    fn parse(text: &str) -> Event {
        Event::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn unknown_types_and_missing_fields_are_other() {
        for message in [
            json!({"type": "FromTheFuture", "application": "aimg", "x": 1}),
            json!({"type": "StasisStart", "application": "aimg"}),
            json!({"type": "ChannelDtmfReceived", "application": "aimg", "digit": 5}),
            json!({"type": "MissingParams", "params": ["app"], "application": "aimg"}),
            json!({"type": 7, "application": "aimg"}),
            json!({"application": "aimg"}),
        ] {
            let event = parse(&message.to_string());
            assert_eq!((event.app.as_str(), event.kind), ("aimg", EventKind::Other(message)));
        }
    }

    /// Captured from Debian's packages: a call through a hook, its snoop and external media, keys, a playback.
    const CAPTURED: [(&str, &str); 2] = [
        ("22.10.1", include_str!("../tests/samples/asterisk-22.jsonl")),
        ("16.28.0", include_str!("../tests/samples/asterisk-16.jsonl")),
    ];

    #[test]
    fn events_of_real_asterisks_are_understood() {
        for (version, lines) in CAPTURED {
            let events: Vec<Event> = lines.lines().map(parse).collect();
            for event in &events {
                assert_eq!(event.app, "aimg-live", "{version}: {event:?}");
                assert!(event.at.is_some(), "{version}: {event:?}");
            }
            let mut unknown: Vec<&str> = events.iter().filter_map(unknown_type).collect();
            unknown.sort_unstable();
            assert_eq!(unknown, [""; 0], "{version}");
        }
    }

    fn unknown_type(event: &Event) -> Option<&str> {
        match &event.kind {
            EventKind::Other(raw) => raw["type"].as_str(),
            _ => None,
        }
    }

    type Wanted<'a> = &'a dyn Fn(&EventKind) -> bool;

    #[test]
    fn what_real_asterisks_say_arrives() {
        for (version, lines) in CAPTURED {
            let events: Vec<Event> = lines.lines().map(parse).collect();
            let found = |wanted: Wanted<'_>| events.iter().any(|event| wanted(&event.kind));
            let cases: [(&str, Wanted<'_>); 8] = [
                ("the hook", &|kind| {
                    matches!(kind, EventKind::StasisStart { args, channel, replace_channel: None }
                        if args == &["tap"] && channel.state == ChannelState::Ring && channel.creationtime.is_some()
                            && channel.dialplan.app_name == "Stasis" && channel.dialplan.context == "hook")
                }),
                (
                    "a key",
                    &|kind| matches!(kind, EventKind::ChannelDtmfReceived { digit, duration_ms: 100, .. } if digit == "5"),
                ),
                ("a hangup's cause", &|kind| {
                    matches!(kind, EventKind::ChannelHangupRequest { cause: Some(32), soft: true, .. })
                }),
                (
                    "an end's cause",
                    &|kind| matches!(kind, EventKind::ChannelDestroyed { cause: 16, cause_txt, .. } if cause_txt == "Normal Clearing"),
                ),
                ("a bridge's member", &|kind| {
                    matches!(kind, EventKind::ChannelEnteredBridge { bridge, channel: Some(channel) }
                        if bridge.channels.contains(&channel.id) && bridge.bridge_type == "mixing")
                }),
                (
                    "a variable",
                    &|kind| matches!(kind, EventKind::ChannelVarset { variable, .. } if variable == "STASISSTATUS"),
                ),
                ("a dial's end", &|kind| matches!(kind, EventKind::Dial { dialstatus, .. } if dialstatus == "ANSWER")),
                (
                    "a playback",
                    &|kind| matches!(kind, EventKind::PlaybackFinished { playback } if playback.state == "done"),
                ),
            ];
            for (what, wanted) in cases {
                assert!(found(wanted), "{version}: {what}");
            }
        }
    }

    #[test]
    fn every_type_is_understood() {
        let channel = json!({"id": "1.2", "name": "PJSIP/a-1", "state": "Up"});
        let bridge = json!({"id": "b", "channels": ["1.2"]});
        let endpoint = json!({"technology": "PJSIP", "resource": "a", "channel_ids": []});
        let recording =
            json!({"name": "r", "format": "wav", "target_uri": "channel:1.2", "state": "done", "duration": 3});
        let playback = json!({"id": "p", "media_uri": "digits:1", "target_uri": "channel:1.2", "state": "playing"});
        for (kind, fields) in [
            ("PlaybackContinuing", json!({"playback": playback})),
            ("RecordingStarted", json!({"recording": recording})),
            ("RecordingFinished", json!({"recording": recording})),
            ("RecordingFailed", json!({"recording": recording})),
            ("ChannelDialplan", json!({"channel": channel, "dialplan_app": "Dial", "dialplan_app_data": "x"})),
            ("ChannelCallerId", json!({"channel": channel, "caller_presentation": 0, "caller_presentation_txt": ""})),
            ("ChannelConnectedLine", json!({"channel": channel})),
            ("ChannelTalkingStarted", json!({"channel": channel})),
            ("ChannelTalkingFinished", json!({"channel": channel, "duration": 1200})),
            ("ChannelToneDetected", json!({"channel": channel})),
            ("ChannelHold", json!({"channel": channel, "musicclass": "default"})),
            ("ChannelUnhold", json!({"channel": channel})),
            ("ChannelUserevent", json!({"eventname": "x", "channel": channel, "userevent": {"a": "1"}})),
            (
                "ChannelTransfer",
                json!({"refer_to": {"requested_destination": {"destination": "100"}},
                "referred_by": {"source_channel": channel}}),
            ),
            (
                "BridgeBlindTransfer",
                json!({"channel": channel, "exten": "100", "context": "default", "result": "Success",
                "is_external": false, "bridge": bridge}),
            ),
            (
                "BridgeAttendedTransfer",
                json!({"transferer_first_leg": channel, "transferer_second_leg": channel,
                "result": "Success", "is_external": true, "destination_type": "bridge", "destination_bridge": "b"}),
            ),
            ("BridgeMerged", json!({"bridge": bridge, "bridge_from": bridge})),
            ("BridgeVideoSourceChanged", json!({"bridge": bridge})),
            ("DeviceStateChanged", json!({"device_state": {"name": "Stasis:x", "state": "INUSE"}})),
            ("EndpointStateChange", json!({"endpoint": endpoint})),
            (
                "ContactStatusChange",
                json!({"endpoint": endpoint,
                "contact_info": {"uri": "sip:a", "contact_status": "Reachable", "aor": "a", "roundtrip_usec": "100"}}),
            ),
            ("PeerStatusChange", json!({"endpoint": endpoint, "peer": {"peer_status": "Registered"}})),
            ("TextMessageReceived", json!({"message": {"from": "sip:a", "to": "sip:b", "body": "x"}})),
            ("ApplicationMoveFailed", json!({"channel": channel, "destination": "other", "args": []})),
            ("ApplicationRegistered", json!({})),
            ("ApplicationUnregistered", json!({})),
            ("CallBroadcast", json!({"channel": channel, "caller": "1", "called": "2"})),
            ("CallClaimed", json!({"channel": channel, "winner_app": "aimg"})),
        ] {
            let mut message = fields;
            message["type"] = kind.into();
            message["application"] = "aimg".into();
            let event = parse(&message.to_string());
            assert!(!matches!(event.kind, EventKind::Other(_)), "{kind}: {:?}", event.kind);
        }
    }

    #[test]
    fn what_is_no_object_is_no_event() {
        for text in ["", "{", "[]", "[1]", "[\"ApplicationReplaced\"]", "7", "null", "\"StasisStart\"", "\u{0}"] {
            assert!(Event::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn replaced_carries_nothing_else() {
        let event =
            parse(r#"{"type":"ApplicationReplaced","timestamp":"2026-11-23T12:00:00.123+0000","application":"aimg"}"#);
        assert_eq!(event.kind, EventKind::ApplicationReplaced);
        assert_eq!(event.at.unwrap().as_micros(), 1_795_435_200_123_000);
    }

    #[test]
    fn an_unreadable_time_costs_only_the_time() {
        let event = parse(r#"{"type":"StasisEnd","timestamp":"noon","channel":{"id":"1.2","name":"x","state":"Up"}}"#);
        assert_eq!(event.at, None);
        let EventKind::StasisEnd { channel } = event.kind else { panic!("{:?}", event.kind) };
        assert_eq!((channel.id, channel.state), (Uniqueid::new("1.2"), ChannelState::Up));
    }

    proptest! {
        #[test]
        fn no_message_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Event::parse(&bytes);
        }
    }
}
