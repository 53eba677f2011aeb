//! AMI's and ARI's words as the reducer's inputs.

use aimg_ami::ChannelSnapshot;
use aimg_ari::{BridgeId, Channel, EventKind};
use aimg_core::{FailReason, Minted, Uniqueid};
use aimg_session::{ChannelSeen, ChannelState, Input};

/// The first argument of `Stasis(<app>,tap)`: the call waits for its capture.
const HOOK_ARGUMENT: &str = "tap";

/// What an AMI event means to calls, if anything.
pub(crate) fn ami_event(event: aimg_ami::Event) -> Option<Input> {
    match event {
        aimg_ami::Event::NewChannel(channel) => Some(Input::ChannelNew(seen_by_ami(&channel))),
        aimg_ami::Event::NewState(channel) => Some(Input::ChannelStateChanged {
            state: ChannelState::from_number(channel.state.number()),
            channel: channel.uniqueid,
        }),
        aimg_ami::Event::Hangup(hangup) => {
            Some(Input::ChannelGone { channel: hangup.channel.uniqueid, cause: hangup.cause })
        }
        aimg_ami::Event::Shutdown { .. } => Some(Input::PbxDown(FailReason::PbxRestarted)),
        _ => None,
    }
}

/// A channel as AMI shows it.
pub(crate) fn seen_by_ami(channel: &ChannelSnapshot) -> ChannelSeen {
    ChannelSeen {
        uniqueid: channel.uniqueid.as_str().to_owned(),
        linkedid: channel.linkedid.as_str().to_owned(),
        name: channel.name.to_string(),
        state: ChannelState::from_number(channel.state.number()),
        context: channel.context.to_string(),
        exten: channel.exten.to_string(),
        caller_number: channel.caller_number.to_string(),
    }
}

/// What an ARI event means to calls, if anything.
pub(crate) fn ari_event(event: EventKind) -> Option<Input> {
    match event {
        EventKind::StasisStart { args, channel, .. } => match minted(&channel.id) {
            Some(id) => Some(Input::TapEntered(id)),
            None if args.first().is_some_and(|a| a == HOOK_ARGUMENT) => Some(Input::HookEntered(seen_by_ari(&channel))),
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
    let waits = |c: &&Channel| {
        let data = &c.dialplan.app_data;
        c.dialplan.app_name == "Stasis" && (*data == hook || data.starts_with(&format!("{hook},")))
    };
    let waiting = channels.iter().filter(waits).map(|c| Input::HookEntered(seen_by_ari(c)));
    std::iter::once(Input::AriUp { minted }).chain(waiting).collect()
}

fn minted(id: &Uniqueid) -> Option<Minted> {
    Minted::parse(id.as_str())
}

/// A channel as ARI shows it: without its Linkedid.
fn seen_by_ari(channel: &Channel) -> ChannelSeen {
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(id: &str, app_data: &str) -> Channel {
        serde_json::from_value(serde_json::json!({
            "id": id, "name": "PJSIP/phone-00000001", "state": "Ring", "caller": { "name": "", "number": "100" },
            "dialplan": { "context": "from-trunk", "exten": "200", "priority": 2, "app_name": "Stasis", "app_data": app_data },
        }))
        .unwrap()
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
        let ids: Vec<_> =
            waiting.iter().map(|i| if let Input::HookEntered(c) = i { c.uniqueid.as_str() } else { "?" }).collect();
        assert_eq!(ids, ["1.1", "1.2"]);
    }
}
