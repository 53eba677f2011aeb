//! What the command line shows of a call is what happened, in words and as JSON.

use std::time::Duration;

use aimg_core::{CallEventKind, CallState, TapMode};
use aimg_testbed::{Context, Version};

use crate::bench::{Bench, all_went_well, callee};

#[test]
fn a_call_from_its_first_channel_to_its_recording() {
    let bench = Bench::new(Version::V22, TapMode::Hook);
    let gateway = bench.home.serve_linked();
    let mut callee = callee(1);
    let caller = bench.caller(Context::TapHook, &callee).talks_for(Duration::from_secs(1));
    [&mut caller.start().unwrap(), &mut callee].into_iter().for_each(all_went_well);
    let call = bench.home.finished_call();
    gateway.terminate_without_complaint();

    let states: Vec<CallState> = call.events.iter().filter_map(|e| state(&e.kind)).collect();
    assert_eq!((states.first(), states.last()), (Some(&CallState::Detected), Some(&CallState::Ended)));
    assert!(states.contains(&CallState::Capturing) && states.is_sorted_by_key(|s| *s as u8), "{states:?}");
    assert!(call.events.iter().all(|e| e.session == call.session.id && e.tenant == call.session.tenant));
    assert!(call.events.is_sorted_by_key(|e| e.at));
    let [first, second] = &call.legs[..] else { panic!("two legs: {:?}", call.legs) };
    assert!(first.name.starts_with("PJSIP/tap-hook-") && second.name.starts_with("PJSIP/callee-"), "{:?}", call.legs);
    assert!(call.legs.iter().all(|l| l.left_at.is_some() && l.hangup_cause == Some(16)), "{:?}", call.legs);

    let recording = &call.recordings[0];
    assert_eq!(recording.complete, recording.certificate.complete);
    let beside = bench.home.recording_path(recording).with_extension("json");
    let beside = serde_json::from_slice(&std::fs::read(beside).unwrap()).unwrap();
    assert_eq!(recording.certificate, beside, "the certificate beside the recording is that of the database");

    let id = call.session.id.to_string();
    let words = bench.home.run(bench.home.aimg(&["session", "show", &id])).succeeded().stdout;
    let path = bench.home.recording_path(recording);
    for word in [&id, "PJSIP/callee-", "waits in the hook", "Complete: nothing", &path.display().to_string()] {
        assert!(words.contains(word), "`{word}` is not in: {words}");
    }
}

fn state(kind: &CallEventKind) -> Option<CallState> {
    match kind {
        CallEventKind::State { state } => Some(*state),
        _ => None,
    }
}
