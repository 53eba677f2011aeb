//! A PBX that several tenants share: each has its own calls, in sessions and captures of its own, whoever talks with whom.

use std::collections::BTreeMap;
use std::time::Duration;

use aimg_core::{Attribution, CallEventKind, CallState, SessionRow, TapMode, TenantId, Uniqueid};
use aimg_session::{CaptureRule, ChannelSeen, ChannelState, Config, Input, Tenants, UnclaimedWhy};
use proptest::prelude::*;

use crate::races::Drawn;
use crate::world::{Choice, InOrder, World, config, tenant};

const ACME: u128 = 1;
const RIVAL: u128 = 2;
/// Its calls are followed by another node.
const AWAY: u128 = 3;

/// Rules by context and by the hook's argument: `of-1`, `1` and so on. What came over the trunk is nobody's by itself.
fn shared(mode: TapMode, rules: [&str; 2]) -> Config {
    let claims = [ACME, RIVAL, AWAY].into_iter().flat_map(|n| {
        [format!("context:of-{n}"), format!("hook:{n}")].map(|claim| (claim.parse().unwrap(), tenant(n)))
    });
    let served =
        [ACME, RIVAL].into_iter().zip(rules).map(|(n, rule)| (tenant(n), rule.parse::<CaptureRule>().unwrap()));
    let tenants = Tenants::Shared { rules: Attribution::new(claims).unwrap(), served: served.collect() };
    Config { tenants, ..config(mode, "all") }
}

fn world(mode: TapMode) -> World<InOrder> {
    World::new(shared(mode, ["all"; 2]), InOrder)
}

/// The only session of a tenant.
fn only<C>(w: &World<C>, n: u128) -> &SessionRow {
    let of: Vec<_> = w.sessions.values().filter(|row| row.tenant == tenant(n)).collect();
    let [row] = of[..] else { panic!("one session of tenant {n}: {of:?}") };
    row
}

fn legs_of<C>(w: &World<C>, row: &SessionRow) -> Vec<String> {
    w.legs.iter().filter(|(_, session)| *session == row.id).map(|(channel, _)| channel.to_string()).collect()
}

fn enter_hook(w: &mut World<InOrder>, uniqueid: &str, argument: &str) {
    let channel = Uniqueid::new(uniqueid);
    w.channels.get_mut(&channel).unwrap().argument = argument.to_owned();
    w.enter_hook(uniqueid);
    w.settle(Duration::from_secs(1));
}

fn whys<C>(w: &World<C>) -> Vec<UnclaimedWhy> {
    w.unclaimed.iter().map(|u| u.why).collect()
}

#[test]
fn each_call_is_its_tenants_and_captured_by_its_rule() {
    let mut w = World::new(shared(TapMode::Ami, ["all", "none"]), InOrder);
    w.channel("1.1", "1.1", "of-1");
    w.channel("2.1", "2.1", "of-2");
    w.channel("2.2", "2.1", "trunk");
    w.settle(Duration::ZERO);
    assert!(only(&w, ACME).captured && !only(&w, RIVAL).captured);
    assert_eq!(legs_of(&w, only(&w, RIVAL)), ["2.1", "2.2"], "nobody's channel comes with the call");
    assert_eq!(w.begun.iter().map(|(row, ..)| row.tenant).collect::<Vec<_>>(), [tenant(ACME)]);
    let counts = w.board.counts();
    assert_eq!(
        [Some(tenant(ACME)), Some(tenant(RIVAL)), None].map(|of| (counts[&of].live, counts[&of].flowing)),
        [(1, 1), (1, 0), (0, 0)]
    );
}

#[test]
fn nobodys_channel_is_told_once_and_not_captured() {
    let mut w = world(TapMode::Ami);
    w.channel("1.1", "1.1", "trunk");
    w.settle(Duration::ZERO);
    w.wait(Duration::from_millis(1_900));
    assert_eq!(whys(&w), [], "the hook may say whose it is");
    w.wait(Duration::from_millis(200));
    let [told] = &w.unclaimed[..] else { panic!("{:?}", w.unclaimed) };
    assert_eq!((told.technology.as_str(), told.context.as_str(), told.why), ("PJSIP", "trunk", UnclaimedWhy::NoRule));
    w.channel("2.1", "2.1", "trunk");
    w.settle(Duration::ZERO);
    ["1.1", "2.1"].into_iter().for_each(|channel| w.hangup(channel));
    w.settle(Duration::ZERO);
    assert_eq!(whys(&w).len(), 2, "a short one when it is over, and the other one not again");
    assert!(w.sessions.is_empty() && w.objects.is_empty());
    w.assert_nothing_left();
}

