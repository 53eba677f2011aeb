//! Calls that change hands: whose conversation goes on is captured, once, and two calls that become one say so.

use std::time::Duration;

use aimg_core::{CallEventKind, CallState, SessionId, TapMode, Uniqueid};
use aimg_session::{ChannelState, Entered, Input, KnownCall, RunningPart};

use crate::world::{InOrder, World, config};

/// Longer than a capture waits for a channel to hang up with the one that was tapped.
const AFTER_GRACE: Duration = Duration::from_secs(1);

fn world() -> World<InOrder> {
    World::new(config(TapMode::Ami, "all"), InOrder)
}

/// A call of two channels that talk: `n.1` and `n.2`.
fn talk(w: &mut World<InOrder>, n: u32) -> [String; 2] {
    let channels = [format!("{n}.1"), format!("{n}.2")];
    for channel in &channels {
        w.channel(channel, &channels[0], "inside");
        w.state(channel, ChannelState::Up);
    }
    w.bridge(&channels[0], &channels[1], None);
    w.settle(Duration::ZERO);
    channels
}

fn hang_up(w: &mut World<InOrder>, channels: &[&str]) {
    channels.iter().for_each(|channel| w.hangup(channel));
    w.settle(AFTER_GRACE);
}

/// The sessions in the order of their calls.
fn sessions(w: &World<InOrder>) -> Vec<SessionId> {
    let mut sessions: Vec<_> = w.sessions.values().collect();
    sessions.sort_by_key(|s| s.uniqueid.clone());
    sessions.into_iter().map(|s| s.id).collect()
}

/// The channels whose captures were begun, by session.
fn captured(w: &World<InOrder>) -> Vec<(SessionId, &str)> {
    w.begun.iter().map(|(row, part, _)| (row.id, w.tapped[&(row.id, *part)].as_str())).collect()
}

fn events(w: &World<InOrder>, session: SessionId) -> Vec<&CallEventKind> {
    w.events.iter().filter(|e| e.session == session).map(|e| &e.kind).collect()
}

#[test]
fn two_who_hang_up_together_are_captured_once() {
    for order in [["1.1", "1.2"], ["1.2", "1.1"]] {
        let mut w = world();
        talk(&mut w, 1);
        hang_up(&mut w, &order);
        assert_eq!(w.begun.len(), 1, "{order:?}: {:?}", w.kinds());
        w.assert_nothing_left();
    }
}

#[test]
fn who_is_sent_on_by_the_caller_is_captured_on() {
    let mut w = world();
    talk(&mut w, 1);
    let told = CallEventKind::Transferred { how: aimg_core::TransferKind::Blind, by: Uniqueid::new("1.1") };
    w.give(Input::Told { channel: Uniqueid::new("1.1"), kind: told.clone() });
    hang_up(&mut w, &["1.1"]);
    w.channel("1.3", "1.1", "inside");
    w.state("1.3", ChannelState::Up);
    w.settle(Duration::ZERO);
    let [session] = sessions(&w)[..] else { panic!("one call: {:?}", w.sessions) };
    assert_eq!(captured(&w), [(session, "1.1"), (session, "1.2")]);
    assert_eq!(w.ended, [(0, true)]);
    let moved = CallEventKind::CaptureMoved { channel: Uniqueid::new("1.2") };
    assert!(events(&w, session).contains(&&moved) && events(&w, session).contains(&&told));
    w.assert_conversations_are_captured(TapMode::Ami);
    hang_up(&mut w, &["1.2", "1.3"]);
    assert_eq!((w.begun.len(), w.states().last()), (2, Some(&CallState::Ended)));
    w.assert_nothing_left();
}

