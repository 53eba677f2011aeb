//! Asterisk ends in the middle of calls, and comes back: what it had sent is recorded, and calls that come afterwards are
//! captured.

use std::time::Duration;

use aimg_core::{CallEventKind, CallState, FailReason, TapMode};
use aimg_testbed::{Asterisk, Context, Version};

use crate::bench::{Bench, all_went_well, callee};
use crate::home::Detail;
use crate::waiting::eventually;
use crate::wire::{Wire, sent_to};

const CALLS: u16 = 5;
/// Longer than Asterisk lives.
const LONG: Duration = Duration::from_secs(60);
const TALK: Duration = Duration::from_secs(2);

/// How Asterisk ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// `core stop now`: it hangs its calls up first, and tells.
    Stopped,
    /// SIGKILL: nobody hears of it before it is back.
    Killed,
}

fn what_it_sent_is_recorded(version: Version, end: End) {
    let mut bench = Bench::new(version, TapMode::Ami);
    let gateway = bench.home.serve_linked();
    let wire = Wire::tap(&bench.asterisk);
    let first_callee = callee(CALLS);
    let first_callers = bench.caller(Context::TapHook, &first_callee).calls(CALLS).talks_for(LONG).start().unwrap();
    bench.wait_until_captured(CALLS.into());

    let before = usize::from(CALLS);
    let links = gateway.links_made();
    match end {
        End::Stopped => stop(&mut bench.asterisk),
        End::Killed => bench.asterisk.kill(),
    }
    if end == End::Stopped {
        bench.home.finished_calls(before);
    }
    // Their phones heard of it, or never will.
    drop((first_callers, first_callee));
    bench.asterisk.restart().unwrap();
    gateway.wait_until_linked(links, 1);
    let first_calls = bench.home.finished_calls(before);
    assert_eq!(bench.home.spool_files(), [""; 0]);

    let mut callee = callee(2);
    let mut callers = [Context::TapAmi, Context::TapHook]
        .map(|context| bench.caller(context, &callee).talks_for(TALK).start().unwrap());
    callers.iter_mut().chain([&mut callee]).for_each(all_went_well);
    let calls = bench.home.finished_calls(before + 2);
    bench.wait_until_asterisk_is_empty();
    let streams = wire.streams();
    let sent = sent_to(&streams, gateway.audio());
    assert_eq!(gateway.terminate().code, Some(0));
    assert_eq!(bench.home.spool_files(), [""; 0]);

    for call in &calls {
        let [recording] = &call.recordings[..] else { panic!("one recording: {call:?}") };
        bench.is_all_that_was_sent(recording, &sent);
    }
    first_calls.iter().for_each(|call| ended_as_it_should(call, end));
}

fn ended_as_it_should(call: &Detail, end: End) {
    let Detail { session, recordings, .. } = call;
    let reasons = &recordings[0].certificate.reasons;
    let lost = call.has(|k| matches!(k, CallEventKind::Lost { reason: FailReason::PbxRestarted }));
    match end {
        End::Stopped => assert_eq!((session.state, lost, &reasons[..]), (CallState::Ended, false, &[][..])),
        End::Killed => {
            assert_eq!((session.state, lost, recordings[0].complete), (CallState::Failed, true, false));
            assert!(reasons[0].contains("the capture ended before the call did"), "{reasons:?}");
        }
    }
}

fn stop(asterisk: &mut Asterisk) {
    // It may end before it has answered.
    let _ = asterisk.cli("core stop now");
    eventually("Asterisk has ended", || if asterisk.is_running() { Err("it runs") } else { Ok(()) });
}

#[test]
fn what_a_stopped_one_sent_is_recorded_on_22() {
    what_it_sent_is_recorded(Version::V22, End::Stopped);
}

#[test]
fn what_a_stopped_one_sent_is_recorded_on_16() {
    what_it_sent_is_recorded(Version::V16, End::Stopped);
}

#[test]
fn what_a_killed_one_sent_is_recorded_on_22() {
    what_it_sent_is_recorded(Version::V22, End::Killed);
}