#[test]
fn the_hook_lets_nobodys_channel_go_at_once() {
    let mut w = world(TapMode::Hook);
    w.channel("1.1", "1.1", "trunk");
    w.settle(Duration::ZERO);
    w.enter_hook("1.1");
    let before = w.now;
    w.settle(Duration::ZERO);
    assert!(w.in_hook.is_empty() && w.now.since(before) < Duration::from_millis(50));
    assert!(w.sessions.is_empty() && w.begun.is_empty());
}

#[test]
fn a_tenant_that_is_not_followed_here_is_let_be_and_not_told() {
    let mut w = world(TapMode::Hook);
    w.channel("1.1", "1.1", &format!("of-{AWAY}"));
    w.settle(Duration::ZERO);
    w.wait(Duration::from_secs(3));
    w.enter_hook("1.1");
    w.settle(Duration::ZERO);
    w.hangup("1.1");
    w.settle(Duration::ZERO);
    assert!(w.in_hook.is_empty() && w.sessions.is_empty());
    assert_eq!(whys(&w), []);
    w.assert_nothing_left();
}

#[test]
fn the_hook_says_whose_a_channel_is_that_no_rule_knew() {
    let mut w = world(TapMode::Hook);
    w.channel("1.1", "1.1", "trunk");
    w.settle(Duration::ZERO);
    enter_hook(&mut w, "1.1", "2");
    assert_eq!(legs_of(&w, only(&w, RIVAL)), ["1.1"]);
    assert!(w.kinds().contains(&"flow_started") && w.in_hook.is_empty(), "{:?}", w.kinds());
    w.channel("1.2", "1.1", "trunk");
    w.settle(Duration::ZERO);
    w.wait(Duration::from_secs(3));
    assert_eq!(legs_of(&w, only(&w, RIVAL)), ["1.1", "1.2"]);
    assert_eq!(whys(&w), [], "it was somebody's before that was told");
}

#[test]
fn a_wrong_argument_is_let_go_and_told_whatever_the_rules_say() {
    for (context, argument, sessions) in [("trunk", "acne", 0), ("of-1", "acne", 1), ("of-1", "2", 1), ("of-3", "2", 0)]
    {
        let mut w = world(TapMode::Hook);
        w.channel("1.1", "1.1", context);
        w.settle(Duration::ZERO);
        w.wait(Duration::from_secs(3));
        w.unclaimed.clear();
        enter_hook(&mut w, "1.1", argument);
        assert_eq!(whys(&w), [UnclaimedWhy::WrongArgument], "{context} {argument}");
        assert_eq!((w.sessions.len(), w.begun.len(), w.in_hook.len()), (sessions, 0, 0), "{context} {argument}");
        assert!(w.sessions.values().all(|row| row.tenant == tenant(ACME) && !row.captured));
        w.hangup("1.1");
        w.settle(Duration::from_secs(1));
        w.assert_nothing_left();
    }
}

#[test]
fn a_contradicting_hook_ends_a_capture_that_runs() {
    let mut w = world(TapMode::Ami);
    w.channel("1.1", "1.1", "of-1");
    w.settle(Duration::ZERO);
    assert_eq!(w.open.len(), 1);
    enter_hook(&mut w, "1.1", "2");
    assert!(w.open.is_empty() && w.objects.is_empty() && w.in_hook.is_empty());
    w.settle(Duration::from_secs(10));
    assert_eq!(w.begun.len(), 1, "nor does another one begin");
    w.hangup("1.1");
    w.settle(Duration::from_secs(1));
    w.assert_nothing_left();
}

#[test]
fn whoever_calls_another_tenant_is_in_a_session_of_ones_own() {
    let mut w = world(TapMode::Ami);
    w.channel("1.1", "1.1", "of-1");
    w.channel("1.2", "1.1", "of-2");
    ["1.1", "1.2"].into_iter().for_each(|channel| w.state(channel, ChannelState::Up));
    w.bridge("1.1", "1.2", None);
    // Who comes with the call and is nobody's is of neither.
    w.channel("1.3", "1.1", "trunk");
    // The called tenant's own next channel is part of its session.
    w.channel("1.4", "1.1", "of-2");
    w.settle(Duration::ZERO);
    let [acme, rival] = [ACME, RIVAL].map(|n| only(&w, n));
    assert_eq!(
        (legs_of(&w, acme), legs_of(&w, rival)),
        (vec!["1.1".to_owned()], vec!["1.2".to_owned(), "1.4".to_owned()])
    );
    assert_eq!(rival.linkedid.as_str(), "1.2", "not by the other's channel");
    assert_eq!(w.tapped.values().map(Uniqueid::as_str).collect::<Vec<_>>(), ["1.1", "1.2"]);
    let names = [CallState::Capturing; 2];
    assert_eq!([acme.state, rival.state], names);
    w.hangup("1.1");
    w.settle(Duration::from_secs(1));
    assert_eq!(only(&w, ACME).state, CallState::Ended);
    assert_eq!(only(&w, RIVAL).state, CallState::Capturing, "its call goes on");
    ["1.2", "1.3", "1.4"].into_iter().for_each(|channel| w.hangup(channel));
    w.settle(Duration::from_secs(1));
    w.assert_nothing_left();
}

