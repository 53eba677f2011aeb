//! AMI's and ARI's words as the reducer's inputs.

use std::collections::HashSet;

use aimg_ami::{BridgeSnapshot, ChannelSnapshot, Conference, Event, ListedChannel, ParkedCall, Up};
use aimg_ari::{BridgeId, Channel, EventKind};
use aimg_core::{CallEventKind, FailReason, Minted, TransferKind, Uniqueid};
use aimg_session::{ChannelSeen, ChannelState, Entered, Input};

/// The first argument of `Stasis(<app>,tap)`: the call waits for its capture.
const HOOK_ARGUMENT: &str = "tap";

/// What an AMI event means to calls, if anything.
pub(crate) fn ami_event(event: Event) -> Vec<Input> {
    match event {
        Event::NewChannel(channel) => vec![Input::ChannelNew(seen_by_ami(&channel))],
        Event::NewState(channel) => vec![Input::ChannelStateChanged {
            state: ChannelState::from_number(channel.state.number()),
            channel: channel.uniqueid,
        }],
        Event::Rename(rename) => {
            vec![Input::ChannelRenamed { channel: rename.uniqueid, name: rename.name.to_string() }]
        }
        Event::BridgeEnter(member) => vec![Input::BridgeEntered(Entered {
            joins_calls: joins_calls(&member.bridge),
            bridge: member.bridge.id.to_string(),
            channel: member.channel.uniqueid,
            linkedid: member.channel.linkedid,
            swapped: member.swapped,
        })],
        Event::BridgeLeave(member) => {
            vec![Input::BridgeLeft { bridge: member.bridge.id.to_string(), channel: member.channel.uniqueid }]
        }
        Event::Pickup(pickup) => {
            vec![Input::PickedUp { target: pickup.target.uniqueid, by: pickup.channel.uniqueid }]
        }
        Event::Hangup(hangup) => {
            vec![Input::ChannelGone { channel: hangup.channel.uniqueid, cause: hangup.cause }]
        }
        Event::Shutdown { .. } => vec![Input::PbxDown(FailReason::PbxRestarted)],
        other => happening(other).into_iter().map(|(channel, kind)| Input::Told { channel, kind }).collect(),
    }
}

/// What is only told of the calls of these channels.
fn happening(event: Event) -> Vec<(Uniqueid, CallEventKind)> {
    let of = |channel: &ChannelSnapshot, kind: fn(Uniqueid) -> CallEventKind| {
        vec![(channel.uniqueid.clone(), kind(channel.uniqueid.clone()))]
    };
    match event {
        Event::BlindTransfer(told) if told.result == "Success" => {
            vec![transferred(TransferKind::Blind, &told.transferer)]
        }
        Event::AttendedTransfer(told) if told.result == "Success" => {
            [&told.first_transferer, &told.second_transferer].map(|by| transferred(TransferKind::Attended, by)).into()
        }
        Event::ParkedCall(told) => of(&told.parkee, |channel| CallEventKind::Parked { channel }),
        Event::UnParkedCall(told) => vec![unparked(&told)],
        Event::ParkedCallTimeout(told) => vec![unparked(&told)],
        Event::QueueCallerJoin(told) => {
            vec![(told.channel.uniqueid, CallEventKind::QueueJoined { queue: told.queue.to_string() })]
        }
        Event::QueueCallerAbandon(told) => {
            vec![(told.channel.uniqueid, CallEventKind::QueueAbandoned { queue: told.queue.to_string() })]
        }
        Event::AgentConnect(told) => {
            let channel = told.agent.map(|agent| agent.uniqueid);
            let kind = CallEventKind::QueueAnswered { queue: told.queue.to_string(), channel };
            told.caller.map(|caller| (caller.uniqueid, kind)).into_iter().collect()
        }
        Event::ConferenceJoin(told) => {
            in_conference(*told, |conference, channel| CallEventKind::ConferenceJoined { conference, channel })
        }
        Event::ConferenceLeave(told) => {
            in_conference(*told, |conference, channel| CallEventKind::ConferenceLeft { conference, channel })
        }
        Event::Hold(told) => of(&told.channel, |channel| CallEventKind::Held { channel }),
        Event::Unhold(channel) => of(&channel, |channel| CallEventKind::Unheld { channel }),
        _ => Vec::new(),
    }
}

fn transferred(how: TransferKind, by: &ChannelSnapshot) -> (Uniqueid, CallEventKind) {
    (by.uniqueid.clone(), CallEventKind::Transferred { how, by: by.uniqueid.clone() })
}

fn unparked(told: &ParkedCall) -> (Uniqueid, CallEventKind) {
    let channel = told.parkee.uniqueid.clone();
    let by = told.retriever.as_ref().map(|retriever| retriever.uniqueid.clone());
    (channel.clone(), CallEventKind::Unparked { channel, by })
}

