//! Typed events: what a PBX's manager needs has a variant, everything else passes through as its message. No IO.
//!
//! One file for each family of events; here is the list of them all.

mod call;
mod channel;
mod device;
mod fields;
mod queue;
mod system;
mod transfer;

use aimg_core::Timestamp;
use smol_str::SmolStr;

pub use self::call::{BridgeMember, BridgeMerge, Conference, Dial, OriginateResponse, Pickup};
pub use self::channel::{Dtmf, Hangup, Hold, LocalPair, MusicOnHold, NewExten, Rename, Talked, VarSet};
pub use self::device::{
    ContactStatus, DeviceStateChange, ExtensionStatus, MessageWaiting, PeerStatus, PresenceStateChange, Registry,
};
pub use self::fields::DeviceState;
use self::fields::Fields;
pub use self::queue::{Agent, AgentCall, QueueCaller, QueueEntry, QueueMember, QueueParams, QueueSummary};
pub use self::system::UserEvent;
pub use self::transfer::{AttendedTransfer, BlindTransfer, ParkedCall};
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
        module: SmolStr,
    },
    /// A channel put the other side on hold.
    Hold(Box<Hold>),
    /// It took it back.
    Unhold(ChannelSnapshot),
    /// A key was pressed (class `dtmf`).
    DtmfBegin(Box<Dtmf>),
    /// It was let go (class `dtmf`).
    DtmfEnd(Box<Dtmf>),
    /// Music began to play to a channel.
    MusicOnHoldStart(Box<MusicOnHold>),
    /// It ended.
    MusicOnHoldStop(ChannelSnapshot),
    /// Somebody began to talk (the dialplan's `TALK_DETECT`, class `class`).
    ChannelTalkingStart(ChannelSnapshot),
    /// Somebody stopped talking.
    ChannelTalkingStop(Box<Talked>),
    /// The halves of a Local channel were joined.
    LocalBridge(Box<LocalPair>),
    /// Asterisk begins to take a Local channel out of the way.
    LocalOptimizationBegin(Box<LocalPair>),
    /// It has done so, or not.
    LocalOptimizationEnd(Box<LocalPair>),
    /// A call attempt goes on: it rings, or makes progress.
    DialState(Box<Dial>),
    /// How an Originate that did not wait came out.
    OriginateResponse(Box<OriginateResponse>),
    /// A ringing channel's call was taken by another.
    Pickup(Box<Pickup>),
    /// All members of a bridge go into another.
    BridgeMerge(Box<BridgeMerge>),
    /// A conference began.
    ConferenceStart(Box<Conference>),
    /// A conference ended.
    ConferenceEnd(Box<Conference>),
    /// Somebody joined a conference.
    ConferenceJoin(Box<Conference>),
    /// Somebody left a conference.
    ConferenceLeave(Box<Conference>),
    /// Somebody in a conference was muted.
    ConferenceMute(Box<Conference>),
    /// Somebody in a conference is heard again.
    ConferenceUnmute(Box<Conference>),
    /// Somebody in a conference began or stopped to talk.
    ConferenceTalking(Box<Conference>),
    /// A call was sent to an extension.
    BlindTransfer(Box<BlindTransfer>),
    /// Two calls of one channel became one without it.
    AttendedTransfer(Box<AttendedTransfer>),
    /// A call was parked.
    ParkedCall(Box<ParkedCall>),
    /// A parked call was taken out.
    UnParkedCall(Box<ParkedCall>),
    /// A parked call was there for too long.
    ParkedCallTimeout(Box<ParkedCall>),
    /// A parked call hung up.
    ParkedCallGiveUp(Box<ParkedCall>),
    /// A parked call was replaced by another.
    ParkedCallSwap(Box<ParkedCall>),
    /// A caller came into a queue (class `agent`, as all of queues and agents).
    QueueCallerJoin(Box<QueueCaller>),
    /// A caller left a queue, to talk or otherwise.
    QueueCallerLeave(Box<QueueCaller>),
    /// A caller gave up before anybody answered.
    QueueCallerAbandon(Box<QueueCaller>),
    /// A member's device is in another state.
    QueueMemberStatus(Box<QueueMember>),
    /// A member came to a queue.
    QueueMemberAdded(Box<QueueMember>),
    /// A member left a queue.
    QueueMemberRemoved(Box<QueueMember>),
    /// A member takes no calls, or takes them again.
    QueueMemberPause(Box<QueueMember>),
    /// A member has another penalty.
    QueueMemberPenalty(Box<QueueMember>),
    /// A member, as `QueueStatus` lists it.
    QueueMember(Box<QueueMember>),
    /// A queue, as `QueueStatus` lists it.
    QueueParams(Box<QueueParams>),
    /// A caller that waits, as `QueueStatus` lists it.
    QueueEntry(Box<QueueEntry>),
    /// A queue, as `QueueSummary` lists it.
    QueueSummary(Box<QueueSummary>),
    /// A member is being called.
    AgentCalled(Box<AgentCall>),
    /// A member answered a caller.
    AgentConnect(Box<AgentCall>),
    /// They have talked.
    AgentComplete(Box<AgentCall>),
    /// A member did not answer.
    AgentRingNoAnswer(Box<AgentCall>),
    /// A member hung up on the announcement before the caller was connected.
    AgentDump(Box<AgentCall>),
    /// An agent logged in.
    AgentLogin(Box<Agent>),
    /// An agent logged off.
    AgentLogoff(Box<Agent>),
    /// A peer became, or is no longer, reachable (class `system`).
    PeerStatus(Box<PeerStatus>),
    /// A contact of PJSIP came, went, or changed (class `system`).
    ContactStatus(Box<ContactStatus>),
    /// A registration of this Asterisk with another server changed (class `system`).
    Registry(Box<Registry>),
    /// The state of a device changed (class `call`).
    DeviceStateChange(DeviceStateChange),
    /// The state of an extension with a hint changed (class `call`).
    ExtensionStatus(Box<ExtensionStatus>),
    /// Somebody's presence changed (class `call`).
    PresenceStateChange(Box<PresenceStateChange>),
    /// A mailbox changed (class `call`).
    MessageWaiting(MessageWaiting),
    /// What a dialplan or another manager told (class `user`).
    UserEvent(Box<UserEvent>),
    /// Any other event.
    Other(Message),
}

