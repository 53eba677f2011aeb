//! Calls made, controlled and heard on a real Asterisk of each version.

use std::collections::BTreeMap;

use aimg_ari::request::{self, Snoop, channels, playbacks, recordings};
use aimg_ari::{
    Arrival, BridgeId, BridgeKind, ChannelState, Control, DialplanPlace, Digits, Error, EventKind, HangupReason,
    MuteDirection, NewChannel, Originate, Play, PlaybackId, Record, Spy,
};
use aimg_core::Uniqueid;
use aimg_testbed::Version;
use tokio::time::timeout;

use crate::fake::DEADLINE;
use crate::live::{APP, Live};

/// Long enough that no test sees its end.
const SPEECH: &str = "sound:/mnt/sounds/callee";

#[tokio::test]
async fn a_channel_is_controlled() {
    for version in Version::ALL {
        let mut live = Live::start(version).await;
        let id = live.call("call", "wait").await;
        let other = Uniqueid::new("call-other");
        let client = live.client.clone();
        assert_eq!(client.variable(&id, "LIVE").await.unwrap(), "a, b");
        client.set_variable(&id, "LIVE", "c").await.unwrap();
        assert_eq!(client.channel(&id).await.unwrap().id, id);

        // What is pressed here is heard there.
        client.subscribe(&[&format!("channel:{other}")]).await.unwrap();
        client.dtmf(&id, &Digits { digits: "4#".into(), ..Digits::default() }).await.unwrap();
        for digit in ["4", "#"] {
            live.event("a key", |kind| match kind {
                EventKind::ChannelDtmfReceived { channel, digit: heard, .. }
                    if channel.id == other && heard == digit =>
                {
                    Some(())
                }
                _ => None,
            })
            .await;
        }

        client.ring(&id).await.unwrap();
        client.stop_ringing(&id).await.unwrap();
        client.hold(&id).await.unwrap();
        client.unhold(&id).await.unwrap();
        client.mute(&id, MuteDirection::Both).await.unwrap();
        client.unmute(&id, MuteDirection::Both).await.unwrap();
        client.start_moh(&id, None).await.unwrap();
        client.stop_moh(&id).await.unwrap();
        client.start_silence(&id).await.unwrap();
        client.stop_silence(&id).await.unwrap();
        if version == Version::V22 {
            client.http().call(channels::progress(&id)).await.unwrap();
            let values = client.http().call(channels::variables(&id, &["LIVE", "CHANNEL(name)"])).await.unwrap();
            assert_eq!(values.variables["LIVE"], "c");
            let one_is_unset = client.http().call(channels::variables(&id, &["LIVE", "NONE"])).await;
            assert!(one_is_unset.unwrap_err().is_not_found());
            let set = BTreeMap::from([("LIVE".to_owned(), "d".to_owned())]);
            client.http().call(channels::set_variables(&id, &set)).await.unwrap();
        }
        assert!(matches!(client.redirect(&id, "PJSIP/nobody").await, Err(Error::Unprocessable { .. })));

        client.move_to_app(&id, APP, &["again"]).await.unwrap();
        live.event("the channel's return", |kind| match kind {
            EventKind::StasisStart { args, channel, .. } if channel.id == id && args == &["again"] => Some(()),
            _ => None,
        })
        .await;
        let place = DialplanPlace { context: "live".into(), exten: "wait".into(), priority: 1 };
        client.continue_in_dialplan(&id, Some(&place)).await.unwrap();
        live.event("the channel's end in Stasis", |kind| match kind {
            EventKind::StasisEnd { channel } if channel.id == id => Some(()),
            _ => None,
        })
        .await;
        client.hangup(&id, HangupReason::Busy).await.unwrap();
        client.hangup(&id, HangupReason::Busy).await.unwrap();
        live.event("the other's end", |kind| match kind {
            EventKind::ChannelDestroyed { channel, .. } if channel.id == other => Some(()),
            _ => None,
        })
        .await;
    }
}

#[tokio::test]
async fn a_call_that_comes_in_is_answered() {
    for version in Version::ALL {
        let mut live = Live::start(version).await;
        let (caller, callee) = (Uniqueid::new("caller"), Uniqueid::new("callee"));
        let arrival = Arrival::App { app: APP.into(), args: Vec::new() };
        let mut originate = Originate::new(caller.clone(), "Local/hook@live/n", arrival);
        originate.other_id = Some(callee.clone());
        let client = live.client.clone();
        client.originate(&originate).await.unwrap();
        let state = live
            .event("the hook", |kind| match kind {
                EventKind::StasisStart { channel, args, .. } if args == &["hook"] => Some(channel.state.clone()),
                _ => None,
            })
            .await;
        assert_eq!(state, ChannelState::Ring);
        assert_eq!(client.channel(&caller).await.unwrap().state, ChannelState::Down);
        client.ring(&callee).await.unwrap();
        client.answer(&callee).await.unwrap();
        // Originate lets a channel in when it is answered.
        live.event("the caller", |kind| match kind {
            EventKind::StasisStart { channel, .. } if channel.id == caller => Some(()),
            _ => None,
        })
        .await;
        assert_eq!(client.channel(&callee).await.unwrap().state, ChannelState::Up);
        client.hangup(&callee, HangupReason::Normal).await.unwrap();
    }
}

