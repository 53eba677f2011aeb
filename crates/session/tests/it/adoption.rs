//! Coming back: after a restart of the gateway, of Asterisk, or of a connection.

use std::time::Duration;

use aimg_core::{CallState, FailReason, Minted, MintedWhat, SessionId, TapMode};
use aimg_session::{ChannelSeen, ChannelState, Input, KnownCall, RunningPart};

use crate::world::{BOTH, InOrder, World, config};

/// A world in which one call was captured when the gateway died, and what the store knows of it.
fn died() -> (World<InOrder>, KnownCall) {
    let mut w = World::new(config(TapMode::Ami, "all"), InOrder);
    w.channel("1.1", "1.1", "from-trunk");
    w.state("1.1", ChannelState::Up);
    w.settle(Duration::ZERO);
    let record = w.sessions.values().next().unwrap().clone();
    let mut reborn = World::new(config(TapMode::Ami, "all"), InOrder);
    reborn.objects = w.objects;
    reborn.channels = w.channels;
    (reborn, KnownCall { record, legs: vec![], next_part: 1, running: None })
}

fn channels(w: &World<InOrder>) -> Vec<ChannelSeen> {
    w.channels.values().cloned().collect()
}

#[test]
fn a_live_call_is_adopted_and_what_was_left_of_its_tap_removed() {
    let (mut w, known) = died();
    let id = known.record.id;
    w.give(Input::Known(vec![known]));
    let minted = w.objects.iter().map(|o| Minted::parse(o).unwrap()).collect();
    w.give(Input::AriUp { minted });
    w.give(Input::AmiUp { channels: channels(&w), restarted: false });
    w.settle(Duration::ZERO);
    assert_eq!(w.begun.len(), 1);
    let (record, part, adopted) = &w.begun[0];
    assert_eq!((record.id, *part, *adopted), (id, 1, true));
    assert!(record.answered_at.is_some(), "the answer was seen before the restart");
    assert_eq!(w.objects.len(), 6, "the old tap's objects are gone: {:?}", w.objects);
    assert!(w.objects.contains(&Minted { part: 1, ..Minted::parse(w.objects.first().unwrap()).unwrap() }.to_string()));
    w.hangup("1.1");
    w.settle(Duration::from_secs(1));
    w.sessions.entry(id).and_modify(|r| assert_eq!(r.state, CallState::Ended));
    w.assert_nothing_left();
}

#[test]
fn a_call_that_ended_meanwhile_is_closed() {
    let (mut w, known) = died();
    w.give(Input::Known(vec![known]));
    w.give(Input::AmiUp { channels: vec![], restarted: false });
    assert_eq!(w.states(), [CallState::Ended]);
    assert!(w.kinds().contains(&"lost"));
}

#[test]
fn a_call_found_without_a_session_is_captured_from_there_on() {
    let (mut w, _) = died();
    w.objects.clear();
    w.give(Input::AmiUp { channels: channels(&w), restarted: false });
    w.settle(Duration::ZERO);
    let (record, part, adopted) = &w.begun[0];
    assert_eq!((*part, *adopted, record.answered_at), (0, true, None), "nobody knows when it was answered");
}

#[test]
fn orphans_of_this_node_are_removed_and_those_of_others_left_alone() {
    let mut w = World::new(config(TapMode::Ami, "all"), InOrder);
    let orphan = |node: &str| Minted {
        node: node.parse().unwrap(),
        session: SessionId::from_uuid(uuid::Uuid::from_u128(9)),
        part: 0,
        what: MintedWhat::Bridge(BOTH[0]),
    };
    w.objects = ["n1", "n2"].map(|n| orphan(n).to_string()).into();
    w.give(Input::AriUp { minted: vec![orphan("n1"), orphan("n2")] });
    w.settle(Duration::ZERO);
    assert_eq!(w.objects.iter().map(String::as_str).collect::<Vec<_>>(), [orphan("n2").to_string()]);
}

#[test]
fn calls_of_a_restarted_asterisk_fail_and_their_recordings_are_finished() {
    let mut w = World::new(config(TapMode::Ami, "all"), InOrder);
    w.channel("1.1", "1.1", "a");
    w.state("1.1", ChannelState::Up);
    w.settle(Duration::ZERO);
    w.objects.clear();
    w.channels.clear();
    w.give(Input::PbxDown(FailReason::PbxRestarted));
    w.settle(Duration::from_secs(1));
    assert_eq!(w.states().last(), Some(&CallState::Failed));
    assert!(w.kinds().contains(&"recording_ready"));
    w.assert_nothing_left();
}

#[test]
fn a_connection_that_was_cut_changes_nothing_for_calls_that_live() {
    let mut w = World::new(config(TapMode::Ami, "all"), InOrder);
    w.channel("1.1", "1.1", "a");
    w.channel("2.1", "2.1", "a");
    w.settle(Duration::ZERO);
    let minted = w.objects.iter().map(|o| Minted::parse(o).unwrap()).collect();
    let before = (w.objects.clone(), w.begun.len());
    w.give(Input::AriUp { minted });
    w.give(Input::AmiUp { channels: channels(&w), restarted: false });
    w.settle(Duration::ZERO);
    assert_eq!((w.objects.clone(), w.begun.len()), before);

    // One of them was hung up while the connection was away.
    w.channels.remove(&aimg_core::Uniqueid::new("2.1"));
    w.give(Input::AmiUp { channels: channels(&w), restarted: false });
    w.settle(Duration::from_secs(1));
    assert_eq!((w.objects.len(), w.board.len()), (6, 1));
}