#[test]
fn an_attended_transfer_by_a_callee_leaves_the_older_call_captured_once() {
    let mut w = world();
    talk(&mut w, 1);
    talk(&mut w, 2);
    w.bridge("1.1", "2.2", Some("1.2"));
    hang_up(&mut w, &["1.2", "2.1"]);
    let [older, younger] = sessions(&w)[..] else { panic!("two calls") };
    assert_eq!(
        captured(&w),
        [(older, "1.1"), (younger, "2.1"), (older, "1.1")],
        "again where it went, and nobody else for a moment"
    );
    w.assert_conversations_are_captured(TapMode::Ami);
    assert!(events(&w, younger).contains(&&CallEventKind::JoinedInto { into: older }));
    assert!(events(&w, older).contains(&&CallEventKind::JoinedFrom { from: younger }));
    assert_eq!(w.sessions[&younger].state, CallState::Ended);
    assert!(!w.sessions[&older].state.is_over());
    hang_up(&mut w, &["2.2", "1.1"]);
    w.assert_nothing_left();
}

#[test]
fn an_attended_transfer_by_the_caller_moves_the_capture_at_once() {
    for second_enters_last in [true, false] {
        let mut w = world();
        talk(&mut w, 1);
        talk(&mut w, 2);
        let [first, second] = if second_enters_last { ["1.2", "2.2"] } else { ["2.2", "1.2"] };
        w.bridge(first, second, None);
        w.hangup("1.1");
        w.hangup("2.1");
        w.settle(Duration::ZERO);
        let [older, younger] = sessions(&w)[..] else { panic!("two calls") };
        assert_eq!(captured(&w), [(older, "1.1"), (younger, "2.1"), (older, "1.2")]);
        w.assert_conversations_are_captured(TapMode::Ami);
        assert_eq!(w.sessions[&younger].state, CallState::Ended);
        hang_up(&mut w, &["1.2", "2.2"]);
        assert_eq!(w.begun.len(), 3);
        w.assert_nothing_left();
    }
}

#[test]
fn who_takes_the_place_of_the_tapped_channel_is_tapped() {
    let mut w = world();
    talk(&mut w, 1);
    w.channel("1.3", "1.1", "inside");
    w.state("1.3", ChannelState::Up);
    w.bridge("1.2", "1.3", Some("1.1"));
    w.hangup("1.1");
    w.settle(Duration::ZERO);
    let channels: Vec<_> = captured(&w).into_iter().map(|(_, channel)| channel).collect();
    assert_eq!(channels, ["1.1", "1.3"]);
}

#[test]
fn who_takes_a_parked_call_goes_on_in_its_session() {
    let mut w = world();
    talk(&mut w, 1);
    hang_up(&mut w, &["1.2"]);
    w.channel("2.1", "2.1", "inside");
    w.state("2.1", ChannelState::Up);
    w.settle(Duration::ZERO);
    w.bridge("1.1", "2.1", None);
    w.settle(AFTER_GRACE);
    let [parked, retriever] = sessions(&w)[..] else { panic!("two calls") };
    assert_eq!(captured(&w), [(parked, "1.1"), (retriever, "2.1"), (parked, "1.1")]);
    assert_eq!(w.sessions[&retriever].state, CallState::Ended, "its only channel is in the other session");
    w.assert_conversations_are_captured(TapMode::Ami);
    hang_up(&mut w, &["1.1", "2.1"]);
    w.assert_nothing_left();
}

#[test]
fn a_call_that_is_picked_up_stays_itself_and_who_took_it_says_where_it_goes_on() {
    let mut w = world();
    w.channel("1.1", "1.1", "inside");
    w.channel("1.2", "1.1", "inside");
    w.state("1.2", ChannelState::Ringing);
    w.channel("2.1", "2.1", "inside");
    w.settle(Duration::ZERO);
    w.pick_up("1.2", "2.1");
    w.settle(AFTER_GRACE);
    let [call, taker] = sessions(&w)[..] else { panic!("two calls") };
    let [rang, by] = ["1.2", "2.1"].map(Uniqueid::new);
    assert!(events(&w, call).contains(&&CallEventKind::PickedUp { channel: rang, by }));
    assert!(events(&w, call).contains(&&CallEventKind::JoinedFrom { from: taker }));
    assert!(events(&w, taker).contains(&&CallEventKind::JoinedInto { into: call }));
    assert_eq!(w.sessions[&taker].state, CallState::Ended);
    assert_eq!(captured(&w), [(call, "1.1"), (taker, "2.1")]);
    w.assert_conversations_are_captured(TapMode::Ami);
    hang_up(&mut w, &["1.1", "2.1"]);
    w.assert_nothing_left();
}

