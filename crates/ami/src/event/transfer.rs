//! Calls that change hands: blind and attended transfers, parking.

use std::time::Duration;

use smol_str::SmolStr;

use super::Event;
use super::fields::{Fields, debug_shows};
use crate::{BridgeSnapshot, ChannelSnapshot};

/// A call was sent to an extension.
#[derive(Clone, PartialEq, Eq)]
pub struct BlindTransfer {
    /// Whether it went well: `Success`, `Fail`, `Invalid` or `Not Permitted`.
    pub result: SmolStr,
    /// Who sent it.
    pub transferer: ChannelSnapshot,
    /// Who was sent; nobody when several were.
    pub transferee: Option<ChannelSnapshot>,
    /// The bridge they were in.
    pub bridge: Option<BridgeSnapshot>,
    /// Whether the phone did it (SIP REFER), not a feature code.
    pub external: bool,
    /// The dialplan context it was sent to.
    pub context: SmolStr,
    /// The extension it was sent to.
    pub exten: SmolStr,
}
debug_shows!(BlindTransfer: result, transferer, transferee, bridge, external, context);

/// Two calls of one channel became one without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttendedTransfer {
    /// Whether it went well: `Success`, `Fail`, `Invalid` or `Not Permitted`.
    pub result: SmolStr,
    /// Who did it, in the first call.
    pub first_transferer: ChannelSnapshot,
    /// The first call's bridge.
    pub first_bridge: Option<BridgeSnapshot>,
    /// Who did it, in the second call.
    pub second_transferer: ChannelSnapshot,
    /// The second call's bridge.
    pub second_bridge: Option<BridgeSnapshot>,
    /// Who was sent on; nobody when several were.
    pub transferee: Option<ChannelSnapshot>,
    /// Whom they were sent to; now and then Asterisk (seen in 16) tells nobody, its second bridge being empty by then.
    pub target: Option<ChannelSnapshot>,
    /// Whether the phone did it (SIP REFER with Replaces), not a feature code.
    pub external: bool,
    /// What became of it: `Bridge`, `App`, `Link`, `Threeway` or `Fail`.
    pub destination: SmolStr,
    /// The bridge that all are in, when `destination` is one.
    pub destination_bridge: SmolStr,
}

/// A call in a car park.
#[derive(Clone, PartialEq, Eq)]
pub struct ParkedCall {
    /// Who is parked.
    pub parkee: ChannelSnapshot,
    /// Who parked it, when that is known.
    pub parker: Option<ChannelSnapshot>,
    /// What calls back who parked it.
    pub parker_dial_string: SmolStr,
    /// Who took it out; only in [`Event::UnParkedCall`].
    pub retriever: Option<ChannelSnapshot>,
    /// The car park.
    pub lot: SmolStr,
    /// Its space, which is the extension to call to take it out.
    pub space: u32,
    /// How much longer it may stay; for ever when zero.
    pub timeout: Duration,
    /// How long it has been there.
    pub duration: Duration,
}
debug_shows!(ParkedCall: parkee, parker, retriever, lot, space, timeout, duration);

pub(super) fn read(name: &str, f: Fields<'_>) -> Option<Event> {
    Some(match name {
        "BlindTransfer" => Event::BlindTransfer(Box::new(BlindTransfer {
            result: f.text("Result"),
            transferer: f.channel_of("Transferer")?,
            transferee: f.channel_of("Transferee"),
            bridge: f.bridge(),
            external: f.flag("IsExternal"),
            context: f.text("Context"),
            exten: f.text("Extension"),
        })),
        "AttendedTransfer" => Event::AttendedTransfer(Box::new(AttendedTransfer {
            result: f.text("Result"),
            first_transferer: f.channel_of("OrigTransferer")?,
            first_bridge: f.bridge_of("OrigBridge"),
            second_transferer: f.channel_of("SecondTransferer")?,
            second_bridge: f.bridge_of("SecondBridge"),
            transferee: f.channel_of("Transferee"),
            target: f.channel_of("TransferTarget"),
            external: f.flag("IsExternal"),
            destination: f.text("DestType"),
            destination_bridge: f.text("DestBridgeUniqueid"),
        })),
        "ParkedCall" => Event::ParkedCall(parked_call(f)?),
        "UnParkedCall" => Event::UnParkedCall(parked_call(f)?),
        "ParkedCallTimeOut" => Event::ParkedCallTimeout(parked_call(f)?),
        "ParkedCallGiveUp" => Event::ParkedCallGiveUp(parked_call(f)?),
        "ParkedCallSwap" => Event::ParkedCallSwap(parked_call(f)?),
        _ => return None,
    })
}

