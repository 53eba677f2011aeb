//! Who calls whom: dialling, originated calls, pick-up, and the bridges that join them.

use smol_str::SmolStr;

use super::Event;
use super::fields::{Fields, debug_shows};
use crate::{BridgeSnapshot, ChannelSnapshot};

/// An attempt to call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dial {
    /// Who calls; nobody when Asterisk was told to originate the call.
    pub caller: Option<ChannelSnapshot>,
    /// Who is called.
    pub callee: ChannelSnapshot,
    /// How it goes on, such as `RINGING` or `PROGRESS`, or how it ended, such as `ANSWER`, `BUSY` or `CANCEL`; empty at its
    /// beginning.
    pub status: SmolStr,
}

/// How an Originate that did not wait came out.
#[derive(Clone, PartialEq, Eq)]
pub struct OriginateResponse {
    /// The ActionID of the Originate; other managers of this Asterisk may have used the same, so rather go by `uniqueid`.
    pub action_id: SmolStr,
    /// Whether the channel was answered.
    pub success: bool,
    /// Asterisk's number of the reason: 0 no such extension or number, 1 no answer, 4 answered, 5 busy, 8 not reachable.
    pub reason: u8,
    /// The channel; none when it was never made.
    pub uniqueid: Option<aimg_core::Uniqueid>,
    /// The channel's name; of one that was never made, what was to be dialled.
    pub channel: SmolStr,
    /// The dialplan context it was sent to; empty when an application was.
    pub context: SmolStr,
    /// The extension.
    pub exten: SmolStr,
    /// The application.
    pub application: SmolStr,
    /// Its arguments.
    pub data: SmolStr,
}
debug_shows!(OriginateResponse: action_id, success, reason, uniqueid);

/// A ringing channel's call was taken by another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pickup {
    /// Who took it.
    pub channel: ChannelSnapshot,
    /// Whose call it was.
    pub target: ChannelSnapshot,
}

/// A channel and a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeMember {
    /// The bridge.
    pub bridge: BridgeSnapshot,
    /// The channel.
    pub channel: ChannelSnapshot,
    /// Whose place it takes there; only in [`Event::BridgeEnter`].
    pub swapped: Option<aimg_core::Uniqueid>,
}

/// All members of a bridge go into another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeMerge {
    /// The bridge that stays.
    pub into: BridgeSnapshot,
    /// The bridge that ends.
    pub from: BridgeSnapshot,
}

/// Somebody in a conference (application ConfBridge).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conference {
    /// The conference's name.
    pub conference: SmolStr,
    /// Its bridge.
    pub bridge: BridgeSnapshot,
    /// Who; nobody when it is about the whole conference.
    pub channel: Option<ChannelSnapshot>,
    /// Whether that is one of its administrators.
    pub admin: bool,
    /// Whether that one talks; only in [`Event::ConferenceTalking`].
    pub talking: bool,
}

pub(super) fn read(name: &str, f: Fields<'_>) -> Option<Event> {
    Some(match name {
        "DialBegin" => Event::DialBegin(dial(f)?),
        "DialState" => Event::DialState(dial(f)?),
        "DialEnd" => Event::DialEnd(dial(f)?),
        "OriginateResponse" => Event::OriginateResponse(Box::new(originate_response(f))),
        "Pickup" => Event::Pickup(Box::new(Pickup { channel: f.channel()?, target: f.channel_of("Target")? })),
        "BridgeCreate" => Event::BridgeCreate(f.bridge()?),
        "BridgeEnter" => Event::BridgeEnter(member(f)?),
        "BridgeLeave" => Event::BridgeLeave(member(f)?),
        "BridgeDestroy" => Event::BridgeDestroy(f.bridge()?),
        "BridgeMerge" => Event::BridgeMerge(Box::new(BridgeMerge {
            into: f.bridge_of("ToBridge")?,
            from: f.bridge_of("FromBridge")?,
        })),
        "ConfbridgeStart" => Event::ConferenceStart(conference(f)?),
        "ConfbridgeEnd" => Event::ConferenceEnd(conference(f)?),
        "ConfbridgeJoin" => Event::ConferenceJoin(conference(f)?),
        "ConfbridgeLeave" => Event::ConferenceLeave(conference(f)?),
        "ConfbridgeMute" => Event::ConferenceMute(conference(f)?),
        "ConfbridgeUnmute" => Event::ConferenceUnmute(conference(f)?),
        "ConfbridgeTalking" => Event::ConferenceTalking(conference(f)?),
        _ => return None,
    })
}

