//! What people ask of a recording: start, stop, pause, resume.

use std::time::Duration;

use aimg_core::{CallEventKind, CaptureOrder, TapMode};
use aimg_session::{CaptureSeen, ChannelState, Input, KnownCall};

use crate::world::{InOrder, World, config};

fn up(rule: &str) -> World<InOrder> {
    let mut w = World::new(config(TapMode::Ami, rule), InOrder);
    w.channel("1.1", "1.1", "a");
    w.state("1.1", ChannelState::Up);
    w.settle(Duration::ZERO);
    w
}

fn capture(w: &World<InOrder>) -> CaptureSeen {
    w.board.capture(*w.sessions.keys().next().unwrap()).unwrap()
}

fn orders(w: &World<InOrder>) -> Vec<CaptureOrder> {
    let order = |kind: &CallEventKind| match kind {
        CallEventKind::CaptureOrdered { order } => Some(*order),
        _ => None,
    };
    w.events.iter().filter_map(|e| order(&e.kind)).collect()
}

#[test]
fn a_pause_ends_one_part_and_the_next_begins_after_it() {
    let mut w = up("all");
    assert_eq!(capture(&w), CaptureSeen::Flowing { part: 0 });
    w.order(0, CaptureOrder::Pause);
    assert_eq!(capture(&w), CaptureSeen::Leaving, "Asterisk still sends until its objects are gone");
    w.settle(Duration::from_secs(10));
    assert_eq!((capture(&w), w.objects.len()), (CaptureSeen::Nothing { held_back: true }, 0));
    w.order(0, CaptureOrder::Resume);
    w.settle(Duration::ZERO);
    assert_eq!(capture(&w), CaptureSeen::Flowing { part: 1 });
    let parts: Vec<_> = w.begun.iter().map(|(_, part, adopted)| (*part, *adopted)).collect();
    assert_eq!(parts, [(0, false), (1, false)], "what was said in the pause is not missing");
    assert_eq!((w.ended.as_slice(), orders(&w)), (&[(0, false)][..], vec![CaptureOrder::Pause, CaptureOrder::Resume]));
    w.hangup("1.1");
    w.settle(Duration::from_secs(1));
    w.assert_nothing_left();
}

#[test]
fn what_the_rule_does_not_want_is_recorded_when_somebody_asks() {
    let mut w = up("none");
    assert_eq!(capture(&w), CaptureSeen::Nothing { held_back: false });
    w.order(0, CaptureOrder::Start);
    w.settle(Duration::ZERO);
    assert_eq!(capture(&w), CaptureSeen::Flowing { part: 0 });
    assert!(w.sessions.values().all(|record| record.captured));
    w.order(0, CaptureOrder::Stop);
    w.hangup("1.1");
    w.settle(Duration::from_secs(1));
    assert_eq!(w.ended, [(0, false)]);
    w.assert_nothing_left();
}

#[test]
fn neither_a_new_bridge_nor_a_connection_that_comes_back_ends_a_pause() {
    let mut w = up("all");
    w.channel("1.2", "1.1", "a");
    w.state("1.2", ChannelState::Up);
    w.channel("2.1", "2.1", "a");
    w.state("2.1", ChannelState::Up);
    w.order(0, CaptureOrder::Pause);
    w.settle(Duration::ZERO);
    w.bridge("1.1", "1.2", None);
    w.ari_blinks();
    w.ami_blinks();
    // The younger call, which is recorded, goes on in the one that is paused.
    w.bridge("1.1", "2.1", None);
    w.settle(Duration::from_secs(10));
    assert_eq!((w.open.len(), w.objects.len()), (0, 0), "{:?}", w.begun);
    ["1.1", "1.2", "2.1"].into_iter().for_each(|channel| w.hangup(channel));
    w.settle(Duration::from_secs(1));
    w.assert_nothing_left();
}

#[test]
fn a_pause_outlives_the_gateway() {
    let mut w = up("all");
    w.order(0, CaptureOrder::Pause);
    w.settle(Duration::from_secs(10));
    let record = w.sessions.values().next().unwrap().clone();
    let mut reborn = World::new(config(TapMode::Ami, "all"), InOrder);
    reborn.channels = w.channels;
    reborn.give(Input::Known(vec![KnownCall { record: record.clone(), legs: vec![], next_part: 1, running: None }]));
    reborn.give(Input::AmiUp { channels: reborn.channels.values().cloned().collect(), restarted: false });
    reborn.settle(Duration::from_secs(10));
    assert!(reborn.begun.is_empty());
    assert_eq!(reborn.board.capture(record.id), Some(CaptureSeen::Nothing { held_back: true }));
}

#[test]
fn an_order_about_a_call_that_is_over_does_nothing() {
    let mut w = up("none");
    w.hangup("1.1");
    w.settle(Duration::from_secs(1));
    w.order(0, CaptureOrder::Start);
    w.settle(Duration::ZERO);
    assert!(w.begun.is_empty() && orders(&w).is_empty());
    w.assert_nothing_left();
}
