//! The gateway is stopped during a call: the call does not notice, and the next run goes on with it.

use std::time::Duration;

use aimg_core::{CallEventKind, CallState, TapMode};
use aimg_testbed::{Context, Version};

use crate::bench::{Bench, all_went_well, callee};
use crate::home::Recording;
use crate::wire::{Wire, sent_to};

const TALK: Duration = Duration::from_secs(8);

fn call_goes_on_and_is_adopted(version: Version, tap: TapMode, context: Context) {
    let bench = Bench::new(version, tap);
    let first = bench.home.serve_linked();
    let wire = Wire::tap(&bench.asterisk);
    let mut callee = callee(1);
    let mut caller = bench.caller(context, &callee).talks_for(TALK).start().unwrap();
    bench.wait_until_captured(1);

    let first_audio = first.audio();
    first.terminate_without_complaint();
    let channels = bench.asterisk.channels().unwrap();
    assert_eq!(channels.len(), 2, "the call goes on, and nothing of the capture is left: {channels:?}");
    assert!(channels.iter().all(|c| c.name.starts_with("PJSIP/") && c.state == "Up"), "{channels:?}");
    assert_eq!(bench.asterisk.bridges().unwrap().len(), 1, "the call's own");
    assert_eq!(bench.home.spool_files(), [""; 0]);
    let [stopped] = &bench.home.live_calls()[..] else { panic!("the call is still known") };

    let second = bench.home.serve_linked();
    let second_audio = second.audio();
    [&mut caller, &mut callee].into_iter().for_each(all_went_well);
    let call = bench.home.finished_call();
    bench.wait_until_asterisk_is_empty();
    let streams = wire.streams();
    second.terminate_without_complaint();

    assert_eq!((call.session.id, call.session.state), (stopped.id, CallState::Ended));
    assert!(call.has(|k| matches!(k, CallEventKind::Adopted { part: 1 })), "{:?}", call.events);
    let [before, after] = &call.recordings[..] else { panic!("two parts: {:?}", call.recordings) };
    for (Recording { part, certificate, .. }, adopted) in [(before, false), (after, true)] {
        assert_eq!((certificate.part, certificate.adopted), (*part, adopted));
        assert_eq!(certificate.ended_at.is_some(), adopted, "only the second part ends with the call");
    }
    bench.is_all_that_was_sent(before, &sent_to(&streams, first_audio));
    bench.is_all_that_was_sent(after, &sent_to(&streams, second_audio));
}

#[test]
fn call_goes_on_and_is_adopted_by_ami_on_22() {
    call_goes_on_and_is_adopted(Version::V22, TapMode::Ami, Context::TapAmi);
}

#[test]
fn call_goes_on_and_is_adopted_by_hook_on_16() {
    call_goes_on_and_is_adopted(Version::V16, TapMode::Hook, Context::TapHook);
}