fn parked_call(f: Fields<'_>) -> Option<Box<ParkedCall>> {
    Some(Box::new(ParkedCall {
        parkee: f.channel_of("Parkee")?,
        parker: f.channel_of("Parker"),
        parker_dial_string: f.text("ParkerDialString"),
        retriever: f.channel_of("Retriever"),
        lot: f.text("Parkinglot"),
        space: f.number("ParkingSpace"),
        timeout: f.seconds("ParkingTimeout"),
        duration: f.seconds("ParkingDuration"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::{event, with_id};

    fn bridge(id: &str) -> Option<BridgeSnapshot> {
        Some(BridgeSnapshot { id: id.into(), ..BridgeSnapshot::default() })
    }

    #[test]
    fn transfers_tell_all_who_take_part() {
        let blind = "Event: BlindTransfer\r\nResult: Success\r\nTransfererUniqueid: 1\r\nTransfereeUniqueid: 2\r\n\
                     BridgeUniqueid: b\r\nIsExternal: Yes\r\nContext: inside\r\nExtension: 300\r\n";
        let expected = BlindTransfer {
            result: "Success".into(),
            transferer: with_id("1"),
            transferee: Some(with_id("2")),
            bridge: bridge("b"),
            external: true,
            context: "inside".into(),
            exten: "300".into(),
        };
        assert_eq!(event(blind), Event::BlindTransfer(Box::new(expected)));

        let attended = "Event: AttendedTransfer\r\nResult: Success\r\nOrigTransfererUniqueid: 1\r\n\
                        OrigBridgeUniqueid: a\r\nSecondTransfererUniqueid: 2\r\nSecondBridgeUniqueid: b\r\n\
                        TransfereeUniqueid: 3\r\nTransferTargetUniqueid: 4\r\nIsExternal: No\r\nDestType: Bridge\r\n\
                        DestBridgeUniqueid: b\r\n";
        let expected = AttendedTransfer {
            result: "Success".into(),
            first_transferer: with_id("1"),
            first_bridge: bridge("a"),
            second_transferer: with_id("2"),
            second_bridge: bridge("b"),
            transferee: Some(with_id("3")),
            target: Some(with_id("4")),
            external: false,
            destination: "Bridge".into(),
            destination_bridge: "b".into(),
        };
        assert_eq!(event(attended), Event::AttendedTransfer(Box::new(expected)));
    }

    #[test]
    fn parked_calls_are_typed() {
        let told = |retriever: Option<&str>| {
            Box::new(ParkedCall {
                parkee: with_id("1"),
                parker: Some(with_id("2")),
                parker_dial_string: "PJSIP/a".into(),
                retriever: retriever.map(with_id),
                lot: "default".into(),
                space: 701,
                timeout: Duration::from_secs(45),
                duration: Duration::from_secs(3),
            })
        };
        let cases = [
            ("ParkedCall", "", Event::ParkedCall(told(None))),
            ("UnParkedCall", "RetrieverUniqueid: 3\r\n", Event::UnParkedCall(told(Some("3")))),
            ("ParkedCallTimeOut", "", Event::ParkedCallTimeout(told(None))),
            ("ParkedCallGiveUp", "", Event::ParkedCallGiveUp(told(None))),
            ("ParkedCallSwap", "", Event::ParkedCallSwap(told(None))),
        ];
        for (name, more, expected) in cases {
            let text = format!(
                "Event: {name}\r\nParkeeUniqueid: 1\r\nParkerUniqueid: 2\r\nParkerDialString: PJSIP/a\r\n\
                 Parkinglot: default\r\nParkingSpace: 701\r\nParkingTimeout: 45\r\nParkingDuration: 3\r\n{more}"
            );
            assert_eq!(event(&text), expected, "{name}");
        }
    }
}