#[test]
fn callers_in_a_conference_stay_calls_of_their_own() {
    let mut w = world();
    for channel in ["1.1", "2.1", "3.1"] {
        w.channel(channel, channel, "inside");
        w.state(channel, ChannelState::Up);
        w.settle(Duration::ZERO);
        w.give(Input::BridgeEntered(Entered {
            bridge: "room".into(),
            joins_calls: false,
            channel: Uniqueid::new(channel),
            linkedid: Uniqueid::new(channel),
            swapped: None,
        }));
    }
    assert_eq!((w.sessions.len(), w.open.len()), (3, 3));
    hang_up(&mut w, &["1.1", "2.1", "3.1"]);
    w.assert_nothing_left();
}

#[test]
fn what_was_captured_goes_on_being_captured_in_a_call_that_was_not() {
    let mut w = World::new(config(TapMode::Ami, "context:inside"), InOrder);
    for channel in ["1.1", "1.2"] {
        w.channel(channel, "1.1", "elsewhere");
        w.state(channel, ChannelState::Up);
    }
    talk(&mut w, 2);
    w.bridge("1.1", "2.2", None);
    hang_up(&mut w, &["1.2", "2.1"]);
    let [older, younger] = sessions(&w)[..] else { panic!("two calls") };
    assert_eq!(captured(&w), [(younger, "2.1"), (older, "1.1")]);
    let (_, _, adopted) = &w.begun[1];
    assert!(*adopted && w.sessions[&older].captured, "it begins in the middle of its call");
    w.assert_conversations_are_captured(TapMode::Ami);
}

#[test]
fn a_phone_that_asterisk_puts_into_another_channel_stays_in_its_call() {
    let mut w = world();
    talk(&mut w, 1);
    w.masquerade("1.2", "1.3");
    hang_up(&mut w, &["1.1"]);
    let channels: Vec<_> = captured(&w).into_iter().map(|(_, channel)| channel).collect();
    assert_eq!((w.sessions.len(), channels), (1, vec!["1.1", "1.3"]));
    hang_up(&mut w, &["1.3"]);
    w.assert_nothing_left();
}

#[test]
fn a_capture_that_moved_and_was_taken_over_goes_on_where_it_is() {
    let mut w = world();
    talk(&mut w, 1);
    w.channel("1.3", "1.1", "inside");
    w.state("1.3", ChannelState::Up);
    w.bridge("1.2", "1.3", None);
    hang_up(&mut w, &["1.1"]);
    let record = w.sessions.values().next().unwrap().clone();
    let running = Some(RunningPart { part: 1, channel: Uniqueid::new("1.2") });
    let legs = w.rows.clone();
    let mut reborn = world();
    (reborn.objects, reborn.channels, reborn.open) = (w.objects, w.channels, w.open);
    reborn.legs = w.legs;
    let known = KnownCall { record, legs, next_part: 2, running };
    reborn.give(Input::Known(vec![known]));
    let minted = reborn.objects.iter().map(|o| aimg_core::Minted::parse(o).unwrap()).collect();
    reborn.give(Input::AriUp { minted });
    let channels = reborn.channels.values().cloned().collect();
    reborn.give(Input::AmiUp { channels, restarted: false });
    reborn.settle(AFTER_GRACE);
    assert_eq!(reborn.kinds(), ["resumed"], "nobody joined or left, nothing moved");
    reborn.hangup("1.2");
    reborn.settle(AFTER_GRACE);
    assert_eq!(captured(&reborn).len(), 1, "the third channel is tapped");
    hang_up(&mut reborn, &["1.3"]);
    reborn.assert_nothing_left();
}

