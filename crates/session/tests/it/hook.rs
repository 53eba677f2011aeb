//! The hook: a call waits until both directions flow, and never longer than it may.

use std::time::Duration;

use aimg_core::{CallEventKind, TapMode};
use aimg_session::ChannelState;

use crate::world::{Choice, InOrder, World, config};

fn released<C: Choice>(w: &World<C>) -> Vec<bool> {
    let ready = |k: &CallEventKind| match k {
        CallEventKind::HookReleased { ready } => Some(*ready),
        _ => None,
    };
    w.events.iter().filter_map(|e| ready(&e.kind)).collect()
}

#[test]
fn a_call_leaves_the_hook_when_both_directions_flow() {
    let mut w = World::new(config(TapMode::Hook, "all"), InOrder);
    w.channel("1.1", "1.1", "from-trunk");
    w.settle(Duration::ZERO);
    assert!(w.objects.is_empty(), "without the hook nothing is tapped");
    w.enter_hook("1.1");
    w.settle(Duration::from_secs(1));
    let kinds = w.kinds();
    let last_flow = kinds.iter().rposition(|k| *k == "flow_started").unwrap();
    let left = kinds.iter().position(|k| *k == "hook_released").unwrap();
    assert!(last_flow < left, "{kinds:?}");
    assert_eq!(released(&w), [true]);
    w.state("1.1", ChannelState::Up);
    w.hangup("1.1");
    w.settle(Duration::from_secs(1));
    w.assert_nothing_left();
}

#[test]
fn a_call_that_nobody_captures_is_let_go_at_once() {
    let mut w = World::new(config(TapMode::Hook, "none"), InOrder);
    w.channel("1.1", "1.1", "from-trunk");
    w.enter_hook("1.1");
    let before = w.now;
    w.settle(Duration::ZERO);
    assert!(w.in_hook.is_empty() && w.now.since(before) < Duration::from_millis(50));
    assert_eq!(released(&w), [false]);
}

/// Lets every request fail.
struct NothingWorks;

impl Choice for NothingWorks {
    fn below(&mut self, n: usize) -> usize {
        n - 1
    }
    fn fails(&mut self) -> bool {
        true
    }
}

#[test]
fn a_call_is_let_go_when_its_capture_fails() {
    let mut w = World::new(config(TapMode::Hook, "all"), NothingWorks);
    w.channel("1.1", "1.1", "from-trunk");
    w.enter_hook("1.1");
    w.settle(Duration::from_secs(1));
    assert_eq!(released(&w), [false], "{:?}", w.kinds());
    assert!(w.kinds().contains(&"tap_failed"));
}

#[test]
fn a_channel_that_ami_never_shows_is_a_call_all_the_same() {
    let mut w = World::new(config(TapMode::Hook, "all"), InOrder);
    let seen = aimg_session::ChannelSeen { uniqueid: "1.1".into(), name: "PJSIP/a-1".into(), ..Default::default() };
    w.channels.insert(aimg_core::Uniqueid::new("1.1"), seen);
    w.enter_hook("1.1");
    w.settle(Duration::from_millis(400));
    assert_eq!((w.in_hook.len(), w.sessions.len()), (1, 0), "Newchannel may still come");
    w.settle(Duration::from_millis(600));
    assert_eq!((released(&w), w.sessions.len()), (vec![true], 1), "AMI may be dead without anybody knowing it");
}

#[test]
fn what_is_no_call_is_let_out_of_the_hook() {
    for ami_is_away in [false, true] {
        let mut w = World::new(config(TapMode::Hook, "all"), InOrder);
        if ami_is_away {
            w.give(aimg_session::Input::AmiDown);
        }
        let name = "Announcer/ARI-1".into();
        let seen = aimg_session::ChannelSeen { uniqueid: "1.1".into(), name, ..Default::default() };
        w.channels.insert(aimg_core::Uniqueid::new("1.1"), seen);
        w.enter_hook("1.1");
        w.settle(Duration::from_secs(1));
        assert!(w.in_hook.is_empty() && w.sessions.is_empty() && w.board.is_empty());
    }
}

#[test]
fn while_ami_is_away_the_hook_alone_makes_a_session() {
    let mut w = World::new(config(TapMode::Hook, "all"), InOrder);
    w.give(aimg_session::Input::AmiDown);
    let seen = aimg_session::ChannelSeen { uniqueid: "1.1".into(), name: "PJSIP/a-1".into(), ..Default::default() };
    w.channels.insert(aimg_core::Uniqueid::new("1.1"), seen);
    w.enter_hook("1.1");
    w.settle(Duration::from_secs(1));
    assert_eq!(released(&w), [true]);
    assert_eq!(w.sessions.len(), 1);
}
