//! Set-up and hang-up in every order that the protocols allow.

use std::time::Duration;

use aimg_core::{CallState, CaptureOrder, MintedWhat, TapMode};
use aimg_session::ChannelState;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use crate::world::{BOTH, Choice, InOrder, World, config};

#[test]
fn a_call_is_tapped_answered_captured_and_ended() {
    let mut w = World::new(config(TapMode::Ami, "all"), InOrder);
    w.channel("1.1", "1.1", "from-trunk");
    w.settle(Duration::ZERO);
    assert_eq!(w.objects.len(), 6, "two bridges, two snoops, two external media: {:?}", w.objects);
    w.channel("1.2", "1.1", "from-trunk");
    w.state("1.2", ChannelState::Ringing);
    w.state("1.1", ChannelState::Up);
    w.settle(Duration::ZERO);
    w.hangup("1.2");
    w.hangup("1.1");
    w.settle(Duration::from_secs(1));
    use CallState::{Answered, Capturing, Detected, Ended, Ringing};
    assert_eq!(w.states(), [Detected, Ringing, Answered, Capturing, Ended]);
    assert_eq!(w.sessions.len(), 1, "the second channel is a leg, not a call");
    assert!(!w.kinds().contains(&"tap_failed"), "{:?}", w.kinds());
    assert_eq!(w.ended, [(0, true)]);
    w.assert_nothing_left();
}

#[test]
fn our_own_channels_and_asterisks_are_no_calls() {
    let mut w = World::new(config(TapMode::Ami, "all"), InOrder);
    w.channel("aimg-n1-0198c1de-1111-7000-8000-000000000000-0si", "1.1", "");
    for name in ["Snoop/1.1-00000001", "UnicastRTP/127.0.0.1:4000-0x1", "Message/ast_msg_queue"] {
        let seen = aimg_session::ChannelSeen { uniqueid: "9.9".into(), name: name.into(), ..Default::default() };
        w.give(aimg_session::Input::ChannelNew(seen));
    }
    w.settle(Duration::ZERO);
    assert!(w.sessions.is_empty());
}

#[test]
fn the_rule_decides_what_is_captured() {
    for (rule, captured) in [("all", true), ("none", false), ("direction:inbound", true), ("context:other", false)] {
        let mut w = World::new(config(TapMode::Ami, rule), InOrder);
        w.channel("1.1", "1.1", "from-trunk");
        w.settle(Duration::ZERO);
        assert_eq!(w.objects.len() == 6, captured, "{rule}");
        w.hangup("1.1");
        w.settle(Duration::from_secs(1));
        w.assert_nothing_left();
    }
}

#[test]
fn no_more_captures_than_asterisk_has_ports_for() {
    let mut w = World::new(aimg_session::Config { taps_max: 1, ..config(TapMode::Ami, "all") }, InOrder);
    w.channel("1.1", "1.1", "a");
    w.channel("1.2", "1.2", "a");
    w.settle(Duration::ZERO);
    assert_eq!(w.begun.len(), 1);
    assert!(w.kinds().contains(&"tap_failed"));
}

#[test]
fn a_tap_that_breaks_in_the_middle_is_replaced_by_another_part() {
    let mut w = World::new(config(TapMode::Ami, "all"), InOrder);
    w.channel("1.1", "1.1", "a");
    w.state("1.1", ChannelState::Up);
    w.settle(Duration::ZERO);
    let media = w.tap_id(0, MintedWhat::Media(BOTH[0])).to_string();
    w.object_dies(&media);
    w.settle(Duration::from_secs(1));
    let parts: Vec<_> = w.begun.iter().map(|(_, part, adopted)| (*part, *adopted)).collect();
    assert_eq!(parts, [(0, false), (1, true)]);
    assert_eq!(w.objects.len(), 6, "only the second part's objects: {:?}", w.objects);
    w.hangup("1.1");
    w.settle(Duration::from_secs(1));
    assert_eq!(w.ended, [(0, false), (1, true)]);
    w.assert_nothing_left();
}