#[test]
fn calls_of_two_tenants_that_are_joined_stay_two() {
    let mut w = world(TapMode::Ami);
    for (call, of) in [("1", "of-1"), ("2", "of-2")] {
        let [first, second] = [format!("{call}.1"), format!("{call}.2")];
        for channel in [&first, &second] {
            w.channel(channel, &first, of);
            w.state(channel, ChannelState::Up);
        }
        w.bridge(&first, &second, None);
    }
    w.settle(Duration::ZERO);
    w.bridge("1.1", "2.2", Some("1.2"));
    w.hangup("1.2");
    w.hangup("2.1");
    w.settle(Duration::from_secs(1));
    let [acme, rival] = [ACME, RIVAL].map(|n| only(&w, n));
    assert_eq!((legs_of(&w, acme), legs_of(&w, rival)), (vec!["1.1".to_owned()], vec!["2.2".to_owned()]));
    assert!(!w.kinds().iter().any(|kind| kind.starts_with("joined")), "{:?}", w.kinds());
    let last = |row: &SessionRow| w.tapped.iter().filter(|(of, _)| of.0 == row.id).map(|(_, c)| c.as_str()).next_back();
    assert_eq!((last(acme), last(rival)), (Some("1.1"), Some("2.2")), "each captures its own channel");
    ["1.1", "2.2"].into_iter().for_each(|channel| w.hangup(channel));
    w.settle(Duration::from_secs(1));
    w.assert_nothing_left();
}

#[test]
fn what_is_told_of_a_call_names_no_channel_of_another_tenant() {
    let mut w = world(TapMode::Ami);
    w.channel("1.1", "1.1", "of-1");
    w.channel("2.1", "2.1", "of-2");
    w.settle(Duration::ZERO);
    let [channel, by] = ["1.1", "2.1"].map(Uniqueid::new);
    w.give(Input::PickedUp { target: channel.clone(), by: by.clone() });
    let kinds = [
        CallEventKind::Unparked { channel: channel.clone(), by: Some(by.clone()) },
        CallEventKind::QueueAnswered { queue: "q".into(), channel: Some(by) },
    ];
    kinds.into_iter().for_each(|kind| w.give(Input::Told { channel: channel.clone(), kind }));
    let acme = w.events.iter().filter(|e| e.tenant == tenant(ACME)).map(|e| serde_json::to_string(e).unwrap());
    let acme: Vec<_> = acme.collect();
    assert!(
        acme.iter().any(|e| e.contains("unparked")) && acme.iter().any(|e| e.contains("queue_answered")),
        "{acme:?}"
    );
    assert!(!acme.iter().any(|e| e.contains("\"2.1\"")), "{acme:?}");
}

#[test]
fn rules_that_change_are_for_the_next_call() {
    let mut w = world(TapMode::Ami);
    w.channel("1.1", "1.1", "of-1");
    w.settle(Duration::ZERO);
    w.give(Input::Tenants(Tenants::Shared {
        rules: Attribution::new([("context:of-1".parse().unwrap(), tenant(RIVAL))]).unwrap(),
        served: BTreeMap::from([(tenant(RIVAL), CaptureRule::None)]),
    }));
    w.channel("2.1", "2.1", "of-1");
    w.ami_blinks();
    w.settle(Duration::ZERO);
    let of = |call: &str| w.sessions.values().find(|row| row.uniqueid.as_str() == call).unwrap();
    assert_eq!(
        [of("1.1"), of("2.1")].map(|row| (row.tenant, row.captured)),
        [(tenant(ACME), true), (tenant(RIVAL), false)]
    );
    assert_eq!(legs_of(&w, of("1.1")), ["1.1"]);
}