#[tokio::test]
async fn a_playback_is_controlled() {
    for version in Version::ALL {
        let mut live = Live::start(version).await;
        let id = live.call("call", "wait").await;
        let client = live.client.clone();
        let playback = PlaybackId::new("playback");
        let begun = client.play(&id, &playback, &Play::one(SPEECH)).await.unwrap();
        assert_eq!((begun.id, begun.target_uri.as_str()), (playback.clone(), "channel:call"));
        live.event("its beginning", |kind| match kind {
            EventKind::PlaybackStarted { playback } if playback.state == "playing" => Some(()),
            _ => None,
        })
        .await;
        // Asterisk tells the beginning a moment before it can be paused.
        let paused = async {
            while matches!(client.control_playback(&playback, Control::Pause).await, Err(Error::Server { .. })) {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, paused).await.unwrap();
        assert_eq!(client.http().call(playbacks::one(&playback)).await.unwrap().state, "paused");
        for control in [Control::Unpause, Control::Forward, Control::Reverse, Control::Restart] {
            client.control_playback(&playback, control).await.unwrap();
        }
        assert_eq!(client.http().call(playbacks::one(&playback)).await.unwrap().media_uri, SPEECH);
        client.stop_playback(&playback).await.unwrap();
        live.event("its end", |kind| match kind {
            EventKind::PlaybackFinished { playback } => Some(playback.id.clone()),
            _ => None,
        })
        .await;
        // It is over: success, too.
        client.stop_playback(&playback).await.unwrap();
        // Asterisk forgets it a moment after it has told the end.
        let forgotten = async {
            while client.control_playback(&playback, Control::Pause).await.is_err_and(|e| !e.is_not_found()) {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, forgotten).await.unwrap();
    }
}

#[tokio::test]
async fn a_recording_is_made_and_fetched() {
    for version in Version::ALL {
        let mut live = Live::start(version).await;
        let id = live.call("call", "talk").await;
        let client = live.client.clone();
        let http = client.http();
        assert_eq!(client.record(&id, &Record::new("dir/take", "wav")).await.unwrap().name, "dir/take");
        live.event("its beginning", |kind| matches!(kind, EventKind::RecordingStarted { .. }).then_some(())).await;
        assert_eq!(http.call(recordings::live("dir/take")).await.unwrap().state, "recording");
        http.call(recordings::pause("dir/take")).await.unwrap();
        http.call(recordings::unpause("dir/take")).await.unwrap();
        http.call(recordings::mute("dir/take")).await.unwrap();
        http.call(recordings::unmute("dir/take")).await.unwrap();
        client.stop_recording("dir/take").await.unwrap();
        let done = live
            .event("its end", |kind| match kind {
                EventKind::RecordingFinished { recording } => Some(recording.clone()),
                _ => None,
            })
            .await;
        assert_eq!((done.state.as_str(), done.format.as_str()), ("done", "wav"));

        assert_eq!(http.call(recordings::stored_one("dir/take")).await.unwrap().format, "wav");
        assert!(http.call(recordings::file("dir/take")).await.unwrap().starts_with(b"RIFF"));
        assert_eq!(http.call(recordings::copy("dir/take", "copy")).await.unwrap().name, "copy");
        assert!(matches!(client.record(&id, &Record::new("copy", "wav")).await, Err(Error::Conflict { .. })));
        assert_eq!(http.call(recordings::stored()).await.unwrap().len(), 2);
        for name in ["dir/take", "copy"] {
            http.call(recordings::remove_stored(name)).await.unwrap();
        }
        assert_eq!(http.call(recordings::stored()).await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_channel_is_dialled_into_a_bridge() {
    for version in Version::ALL {
        let mut live = Live::start(version).await;
        let caller = live.call("caller", "wait").await;
        let client = live.client.clone();
        let http = client.http();
        let bridge = BridgeId::new("bridge");
        let kinds = [BridgeKind::Mixing, BridgeKind::DtmfEvents];
        let made = http.call(request::bridges::create_as(&bridge, &kinds, Some("a name"))).await.unwrap();
        assert_eq!(made.name, "a name");

        let callee = Uniqueid::new("callee");
        let mut new = NewChannel::new(callee.clone(), "Local/talk@live/n", APP);
        new.variables = BTreeMap::from([("LIVE".to_owned(), "1".to_owned())]);
        client.create_channel(&new).await.unwrap();
        live.event("its StasisStart", |kind| match kind {
            EventKind::StasisStart { channel, .. } if channel.id == callee => Some(()),
            _ => None,
        })
        .await;
        client.add_channels(&bridge, &[&caller, &callee]).await.unwrap();
        client.dial(&callee, Some(&caller), 10).await.unwrap();
        live.event("its answer", |kind| match kind {
            EventKind::Dial { peer, dialstatus, .. } if peer.id == callee && dialstatus == "ANSWER" => Some(()),
            _ => None,
        })
        .await;

        let playback = PlaybackId::new("announcement");
        client.play_to_bridge(&bridge, &playback, &Play::one(SPEECH)).await.unwrap();
        client.stop_playback(&playback).await.unwrap();
        http.call(request::bridges::start_moh(&bridge, None)).await.unwrap();
        http.call(request::bridges::stop_moh(&bridge)).await.unwrap();
        client.record_bridge(&bridge, &Record::new("mix", "wav")).await.unwrap();
        client.stop_recording("mix").await.unwrap();
        let whisper = Snoop {
            id: Uniqueid::new("whisper"),
            app: APP.into(),
            args: Vec::new(),
            spy: Spy::None,
            whisper: Spy::Out,
        };
        assert_eq!(http.call(channels::snoop_as(&caller, &whisper)).await.unwrap().id, whisper.id);

        for channel in [&whisper.id, &caller, &callee] {
            client.hangup(channel, HangupReason::Normal).await.unwrap();
        }
        client.destroy_bridge(&bridge).await.unwrap();
    }
}