#[test]
fn a_hangup_that_ari_tells_first_is_no_failure() {
    let mut w = World::new(config(TapMode::Ami, "all"), InOrder);
    w.channel("1.1", "1.1", "a");
    w.settle(Duration::ZERO);
    let snoop = w.tap_id(0, MintedWhat::Snoop(BOTH[0])).to_string();
    w.object_dies(&snoop);
    w.settle(Duration::from_millis(100));
    w.hangup("1.1");
    w.settle(Duration::from_secs(1));
    assert!(!w.kinds().contains(&"tap_failed"), "{:?}", w.kinds());
    assert_eq!((w.begun.len(), w.ended.as_slice()), (1, &[(0, true)][..]));
    w.assert_nothing_left();
}

/// Choices drawn by proptest: its seed is printed with a failure.
pub(crate) struct Drawn {
    pub(crate) choices: Vec<u16>,
    pub(crate) next: usize,
    pub(crate) failures_left: usize,
}

impl Choice for Drawn {
    fn below(&mut self, n: usize) -> usize {
        self.next += 1;
        usize::from(self.choices[self.next % self.choices.len()].rotate_left((self.next / self.choices.len()) as u32))
            % n
    }

    fn fails(&mut self) -> bool {
        // Fewer than the tries of one deletion, so that trying again must succeed.
        let fails = self.failures_left > 0 && self.below(8) == 0;
        self.failures_left -= usize::from(fails);
        fails
    }
}

#[derive(Clone, Debug)]
enum Act {
    Call {
        legs: bool,
        hook: bool,
    },
    Ring(usize),
    Answer(usize),
    Hangup(usize),
    /// Two channels, and whether the second takes the place of the first one's call.
    Bridge(usize, usize, bool),
    Masquerade(usize),
    PickUp(usize, usize),
    KillObject(usize),
    Steps(usize),
    Wait(u64),
    AriBlinks,
    AmiBlinks,
    Order(usize, CaptureOrder),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (any::<bool>(), any::<bool>()).prop_map(|(legs, hook)| Act::Call { legs, hook }),
        (0..6usize).prop_map(Act::Ring),
        (0..6usize).prop_map(Act::Answer),
        (0..12usize).prop_map(Act::Hangup),
        (0..12usize, 0..12usize, any::<bool>()).prop_map(|(a, b, swaps)| Act::Bridge(a, b, swaps)),
        (0..12usize).prop_map(Act::Masquerade),
        (0..6usize, 0..12usize).prop_map(|(target, by)| Act::PickUp(target, by)),
        (0..12usize).prop_map(Act::KillObject),
        (1..30usize).prop_map(Act::Steps),
        (1..3000u64).prop_map(Act::Wait),
        Just(Act::AriBlinks),
        Just(Act::AmiBlinks),
        (0..6usize, prop_oneof![Just(CaptureOrder::Pause), Just(CaptureOrder::Resume)])
            .prop_map(|(n, order)| Act::Order(n, order)),
    ]
}