#[test]
fn a_gateway_that_stops_leaves_the_calls_alone_and_takes_its_captures_down() {
    let mut w = World::new(config(TapMode::Hook, "all"), InOrder);
    w.channel("1.1", "1.1", "a");
    w.enter_hook("1.1");
    w.settle(Duration::ZERO);
    w.channel("2.1", "2.1", "a");
    w.enter_hook("2.1");
    w.give(Input::Stop);
    w.settle(Duration::from_secs(1));
    assert!(w.board.is_quiet() && w.objects.is_empty() && w.in_hook.is_empty() && w.open.is_empty());
    assert!(w.sessions.values().all(|s| !s.state.is_over()), "the next run adopts them");
    assert_eq!(w.begun.len(), 1, "nothing begins while stopping");
}

#[test]
fn captures_wait_for_ari() {
    let mut w = World::new(config(TapMode::Ami, "all"), InOrder);
    w.give(Input::AriDown);
    w.channel("1.1", "1.1", "a");
    w.settle(Duration::from_secs(60));
    assert!(w.begun.is_empty() && !w.kinds().contains(&"tap_failed"));
    w.give(Input::AriUp { minted: vec![] });
    w.settle(Duration::ZERO);
    assert_eq!((w.begun.len(), w.objects.len()), (1, 6));
}

#[test]
fn by_hook_only_what_was_captured_is_captured_again() {
    let mut w = World::new(config(TapMode::Hook, "all"), InOrder);
    for (call, hook) in [("1.1", true), ("2.1", false)] {
        w.channel(call, call, "a");
        if hook {
            w.enter_hook(call);
        }
    }
    w.settle(Duration::ZERO);
    w.objects.clear();
    w.give(Input::AriDown);
    w.give(Input::AriUp { minted: vec![] });
    w.settle(Duration::from_secs(1));
    let begun: Vec<_> = w.begun.iter().map(|(row, part, _)| (row.uniqueid.as_str(), *part)).collect();
    assert_eq!(begun, [("1.1", 0), ("1.1", 1)]);
}

#[test]
fn a_capture_that_this_run_took_over_goes_on() {
    let (mut w, known) = died();
    let id = known.record.id;
    w.open.insert((id, 0));
    w.give(Input::Known(vec![KnownCall {
        running: Some(RunningPart { part: 0, channel: aimg_core::Uniqueid::new("1.1") }),
        ..known
    }]));
    let minted = w.objects.iter().map(|o| Minted::parse(o).unwrap()).collect();
    w.give(Input::AriUp { minted });
    w.give(Input::AmiUp { channels: channels(&w), restarted: false });
    w.settle(Duration::from_secs(1));
    assert_eq!((w.begun.len(), w.objects.len()), (0, 6), "{:?}", w.objects);
    assert_eq!(w.kinds(), ["resumed"], "{:?}", w.states());
    w.hangup("1.1");
    w.settle(Duration::from_secs(1));
    assert_eq!(w.ended, [(0, true)]);
    w.sessions.entry(id).and_modify(|r| assert_eq!(r.state, CallState::Ended));
    w.assert_nothing_left();
}

#[test]
fn a_capture_that_this_run_took_over_ends_with_a_call_that_ended_meanwhile() {
    let (mut w, known) = died();
    w.open.insert((known.record.id, 0));
    w.channels.clear();
    let snoops = w.objects.iter().filter(|o| o.ends_with("si") || o.ends_with("so")).cloned().collect::<Vec<_>>();
    for snoop in snoops {
        w.objects.remove(&snoop);
    }
    w.give(Input::Known(vec![KnownCall {
        running: Some(RunningPart { part: 0, channel: aimg_core::Uniqueid::new("1.1") }),
        ..known
    }]));
    let minted = w.objects.iter().map(|o| Minted::parse(o).unwrap()).collect();
    w.give(Input::AriUp { minted });
    w.give(Input::AmiUp { channels: vec![], restarted: false });
    w.settle(Duration::from_secs(1));
    assert_eq!(w.ended, [(0, true)], "{:?}", w.kinds());
    assert!(!w.kinds().contains(&"tap_failed"));
    w.assert_nothing_left();
}

#[test]
fn the_end_of_a_call_is_found_while_ami_is_away() {
    let mut w = World::new(config(TapMode::Ami, "all"), InOrder);
    w.channel("1.1", "1.1", "from-trunk");
    w.state("1.1", ChannelState::Up);
    w.settle(Duration::ZERO);
    w.give(Input::AmiDown);
    w.hangup_unseen("1.1");
    w.settle(Duration::from_secs(1));
    assert_eq!(w.states().last(), Some(&CallState::Ended));
    assert_eq!((w.begun.len(), &w.ended[..]), (1, &[(0, true)][..]), "captured to its end, and not begun anew");
    w.assert_nothing_left();
    // Its Newchannel comes late.
    w.give(Input::ChannelNew(ChannelSeen { uniqueid: "1.1".into(), linkedid: "1.1".into(), ..ChannelSeen::default() }));
    w.assert_nothing_left();
}
