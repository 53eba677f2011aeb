//! ARI in AMI's place: a link without AMI knows the calls that pass the hook, and those alone.
//!
//! A channel that enters the hook is new; what becomes of it is told to the application once that is subscribed to the
//! channel. So the reducer hears what AMI would have told it of this one channel, and makes its session as ever.

use aimg_ari::{Channel, Client, Error, EventKind};
use aimg_core::{Minted, Uniqueid};
use aimg_session::{ChannelSeen, Input};

use crate::inbox::Inbox;
use crate::translate;

/// What an ARI event means to calls.
pub(crate) fn event(event: EventKind) -> Vec<Input> {
    match event {
        EventKind::ChannelStateChange { channel } if is_of_a_call(&channel.id) => {
            let seen = translate::seen_by_ari(&channel);
            vec![Input::ChannelStateChanged { channel: channel.id, state: seen.state }]
        }
        EventKind::ChannelDestroyed { channel, cause, .. } if is_of_a_call(&channel.id) => {
            vec![Input::HookLeft(channel.id.clone()), Input::ChannelGone { channel: channel.id, cause }]
        }
        other => match translate::ari_event(other) {
            Some(Input::HookEntered(seen)) => vec![Input::ChannelNew(seen.clone()), Input::HookEntered(seen)],
            input => input.into_iter().collect(),
        },
    }
}

/// The same for what was found when ARI came up: `inputs` are what it means beside AMI. Of all channels those count that wait
/// in the hook, and those whose calls are known.
pub(crate) fn up(inputs: Vec<Input>, channels: &[Channel], knows: impl Fn(&Uniqueid) -> bool) -> Vec<Input> {
    let waits = |id: &Uniqueid| {
        inputs.iter().any(|input| matches!(input, Input::HookEntered(seen) if seen.uniqueid == id.as_str()))
    };
    let ours = channels.iter().filter(|channel| waits(&channel.id) || knows(&channel.id));
    let list = Input::AmiUp { channels: ours.map(translate::seen_by_ari).collect(), restarted: false };
    let mut inputs = inputs;
    // Behind the list of our own objects, and before those who wait.
    inputs.insert(inputs.len().min(1), list);
    inputs
}

/// The channels of which an input tells that they are there.
pub(crate) fn to_be_heard(input: &Input) -> Vec<Uniqueid> {
    let ids = |channels: &[ChannelSeen]| channels.iter().map(|c| Uniqueid::new(&c.uniqueid)).collect();
    match input {
        Input::ChannelNew(seen) => ids(std::slice::from_ref(seen)),
        Input::AmiUp { channels, .. } => ids(channels),
        _ => Vec::new(),
    }
}

/// Subscribes to channels, one by one: a request's line has a limit. One that is gone already is told as gone.
pub(crate) async fn hear(ari: Client, inbox: Inbox, channels: Vec<Uniqueid>) {
    for channel in channels {
        match ari.subscribe(&[&format!("channel:{channel}")]).await {
            Ok(_) => {}
            Err(Error::NotFound { .. } | Error::Unprocessable { .. }) => {
                inbox.tell(Input::ChannelGone { channel, cause: 0 }).await;
            }
            Err(error) => tracing::warn!(%error, "the end of a call will be noticed when ARI is next up, not before"),
        }
    }
}

fn is_of_a_call(channel: &Uniqueid) -> bool {
    Minted::parse(channel.as_str()).is_none()
}

#[cfg(test)]
mod tests {
    use aimg_session::ChannelState;

    use super::*;

    const OURS: &str = "aimg-n1-0198c1de-1111-7000-8000-000000000000-0si";

    fn channel(id: &str, state: &str, app_data: &str) -> Box<Channel> {
        let channel = serde_json::json!({
            "id": id, "name": "PJSIP/phone-00000001", "state": state, "caller": { "name": "", "number": "100" },
            "dialplan": { "context": "in", "exten": "200", "priority": 2, "app_name": "Stasis", "app_data": app_data },
        });
        Box::new(serde_json::from_value(channel).unwrap())
    }

    #[test]
    fn a_channel_in_the_hook_is_new_and_then_waits() {
        let start = |id: &str, argument: &str| EventKind::StasisStart {
            args: vec![argument.to_owned()],
            channel: channel(id, "Ring", ""),
            replace_channel: None,
        };
        let inputs = event(start("1.1", "tap"));
        let [Input::ChannelNew(new), Input::HookEntered(waits)] = &inputs[..] else { panic!("{inputs:?}") };
        assert_eq!((new, new.uniqueid.as_str()), (waits, "1.1"));
        assert_eq!(to_be_heard(&inputs[0]), [Uniqueid::new("1.1")]);
        assert!(to_be_heard(&inputs[1]).is_empty());
        assert!(matches!(&event(start(OURS, ""))[..], [Input::TapEntered(_)]));
        assert!(event(start("1.1", "bot")).is_empty(), "another use of the application");
    }

    #[test]
    fn answer_and_end_are_told_of_calls_alone() {
        let change = |id| EventKind::ChannelStateChange { channel: channel(id, "Up", "") };
        let end = |id| EventKind::ChannelDestroyed {
            channel: channel(id, "Up", ""),
            cause: 16,
            cause_txt: String::new(),
            tech_cause: None,
        };
        assert!(matches!(&event(change("1.1"))[..], [Input::ChannelStateChanged { state: ChannelState::Up, .. }]));
        assert!(matches!(&event(end("1.1"))[..], [Input::HookLeft(_), Input::ChannelGone { cause: 16, .. }]));
        assert!(event(change(OURS)).is_empty());
        assert!(matches!(&event(end(OURS))[..], [Input::TapGone(_)]));
    }

    #[test]
    fn of_all_channels_those_in_the_hook_and_those_known_count() {
        let channels = [
            channel("1.1", "Ring", "aimg,tap"),
            channel("1.2", "Up", ""),
            channel("1.3", "Up", ""),
            channel(OURS, "Up", ""),
        ];
        let channels = channels.map(|c| *c);
        let inputs = translate::ari_up("aimg", &channels, std::iter::empty());
        let inputs = up(inputs, &channels, |id| id.as_str() == "1.3");
        let [Input::AriUp { minted }, list, Input::HookEntered(waits)] = &inputs[..] else { panic!("{inputs:?}") };
        assert_eq!((minted.len(), waits.uniqueid.as_str()), (1, "1.1"));
        assert_eq!(to_be_heard(list), ["1.1", "1.3"].map(Uniqueid::new));
    }
}