#[test]
fn by_hook_what_never_waited_in_the_hook_is_not_captured_because_its_caller_left() {
    let mut w = World::new(config(TapMode::Hook, "all"), InOrder);
    talk(&mut w, 1);
    hang_up(&mut w, &["1.1"]);
    assert!(w.begun.is_empty());
    // Who is left is sent on, through the hook.
    w.enter_hook("1.2");
    w.settle(AFTER_GRACE);
    assert_eq!(captured(&w).len(), 1);
    hang_up(&mut w, &["1.2"]);
    w.assert_nothing_left();
}

#[test]
fn a_channel_that_moves_is_tapped_anew_when_nothing_of_the_last_tap_is_left() {
    let mut w = world();
    talk(&mut w, 1);
    assert_eq!(w.begun.len(), 1, "its first bridge is not another one");
    w.channel("1.3", "1.1", "inside");
    w.state("1.3", ChannelState::Up);
    w.settle(Duration::ZERO);
    w.bridge("1.1", "1.3", None);
    while w.step() {}
    let moved_at = w.now;
    assert_eq!((w.objects.len(), w.ended.as_slice(), w.begun.len()), (0, &[(0, false)][..], 1));
    w.settle(AFTER_GRACE);
    assert_eq!((w.objects.len(), w.begun.len()), (6, 2));
    assert!(w.moved_at[0].is_none() && w.moved_at[1].is_some_and(|at| at <= moved_at), "{:?}", w.moved_at);
    assert!(!w.kinds().contains(&"tap_failed"));
    w.assert_conversations_are_captured(TapMode::Ami);
    hang_up(&mut w, &["1.1", "1.2", "1.3"]);
    assert_eq!(w.ended, [(0, false), (1, true)]);
    w.assert_nothing_left();
}

#[test]
fn a_channel_that_left_its_bridge_and_lives_is_tapped_anew_wherever_it_is() {
    for returns in [false, true] {
        let mut w = world();
        talk(&mut w, 1);
        let (bridge, channel) = ("b1".to_owned(), Uniqueid::new("1.1"));
        w.give(Input::BridgeLeft { bridge: bridge.clone(), channel: channel.clone() });
        if returns {
            let linkedid = channel.clone();
            w.give(Input::BridgeEntered(Entered { bridge, joins_calls: true, channel, linkedid, swapped: None }));
        }
        w.settle(AFTER_GRACE);
        assert_eq!((w.begun.len(), w.ended.as_slice()), (2, &[(0, false)][..]));
        hang_up(&mut w, &["1.1", "1.2"]);
        w.assert_nothing_left();
    }
}

#[test]
fn the_last_capture_that_is_allowed_may_be_renewed() {
    let mut w = World::new(aimg_session::Config { taps_max: 1, ..config(TapMode::Ami, "all") }, InOrder);
    talk(&mut w, 1);
    w.channel("1.3", "1.1", "inside");
    w.state("1.3", ChannelState::Up);
    w.bridge("1.1", "1.3", None);
    w.settle(AFTER_GRACE);
    assert_eq!(w.begun.len(), 2, "{:?}", w.kinds());
}

#[test]
fn who_comes_into_the_tapped_channels_bridge_after_somebody_else_is_heard_by_another_tap() {
    for (in_place_of, parts) in [("PJSIP/bob", 2), ("Local/bob@inside-1;1", 1)] {
        let mut w = world();
        talk(&mut w, 1);
        w.give(Input::ChannelRenamed { channel: Uniqueid::new("1.2"), name: in_place_of.to_owned() });
        w.channel("1.3", "1.1", "inside");
        w.state("1.3", ChannelState::Up);
        w.settle(Duration::ZERO);
        w.give(Input::BridgeEntered(Entered {
            bridge: "b1".into(),
            joins_calls: true,
            channel: Uniqueid::new("1.3"),
            linkedid: Uniqueid::new("1.1"),
            swapped: Some(Uniqueid::new("1.2")),
        }));
        w.settle(AFTER_GRACE);
        assert_eq!(w.begun.len(), parts, "in the place of {in_place_of}");
        hang_up(&mut w, &["1.2", "1.3", "1.1"]);
        w.assert_nothing_left();
    }
}