impl Event {
    /// The event of a message. Families are asked in the order of how often their events come.
    fn read(message: &Message) -> Option<Self> {
        let (name, fields) = (message.first("Event")?, Fields(message));
        channel::read(name, fields)
            .or_else(|| call::read(name, fields))
            .or_else(|| device::read(name, fields))
            .or_else(|| queue::read(name, fields))
            .or_else(|| transfer::read(name, fields))
            .or_else(|| system::read(name, fields))
    }
}

impl From<Message> for Event {
    fn from(message: Message) -> Self {
        Self::read(&message).unwrap_or(Self::Other(message))
    }
}

impl From<&Message> for Event {
    fn from(message: &Message) -> Self {
        Self::read(message).unwrap_or_else(|| Self::Other(message.clone()))
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
pub(crate) mod tests {
    use aimg_core::Uniqueid;
    use proptest::prelude::*;

    use super::*;
    use crate::frame::tests::message;

    /// The event in `text`.
    pub(crate) fn event(text: &str) -> Event {
        Event::from(message(text))
    }

    /// A channel of which nothing but its id is known.
    pub(crate) fn with_id(id: &str) -> ChannelSnapshot {
        ChannelSnapshot::new(Uniqueid::new(id))
    }

    #[test]
    fn events_of_a_call_are_typed() {
        let bridge = BridgeSnapshot { id: "b".into(), ..BridgeSnapshot::default() };
        let member = || Box::new(BridgeMember { bridge: bridge.clone(), channel: with_id("1"), swapped: None });
        let dial = |caller, status: &str| Box::new(Dial { caller, callee: with_id("2"), status: status.into() });
        let hangup = |cause, words: &str| Box::new(Hangup { channel: with_id("1"), cause, cause_text: words.into() });
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
                Event::Rename(Rename { uniqueid: Uniqueid::new("1"), name_before: "a".into(), name: "b".into() }),
            ),
            (
                "Event: VarSet\r\nChannel: none\r\nUniqueid: none\r\nVariable: X\r\nValue: a\\nb\r\n",
                Event::VarSet(Box::new(VarSet { channel: None, variable: "X".into(), value: "a\nb".into() })),
            ),
            ("Event: FullyBooted\r\nStatus: Fully Booted\r\n", Event::FullyBooted),
            ("Event: Shutdown\r\nShutdown: Cleanly\r\nRestart: True\r\n", Event::Shutdown { restart: true }),
            ("Event: Reload\r\nModule: manager\r\nStatus: 0\r\n", Event::Reload { module: "manager".into() }),
        ];
        for (text, expected) in cases {
            assert_eq!(event(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_unknown_or_incomplete_passes_through() {
        for text in [
            "Event: PeerStatus\r\nPeerStatus: Registered\r\n",
            "Event: Cdr\r\nSource: x\r\n",
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

    /// Names that have a variant.
    const NAMES: [&str; 12] = [
        "Newchannel",
        "DTMFEnd",
        "LocalOptimizationEnd",
        "OriginateResponse",
        "ConfbridgeJoin",
        "AttendedTransfer",
        "ParkedCall",
        "QueueMember",
        "AgentRingNoAnswer",
        "QueueEntry",
        "ContactStatus",
        "ExtensionStatus",
    ];

    proptest! {
        #[test]
        fn odd_values_make_no_panic(
            name in prop::sample::select(&NAMES[..]),
            values in prop::collection::vec((
                "(Dest|LocalOne|LocalTwo|OrigTransferer|SecondTransferer|Parkee)?(Uniqueid|Channel|ChannelState)|Queue\
                 |Conference|BridgeUniqueid|Digit|DurationMs|RingTime|ParkingTimeout|Status|LastCall|RoundtripUsec|Aor|Exten",
                "[0-9]{1,25}|-1|<unknown>|[^\r\n]{0,8}",
            ), 0..20),
        ) {
            let headers: String = values.iter().map(|(key, value)| format!("{key}: {value}\r\n")).collect();
            let message = message(&format!("Event: {name}\r\n{headers}"));
            prop_assert_eq!(Event::from(&message), Event::from(message));
        }
    }
}