fn in_conference(told: Conference, kind: fn(String, Uniqueid) -> CallEventKind) -> Vec<(Uniqueid, CallEventKind)> {
    let channel = told.channel.map(|channel| channel.uniqueid);
    channel.map(|channel| (channel.clone(), kind(told.conference.to_string(), channel))).into_iter().collect()
}

/// In a basic bridge all have the Linkedid of the oldest; in one of a conference, a car park or ARI each keeps its own.
fn joins_calls(bridge: &BridgeSnapshot) -> bool {
    bridge.kind == "basic"
}

/// All channels, when AMI came up.
pub(crate) fn ami_up(up: &Up) -> Vec<ChannelSeen> {
    let calls: HashSet<&str> = up.bridges.iter().filter(|b| joins_calls(b)).map(|b| b.id.as_str()).collect();
    let seen = |listed: &ListedChannel| ChannelSeen {
        bridge: listed.bridge.as_ref().filter(|id| calls.contains(id.as_str())).map(ToString::to_string),
        ..seen_by_ami(&listed.channel)
    };
    up.channels.iter().map(seen).collect()
}

/// A channel as AMI shows it.
fn seen_by_ami(channel: &ChannelSnapshot) -> ChannelSeen {
    ChannelSeen {
        uniqueid: channel.uniqueid.as_str().to_owned(),
        linkedid: channel.linkedid.as_str().to_owned(),
        name: channel.name.to_string(),
        state: ChannelState::from_number(channel.state.number()),
        context: channel.context.to_string(),
        exten: channel.exten.to_string(),
        caller_number: channel.caller_number.to_string(),
        bridge: None,
        tenantid: channel.tenantid.as_ref().map(ToString::to_string).unwrap_or_default(),
        accountcode: channel.account_code.to_string(),
        variables: channel.variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        argument: String::new(),
    }
}

/// What an ARI event means to calls, if anything.
pub(crate) fn ari_event(event: EventKind) -> Option<Input> {
    match event {
        EventKind::StasisStart { args, channel, .. } => match minted(&channel.id) {
            Some(id) => Some(Input::TapEntered(id)),
            None if args.first().is_some_and(|a| a == HOOK_ARGUMENT) => {
                let argument = args.get(1).cloned().unwrap_or_default();
                Some(Input::HookEntered(ChannelSeen { argument, ..seen_by_ari(&channel) }))
            }
            None => None,
        },
        EventKind::StasisEnd { channel } | EventKind::ChannelDestroyed { channel, .. } => match minted(&channel.id) {
            Some(id) => Some(Input::TapGone(id)),
            None => Some(Input::HookLeft(channel.id)),
        },
        EventKind::BridgeDestroyed { bridge } => Some(Input::TapGone(Minted::parse(bridge.id.as_str())?)),
        _ => None,
    }
}

/// What the lists of channels and bridges mean when ARI came up: our objects, and who waits in our hook since before.
pub(crate) fn ari_up(app: &str, channels: &[Channel], bridges: impl Iterator<Item = BridgeId>) -> Vec<Input> {
    let ours = channels.iter().filter_map(|c| minted(&c.id));
    let minted = ours.chain(bridges.filter_map(|id| Minted::parse(id.as_str()))).collect();
    let hook = format!("{app},{HOOK_ARGUMENT}");
    let waits = |c: &Channel| {
        let behind = c.dialplan.app_data.strip_prefix(&hook).filter(|_| c.dialplan.app_name == "Stasis")?;
        let argument = if behind.is_empty() { "" } else { behind.strip_prefix(',')? };
        // As in StasisStart: without what follows.
        let argument = argument.split(',').next().unwrap_or_default().to_owned();
        Some(Input::HookEntered(ChannelSeen { argument, ..seen_by_ari(c) }))
    };
    let waiting = channels.iter().filter_map(waits);
    std::iter::once(Input::AriUp { minted }).chain(waiting).collect()
}

fn minted(id: &Uniqueid) -> Option<Minted> {
    Minted::parse(id.as_str())
}

