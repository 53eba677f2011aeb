//! `ami-handler` and `ari-handler`: one part of the gateway alone, each seeing what it can.

use std::time::Duration;

use aimg_core::{CallEvent, CallEventKind, CallState, TapMode};
use aimg_testbed::{Context, Version};

use crate::bench::{Bench, all_went_well, callee};
use crate::gateway::Gateway;
use crate::home::Home;
use crate::waiting::eventually;

const NO_SUCH_THING: i32 = 66;
const TRY_AGAIN: i32 = 75;

fn each_part_sees_what_it_can(version: Version) {
    // Each has an installation of its own: on one of them they would be one gateway, and that is `serve`.
    let bench = Bench::new(version, TapMode::Hook);
    let ami_home = Home::new();
    ami_home.add_pbx(bench.asterisk.access(), TapMode::Ami);
    let ari = bench.home.part("ari-handler");
    let (ami, printed) = ami_home.ami_handler(&["--tenant", "acme"]);
    ari.wait_for_log("ARI is up");
    ami.wait_for_log("AMI is up");

    let mut callee = callee(2);
    for context in [Context::TapHook, Context::TapAmi] {
        all_went_well(&mut bench.caller(context, &callee).talks_for(Duration::from_secs(1)).start().unwrap());
    }
    all_went_well(&mut callee);

    // ARI knows the call that passed the hook, by its one channel there, and all of its audio.
    let captured = bench.home.finished_call();
    assert!(captured.recordings[0].certificate.complete, "{:?}", captured.recordings[0].certificate.reasons);
    assert_eq!((captured.session.state, captured.session.hangup_cause), (CallState::Ended, Some(16)));
    assert_eq!(captured.legs.len(), 1, "{:?}", captured.legs);
    assert_eq!(captured.session.dialled_number, Some(callee.port().to_string()));
    assert!(captured.session.answered_at.is_some(), "{:?}", captured.events);
    assert!(captured.has(|k| matches!(k, CallEventKind::HookReleased { ready: true })), "{:?}", captured.events);
    assert!(!ari.log().contains("AMI"), "{}", ari.log());

    // AMI knows both, with all their legs, and no audio. What it stored it has shown.
    let seen = ami_home.finished_calls(2);
    for call in &seen {
        assert_eq!((call.session.state, call.session.captured), (CallState::Ended, false));
        assert_eq!((call.legs.len(), call.recordings.len()), (2, 0), "{:?}", call.legs);
    }
    assert_eq!(seen[1].session.uniqueid, captured.session.uniqueid, "the older of the two");
    ami.terminate().succeeded();
    let shown: Vec<CallEvent> = printed
        .lines()
        .iter()
        .skip(1)
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    for call in &seen {
        let of_call: Vec<_> = shown.iter().filter(|event| event.session == call.session.id).cloned().collect();
        assert_eq!(of_call, call.events);
    }
    bench.wait_until_asterisk_is_empty();
    ari.terminate_without_complaint();
    assert_eq!(bench.home.spool_files(), [""; 0]);
}

#[test]
fn each_part_sees_what_it_can_on_22() {
    each_part_sees_what_it_can(Version::V22);
}

#[test]
fn each_part_sees_what_it_can_on_16() {
    each_part_sees_what_it_can(Version::V16);
}

#[test]
fn ari_alone_goes_on_with_the_calls_of_the_worker_before() {
    let bench = Bench::new(Version::V22, TapMode::Hook);
    let ari = bench.home.part("ari-handler");
    ari.wait_for_log("ARI is up");
    let mut callee = callee(1);
    let mut caller = bench.caller(Context::TapHook, &callee).talks_for(Duration::from_secs(5)).start().unwrap();
    bench.wait_until_captured(1);
    ari.upgrade();
    eventually("the next worker is linked", || match ari.log().matches("ARI is up").count() {
        2.. => Ok(()),
        _ => Err(ari.log()),
    });
    assert!(caller.is_running(), "the call is over too early");
    [&mut caller, &mut callee].into_iter().for_each(all_went_well);
    let call = bench.home.finished_call();
    let [recording] = &call.recordings[..] else { panic!("one part: {:?}", call.events) };
    assert!(recording.complete, "{:?}", recording.certificate.reasons);
    assert!(call.has(|k| matches!(k, CallEventKind::Resumed { part: 0 })), "{:?}", call.events);
    assert_eq!((call.session.state, call.session.hangup_cause), (CallState::Ended, Some(16)));
    bench.wait_until_asterisk_is_empty();
    ari.terminate_without_complaint();
}

#[test]
fn on_one_installation_there_is_one_of_them() {
    let home = Home::new();
    let gateway: Gateway = home.serve();
    for part in ["ami-handler", "ari-handler"] {
        home.run(home.aimg(&[part])).failed_with(TRY_AGAIN, &["in use by another running gateway"]);
    }
    gateway.terminate_without_complaint();
    for part in ["serve", "ami-handler", "ari-handler"] {
        home.run(home.aimg(&[part, "--tenant", "nobody"])).failed_with(NO_SUCH_THING, &["there is no tenant `nobody`"]);
    }
}
