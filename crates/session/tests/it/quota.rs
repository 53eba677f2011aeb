//! Calls beyond their tenant's quota: seen, told why not captured, and in nobody's way.

use std::time::Duration;

use aimg_core::{CallEventKind, CaptureOrder, QuotaKind, TapMode};
use aimg_session::{CaptureSeen, ChannelState};

use crate::world::{InOrder, World, config};

fn denials(w: &World<InOrder>) -> usize {
    let denied = CallEventKind::QuotaExceeded { quota: QuotaKind::ConcurrentSessions };
    w.events.iter().filter(|event| event.kind == denied).count()
}

fn bounded(mode: TapMode, quota: usize) -> World<InOrder> {
    let mut w = World::new(config(mode, "all"), InOrder);
    w.quota = Some(quota);
    w
}

#[test]
fn a_call_beyond_the_quota_is_seen_and_not_captured() {
    let mut w = bounded(TapMode::Ami, 1);
    for channel in ["1.1", "2.1"] {
        w.channel(channel, channel, "from-trunk");
        w.state(channel, ChannelState::Up);
        w.settle(Duration::from_secs(10));
    }
    assert_eq!((w.open.len(), w.sessions.len(), denials(&w)), (1, 2, 1), "once, and nothing is tried again");
    let captured: Vec<_> = w.sessions.values().map(|record| record.captured).collect();
    assert_eq!(captured, [true, false]);
    let denied = *w.sessions.keys().last().unwrap();
    assert_eq!(w.board.capture(denied), Some(CaptureSeen::Nothing { held_back: false }));
    // Neither a connection that comes back nor the end of the other call begins what was denied; a person can.
    w.ari_blinks();
    w.hangup("1.1");
    w.settle(Duration::from_secs(10));
    assert_eq!((w.open.len(), denials(&w)), (0, 1));
    w.order(1, CaptureOrder::Start);
    w.settle(Duration::ZERO);
    assert_eq!(w.board.capture(denied), Some(CaptureSeen::Flowing { part: 1 }));
    w.hangup("2.1");
    w.settle(Duration::from_secs(1));
    w.assert_nothing_left();
}

#[test]
fn in_the_hook_it_is_let_go_at_once() {
    let mut w = bounded(TapMode::Hook, 0);
    w.channel("1.1", "1.1", "from-trunk");
    w.enter_hook("1.1");
    w.settle(Duration::ZERO);
    assert!(w.in_hook.is_empty(), "{:?}", w.kinds());
    assert_eq!((w.objects.len(), denials(&w)), (0, 1));
    w.hangup("1.1");
    w.settle(Duration::from_secs(1));
    w.assert_nothing_left();
}

#[test]
fn a_call_that_ends_before_it_is_denied_leaves_nothing() {
    let mut w = bounded(TapMode::Ami, 0);
    w.channel("1.1", "1.1", "from-trunk");
    w.step();
    w.hangup("1.1");
    w.settle(Duration::from_secs(1));
    w.assert_nothing_left();
}