#[derive(Clone, Debug)]
enum Act {
    /// Whose the first channel is and whose the second; 0 is nobody, the argument of the hook or none.
    Call(u128, u128, Option<u128>),
    Answer(usize),
    Hangup(usize),
    Bridge(usize, usize),
    Masquerade(usize),
    PickUp(usize, usize),
    Steps(usize),
    Wait(u64),
    AmiBlinks,
    AriBlinks,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0..4u128, 0..3u128, prop::option::of(0..3u128)).prop_map(|(a, b, hook)| Act::Call(a, b, hook)),
        3 => (0..5usize).prop_map(Act::Answer),
        1 => (0..12usize).prop_map(Act::Hangup),
        3 => (0..12usize, 0..12usize).prop_map(|(a, b)| Act::Bridge(a, b)),
        1 => (0..12usize).prop_map(Act::Masquerade),
        1 => (0..5usize, 0..12usize).prop_map(|(target, by)| Act::PickUp(target, by)),
        2 => (1..40usize).prop_map(Act::Steps),
        1 => (1..3000u64).prop_map(Act::Wait),
        1 => Just(Act::AmiBlinks),
        1 => Just(Act::AriBlinks),
    ]
}

fn context(of: u128) -> String {
    if of == 0 { "trunk".to_owned() } else { format!("of-{of}") }
}

/// Whose a channel is by the rules, with what its hook said.
type Owners = BTreeMap<String, Option<TenantId>>;

fn play<C: Choice>(mut w: World<C>, acts: &[Act]) -> (World<C>, Owners) {
    let (mut calls, mut owners, mut names) = (0, Owners::new(), Vec::<String>::new());
    let owner = |n: u128| (n > 0).then(|| tenant(n));
    for act in acts {
        match act {
            Act::Call(caller, callee, hook) => {
                let [first, second] = [1, 2].map(|leg| format!("{calls}.{leg}"));
                w.channel(&first, &first, &context(*caller));
                let mut by = owner(*caller);
                if let Some(argument) = hook {
                    let seen = w.channels.get_mut(&Uniqueid::new(&first)).unwrap();
                    seen.argument = if *argument == 0 { String::new() } else { argument.to_string() };
                    w.enter_hook(&first);
                    // Only who is nobody's by its rules can be somebody's by its hook.
                    by = by.or_else(|| owner(*argument));
                }
                w.channel(&second, &first, &context(*callee));
                owners.insert(first.clone(), by);
                owners.insert(second.clone(), owner(*callee));
                names.extend([first, second]);
                calls += 1;
            }
            Act::Answer(n) => [2, 1].iter().for_each(|leg| w.state(&format!("{n}.{leg}"), ChannelState::Up)),
            Act::Bridge(a, b) if !names.is_empty() => {
                let [first, second] = [a, b].map(|n| names[n % names.len()].clone());
                w.bridge(&first, &second, None);
            }
            Act::Masquerade(n) if !names.is_empty() => {
                let old = names[n % names.len()].clone();
                let new = format!("{}.{}", old.split_once('.').unwrap().0, 3 + names.len());
                w.masquerade(&old, &new);
                // What a channel's hook said is not said again of the one in its place.
                let seen = w.channels.get(&Uniqueid::new(&new)).map(|seen| seen.context.clone());
                let of = seen.and_then(|context| context.strip_prefix("of-").map(|n| tenant(n.parse().unwrap())));
                owners.insert(new.clone(), of);
                names.push(new);
            }
            Act::PickUp(target, by) if !names.is_empty() => {
                let by = names[by % names.len()].clone();
                w.state(&format!("{target}.2"), ChannelState::Ringing);
                w.pick_up(&format!("{target}.2"), &by);
            }
            Act::Hangup(n) if !names.is_empty() => w.hangup(&names[n % names.len()].clone()),
            Act::Steps(n) => (0..*n).for_each(|_| {
                w.step();
            }),
            Act::Wait(ms) => w.wait(Duration::from_millis(*ms)),
            Act::AmiBlinks => w.ami_blinks(),
            Act::AriBlinks => w.ari_blinks(),
            Act::Bridge(..) | Act::Masquerade(_) | Act::PickUp(..) | Act::Hangup(_) => {}
        }
    }
    w.settle(Duration::from_secs(30));
    (w, owners)
}