fn dial(f: Fields<'_>) -> Option<Box<Dial>> {
    Some(Box::new(Dial { caller: f.channel(), callee: f.channel_of("Dest")?, status: f.text("DialStatus") }))
}

fn member(f: Fields<'_>) -> Option<Box<BridgeMember>> {
    Some(Box::new(BridgeMember { bridge: f.bridge()?, channel: f.channel()?, swapped: f.uniqueid("SwapUniqueid") }))
}

fn originate_response(f: Fields<'_>) -> OriginateResponse {
    OriginateResponse {
        action_id: f.text("ActionID"),
        success: f.text("Response") == "Success",
        reason: f.number("Reason"),
        // `<null>` stands for a channel that was never made.
        uniqueid: f.uniqueid("Uniqueid").filter(|id| id.as_str() != "<null>"),
        channel: f.text("Channel"),
        context: f.text("Context"),
        exten: f.text("Exten"),
        application: f.text("Application"),
        data: f.text("Data"),
    }
}

fn conference(f: Fields<'_>) -> Option<Box<Conference>> {
    Some(Box::new(Conference {
        conference: f.optional("Conference")?,
        bridge: f.bridge()?,
        channel: f.channel(),
        admin: f.flag("Admin"),
        talking: f.flag("TalkingStatus"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::{event, with_id};

    fn bridge(id: &str) -> BridgeSnapshot {
        BridgeSnapshot { id: id.into(), ..BridgeSnapshot::default() }
    }

    #[test]
    fn calls_are_typed() {
        let dial = Dial { caller: Some(with_id("1")), callee: with_id("2"), status: "RINGING".into() };
        let cases = [
            (
                "Event: DialState\r\nUniqueid: 1\r\nDestUniqueid: 2\r\nDialStatus: RINGING\r\n",
                Event::DialState(Box::new(dial)),
            ),
            (
                "Event: Pickup\r\nUniqueid: 1\r\nTargetUniqueid: 2\r\n",
                Event::Pickup(Box::new(Pickup { channel: with_id("1"), target: with_id("2") })),
            ),
            (
                "Event: BridgeMerge\r\nToBridgeUniqueid: a\r\nFromBridgeUniqueid: b\r\n",
                Event::BridgeMerge(Box::new(BridgeMerge { into: bridge("a"), from: bridge("b") })),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(event(text), expected, "{text}");
        }
    }

    #[test]
    fn an_originate_tells_how_it_came_out() {
        for (uniqueid, response, expected) in
            [("1.5", "Success", (Some("1.5"), true)), ("<null>", "Failure", (None, false))]
        {
            let text = format!(
                "Event: OriginateResponse\r\nActionID: 9\r\nResponse: {response}\r\nChannel: Local/1@x\r\nReason: 4\r\n\
                 Uniqueid: {uniqueid}\r\nCallerIDNum: <unknown>\r\n"
            );
            let Event::OriginateResponse(told) = event(&text) else { panic!("{text}") };
            assert_eq!((told.uniqueid.as_ref().map(|id| id.as_str()), told.success), expected);
            assert_eq!((told.action_id.as_str(), told.reason, told.channel.as_str()), ("9", 4, "Local/1@x"));
        }
    }

    #[test]
    fn conferences_are_typed() {
        let told = |channel: Option<&str>, admin, talking| {
            let (conference, channel) = ("9".into(), channel.map(with_id));
            Box::new(Conference { conference, bridge: bridge("b"), channel, admin, talking })
        };
        let cases = [
            ("ConfbridgeStart", "", Event::ConferenceStart(told(None, false, false))),
            ("ConfbridgeEnd", "", Event::ConferenceEnd(told(None, false, false))),
            ("ConfbridgeJoin", "Uniqueid: 1\r\nAdmin: Yes\r\n", Event::ConferenceJoin(told(Some("1"), true, false))),
            ("ConfbridgeLeave", "Uniqueid: 1\r\nAdmin: No\r\n", Event::ConferenceLeave(told(Some("1"), false, false))),
            ("ConfbridgeMute", "Uniqueid: 1\r\n", Event::ConferenceMute(told(Some("1"), false, false))),
            ("ConfbridgeUnmute", "Uniqueid: 1\r\n", Event::ConferenceUnmute(told(Some("1"), false, false))),
            (
                "ConfbridgeTalking",
                "Uniqueid: 1\r\nTalkingStatus: on\r\n",
                Event::ConferenceTalking(told(Some("1"), false, true)),
            ),
        ];
        for (name, more, expected) in cases {
            assert_eq!(event(&format!("Event: {name}\r\nConference: 9\r\nBridgeUniqueid: b\r\n{more}")), expected);
        }
    }
}