/// A channel as ARI shows it: without its Linkedid.
pub(crate) fn seen_by_ari(channel: &Channel) -> ChannelSeen {
    ChannelSeen {
        uniqueid: channel.id.as_str().to_owned(),
        linkedid: String::new(),
        name: channel.name.clone(),
        state: match channel.state {
            aimg_ari::ChannelState::Up => ChannelState::Up,
            aimg_ari::ChannelState::Ringing => ChannelState::Ringing,
            _ => ChannelState::Early,
        },
        context: channel.dialplan.context.clone(),
        exten: channel.dialplan.exten.clone(),
        caller_number: channel.caller.number.clone(),
        bridge: None,
        tenantid: channel.tenantid.clone().unwrap_or_default(),
        accountcode: channel.accountcode.clone(),
        variables: channel.channelvars.clone().into_iter().filter(|(_, value)| !value.is_empty()).collect(),
        argument: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use aimg_ami::{AttendedTransfer, BridgeMember};

    use super::*;

    fn channel(id: &str, app_data: &str) -> Channel {
        serde_json::from_value(serde_json::json!({
            "id": id, "name": "PJSIP/phone-00000001", "state": "Ring", "caller": { "name": "", "number": "100" },
            "dialplan": { "context": "from-trunk", "exten": "200", "priority": 2, "app_name": "Stasis", "app_data": app_data },
        }))
        .unwrap()
    }

    fn seen(id: &str) -> ChannelSnapshot {
        ChannelSnapshot { linkedid: Uniqueid::new("1"), ..ChannelSnapshot::new(Uniqueid::new(id)) }
    }

    fn bridge(id: &str, kind: &str) -> BridgeSnapshot {
        BridgeSnapshot { id: id.into(), kind: kind.into(), ..BridgeSnapshot::default() }
    }

    #[test]
    fn only_a_basic_bridge_makes_one_call_of_its_members() {
        for (kind, expected) in [("basic", true), ("base", false), ("parking", false), ("stasis", false)] {
            let member =
                BridgeMember { bridge: bridge("b", kind), channel: seen("2"), swapped: Some(Uniqueid::new("3")) };
            let [Input::BridgeEntered(entered)] = &ami_event(Event::BridgeEnter(Box::new(member)))[..] else {
                panic!("{kind}")
            };
            let expected = Entered {
                bridge: "b".to_owned(),
                joins_calls: expected,
                channel: Uniqueid::new("2"),
                linkedid: Uniqueid::new("1"),
                swapped: Some(Uniqueid::new("3")),
            };
            assert_eq!(entered, &expected, "{kind}");
        }
    }

    #[test]
    fn transfers_that_went_well_are_told_of_each_call_of_who_made_them() {
        let transfer = |result: &str| AttendedTransfer {
            result: result.into(),
            first_transferer: seen("1"),
            first_bridge: None,
            second_transferer: seen("2"),
            second_bridge: None,
            transferee: None,
            target: None,
            external: true,
            destination: "Bridge".into(),
            destination_bridge: "b".into(),
        };
        let told = |result: &str| -> Vec<String> {
            let inputs = ami_event(Event::AttendedTransfer(Box::new(transfer(result))));
            let told = |input: &Input| match input {
                Input::Told { channel, kind } => format!("{channel}: {kind}"),
                other => panic!("{other:?}"),
            };
            inputs.iter().map(told).collect()
        };
        assert_eq!(told("Success"), ["1: attended transfer by channel 1", "2: attended transfer by channel 2"]);
        assert!(told("Fail").is_empty());
    }

    const OURS: &str = "aimg-n1-0198c1de-1111-7000-8000-000000000000-0si";

    #[test]
    fn stasis_start_is_a_tap_of_ours_or_a_call_in_the_hook() {
        let start = |id: &str, args: &[&str]| {
            let args = args.iter().map(|a| (*a).to_owned()).collect();
            ari_event(EventKind::StasisStart { args, channel: Box::new(channel(id, "")), replace_channel: None })
        };
        assert!(matches!(start(OURS, &[]), Some(Input::TapEntered(id)) if id.to_string() == OURS));
        let Some(Input::HookEntered(seen)) = start("1.1", &["tap"]) else { panic!("a hook") };
        assert_eq!((seen.uniqueid.as_str(), seen.exten.as_str(), seen.linkedid.as_str()), ("1.1", "200", ""));
        assert_eq!(seen.argument, "");
        let named = start("1.1", &["tap", "acme", "more"]);
        assert!(matches!(named, Some(Input::HookEntered(seen)) if seen.argument == "acme"));
        assert!(start("1.1", &["bot"]).is_none(), "another use of the application");
    }

    #[test]
    fn who_waits_in_the_hook_since_before_is_found() {
        let channels = [
            channel("1.1", "aimg,tap"),
            channel("1.2", "aimg,tap,more"),
            channel("1.3", "aimg"),
            channel("1.4", "other,tap"),
            channel(OURS, "aimg"),
        ];
        let bridges = ["aimg-n1-0198c1de-1111-7000-8000-000000000000-0bi", "somebody-elses"].map(BridgeId::new);
        let inputs = ari_up("aimg", &channels, bridges.into_iter());
        let [Input::AriUp { minted }, waiting @ ..] = inputs.as_slice() else { panic!("our objects come first") };
        assert_eq!(minted.len(), 2);
        let found = |input: &Input| match input {
            Input::HookEntered(seen) => (seen.uniqueid.clone(), seen.argument.clone()),
            other => panic!("{other:?}"),
        };
        let found: Vec<_> = waiting.iter().map(found).collect();
        assert_eq!(found, [("1.1", ""), ("1.2", "more")].map(|(id, argument)| (id.to_owned(), argument.to_owned())));
    }
}