/// Nothing of one tenant is in a row, an event or a capture of another, and nothing of nobody's is alone in any.
fn assert_apart<C>(w: &World<C>, owners: &Owners) {
    let foreign = |channel: &str, of: TenantId| owners.get(channel).copied().flatten().is_some_and(|owner| owner != of);
    for row in w.sessions.values() {
        assert!(owners[row.uniqueid.as_str()] == Some(row.tenant), "{row:?}");
        assert!(!foreign(row.linkedid.as_str(), row.tenant), "{row:?}");
    }
    for leg in &w.rows {
        assert_eq!(leg.tenant, w.sessions[&leg.session].tenant);
        assert!(!foreign(leg.uniqueid.as_str(), leg.tenant), "{leg:?}");
    }
    for ((session, _), channel) in &w.tapped {
        assert!(!foreign(channel.as_str(), w.sessions[session].tenant), "{session} captures {channel}");
    }
    for event in &w.events {
        assert_eq!(event.tenant, w.sessions[&event.session].tenant);
        let told = serde_json::to_string(event).unwrap();
        let others = owners.keys().filter(|channel| foreign(channel, event.tenant));
        others.for_each(|channel| assert!(!told.contains(&format!("\"{channel}\"")), "{told}"));
    }
    let joins = |kind: &CallEventKind| match kind {
        CallEventKind::JoinedInto { into: other } | CallEventKind::JoinedFrom { from: other } => Some(*other),
        _ => None,
    };
    for (event, other) in w.events.iter().filter_map(|e| Some((e, joins(&e.kind)?))) {
        assert_eq!(w.sessions[&other].tenant, event.tenant, "{event:?}");
    }
}

/// Every channel of a tenant that is followed here is a leg of one session, and of that tenant's. One whose hook says
/// another tenant is of nobody's, when that is heard before all else.
fn assert_all_are_followed<C>(w: &World<C>, owners: &Owners) {
    for channel in w.channels.keys() {
        let owner = owners[channel.as_str()].filter(|owner| *owner != tenant(AWAY));
        let of: Vec<_> = w.legs.iter().filter(|(leg, _)| leg == channel).map(|(_, s)| w.sessions[s].tenant).collect();
        match owner {
            Some(owner) if !of.is_empty() || w.channels[channel].argument.is_empty() => {
                assert_eq!(of, [owner], "{channel}")
            }
            _ => assert!(of.len() <= 1, "{channel}: {of:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn nothing_of_one_tenant_is_ever_anothers(
        acts in prop::collection::vec(act(), 1..30),
        choices in prop::collection::vec(any::<u16>(), 16..64),
        hook in any::<bool>(),
    ) {
        let mode = if hook { TapMode::Hook } else { TapMode::Ami };
        let drawn = Drawn { choices, next: 0, failures_left: 4 };
        let (mut w, owners) = play(World::new(shared(mode, ["all"; 2]), drawn), &acts);
        assert_apart(&w, &owners);
        assert_all_are_followed(&w, &owners);
        prop_assert!(w.in_hook.is_empty(), "still in the hook: {:?}", w.in_hook);
        owners.keys().for_each(|channel| w.hangup(channel));
        w.settle(Duration::from_secs(30));
        assert_apart(&w, &owners);
        w.assert_nothing_left();
    }
}

/// What the model of Asterisk shows of a channel.
#[test]
fn a_channel_is_known_by_all_it_shows() {
    let rules = ["tenantid:t", "variable:TENANT=v", "endpoint:PJSIP/e", "accountcode:a", "dialled:49*"];
    let shown: [ChannelSeen; 5] = [
        ChannelSeen { tenantid: "t".into(), ..Default::default() },
        ChannelSeen { variables: vec![("TENANT".into(), "v".into())], ..Default::default() },
        ChannelSeen { name: "PJSIP/e-00000001".into(), ..Default::default() },
        ChannelSeen { accountcode: "a".into(), ..Default::default() },
        ChannelSeen { exten: "4930".into(), ..Default::default() },
    ];
    for (rule, seen) in rules.into_iter().zip(shown) {
        let tenants = Tenants::Shared {
            rules: Attribution::new([(rule.parse().unwrap(), tenant(ACME))]).unwrap(),
            served: BTreeMap::from([(tenant(ACME), CaptureRule::All)]),
        };
        let mut w = World::new(Config { tenants, ..config(TapMode::Ami, "all") }, InOrder);
        w.give(Input::ChannelNew(ChannelSeen { uniqueid: "1.1".into(), ..seen }));
        assert_eq!(w.sessions.len(), 1, "{rule}");
        w.give(Input::ChannelNew(ChannelSeen {
            uniqueid: "2.1".into(),
            name: "PJSIP/x-1".into(),
            ..Default::default()
        }));
        assert_eq!(w.sessions.len(), 1, "{rule}");
    }
}