fn play(acts: &[Act], choices: Vec<u16>, mode: TapMode, quota: Option<usize>) -> TestCaseResult {
    let mut w = World::new(config(mode, "all"), Drawn { choices, next: 0, failures_left: 4 });
    w.quota = quota;
    let (mut calls, mut names) = (0, Vec::new());
    for act in acts {
        match act {
            Act::Call { legs, hook } => {
                let first = format!("{calls}.1");
                w.channel(&first, &first, "from-trunk");
                if *hook {
                    w.enter_hook(&first);
                }
                names.push(first.clone());
                if *legs {
                    w.channel(&format!("{calls}.2"), &first, "from-trunk");
                    names.push(format!("{calls}.2"));
                }
                calls += 1;
            }
            Act::Ring(n) => w.state(&format!("{n}.2"), ChannelState::Ringing),
            Act::Answer(n) => [2, 1].iter().for_each(|leg| w.state(&format!("{n}.{leg}"), ChannelState::Up)),
            Act::Bridge(a, b, swaps) if !names.is_empty() => {
                let [first, second] = [a, b].map(|n| names[n % names.len()].clone());
                let swapped = names.first().filter(|_| *swaps).cloned();
                w.bridge(&first, &second, swapped.as_deref());
            }
            Act::Masquerade(n) if !names.is_empty() => {
                let old = names[n % names.len()].clone();
                let new = format!("{}.{}", old.split_once('.').unwrap().0, 3 + names.len());
                w.masquerade(&old, &new);
                names.push(new);
            }
            Act::PickUp(target, by) if !names.is_empty() => {
                w.pick_up(&format!("{target}.2"), &names[by % names.len()].clone());
            }
            Act::Hangup(n) if !names.is_empty() => w.hangup(&names[n % names.len()].clone()),
            Act::KillObject(n) if !w.objects.is_empty() => {
                let id = w.objects.iter().nth(n % w.objects.len()).cloned().unwrap();
                w.object_dies(&id);
            }
            Act::Steps(n) => (0..*n).for_each(|_| {
                w.step();
            }),
            Act::Wait(ms) => w.wait(Duration::from_millis(*ms)),
            Act::AriBlinks => w.ari_blinks(),
            Act::AmiBlinks => w.ami_blinks(),
            Act::Order(n, order) => w.order(*n, *order),
            Act::Hangup(_) | Act::Bridge(..) | Act::Masquerade(_) | Act::PickUp(..) | Act::KillObject(_) => {}
        }
    }
    // Whoever still waits in the hook while the call lives is let go in time.
    w.settle(Duration::from_secs(30));
    w.assert_conversations_are_captured(mode);
    prop_assert!(w.in_hook.is_empty(), "still in the hook: {:?}", w.in_hook);
    for name in names {
        w.hangup(&name);
    }
    w.settle(Duration::from_secs(30));
    w.assert_nothing_left();
    prop_assert_eq!(w.sessions.len(), calls, "one session a call");
    let ended = w.states().iter().filter(|s| s.is_over()).count();
    prop_assert_eq!(ended, calls, "each session ends once");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_left_behind_whatever_the_order(
        acts in prop::collection::vec(act(), 1..40),
        choices in prop::collection::vec(any::<u16>(), 16..64),
        hook in any::<bool>(),
        quota in prop::option::of(0..3usize),
    ) {
        play(&acts, choices, if hook { TapMode::Hook } else { TapMode::Ami }, quota)?;
    }
}

/// Two calls whose four channels are put together anew and anew, with that many steps in between.
fn play_moves(moves: &[(usize, usize, usize)], choices: Vec<u16>) {
    let mut w = World::new(config(TapMode::Ami, "all"), Drawn { choices, next: 0, failures_left: 0 });
    let channels = ["1.1", "1.2", "2.1", "2.2"];
    for (channel, linkedid) in channels.into_iter().zip(["1.1", "1.1", "2.1", "2.1"]) {
        w.channel(channel, linkedid, "inside");
        w.state(channel, ChannelState::Up);
    }
    w.bridge("1.1", "1.2", None);
    w.bridge("2.1", "2.2", None);
    for (first, second, steps) in moves {
        w.bridge(channels[*first], channels[*second], None);
        (0..*steps).for_each(|_| {
            w.step();
        });
    }
    w.settle(Duration::from_secs(30));
    w.assert_conversations_are_captured(TapMode::Ami);
    channels.into_iter().for_each(|channel| w.hangup(channel));
    w.settle(Duration::from_secs(30));
    w.assert_nothing_left();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn no_capture_is_deaf_wherever_its_channel_went(
        moves in prop::collection::vec((0..4usize, 0..4usize, 0..60usize), 1..6),
        choices in prop::collection::vec(any::<u16>(), 16..64),
    ) {
        play_moves(&moves, choices);
    }
}
