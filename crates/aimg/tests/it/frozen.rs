//! Asterisk is frozen for a while, as by a hypervisor that moves it: calls and their captures live on, and what was asked of
//! it meanwhile leaves nothing behind.

use std::thread::sleep;
use std::time::Duration;

use aimg_core::{CallState, Direction, TapMode};
use aimg_testbed::{Context, Version};

use crate::bench::{Bench, all_went_well, callee};
use crate::home::Recording;
use crate::waiting::eventually;
use crate::wire::{Wire, sent_to};

/// Longer than requests to Asterisk, and answers to a ping, are waited for.
const FREEZE: Duration = Duration::from_secs(10);
const FREEZE_MS: u64 = FREEZE.as_millis() as u64;

/// Calls that are talking all the time, and for how long.
const CALLS: u16 = 3;
const TALK: Duration = Duration::from_secs(15);

/// Calls that are set up, and others that are hung up, around the moment of the freeze.
const SETTING_UP: u16 = 20;
const HANGING_UP: u16 = 20;
/// So that they are at all stages.
const CALLS_PER_SECOND: u16 = 20;
const SHORT_TALK: Duration = Duration::from_secs(2);

#[test]
fn calls_live_on_and_nothing_is_missing() {
    let mut bench = Bench::new(Version::V22, TapMode::Hook);
    let gateway = bench.home.serve_linked();
    let wire = Wire::tap(&bench.asterisk);
    let mut callee = callee(CALLS);
    let mut callers = bench.caller(Context::TapHook, &callee).calls(CALLS).talks_for(TALK).start().unwrap();
    bench.wait_until_captured(CALLS.into());
    bench.asterisk.freeze().unwrap();
    sleep(FREEZE);
    bench.asterisk.thaw().unwrap();
    [&mut callers, &mut callee].into_iter().for_each(all_went_well);
    let calls = bench.home.finished_calls(CALLS.into());
    bench.wait_until_asterisk_is_empty();
    assert_eq!(bench.home.spool_files(), [""; 0]);
    let streams = wire.streams();
    let sent = sent_to(&streams, gateway.audio());
    let log = gateway.terminate().succeeded().stderr;
    assert!(log.contains(r#"alarm="flow_silent""#), "an alarm: {log}");
    for call in &calls {
        assert_eq!(call.session.state, CallState::Ended);
        let [recording] = &call.recordings[..] else { panic!("one recording: {call:?}") };
        bench.is_all_that_was_sent(recording, &sent);
        let certificate = &recording.certificate;
        assert!(certificate.complete, "{:?}", certificate.reasons);
        for flow in Direction::BOTH.map(|direction| certificate.flow(direction)) {
            assert!(flow.pauses_ms.abs_diff(FREEZE_MS) < FREEZE_MS / 10, "{flow:?}");
        }
    }
}

#[test]
fn nothing_stays_behind_of_what_was_under_way() {
    let mut bench = Bench::new(Version::V22, TapMode::Hook);
    let gateway = bench.home.serve_linked();
    let wire = Wire::tap(&bench.asterisk);
    let mut callee = callee(SETTING_UP + HANGING_UP);
    let call = |calls, talk| {
        let caller = bench.caller(Context::TapHook, &callee).calls(calls).calls_per_second(CALLS_PER_SECOND);
        caller.talks_for(talk).start().unwrap()
    };
    let first = call(HANGING_UP, SHORT_TALK);
    eventually("the first calls are hung up", || {
        let log = gateway.log();
        if log.contains("leg_left") { Ok(()) } else { Err(log) }
    });
    let requested = gateway.log().matches("tap_requested").count();
    let second = call(SETTING_UP, SHORT_TALK);
    eventually("others are set up", || {
        let log = gateway.log();
        if log.matches("tap_requested").count() >= requested + 5 { Ok(()) } else { Err(log) }
    });
    bench.asterisk.freeze().unwrap();
    sleep(FREEZE);
    bench.asterisk.thaw().unwrap();
    let mut callers = [first, second];
    callers.iter_mut().chain([&mut callee]).for_each(all_went_well);
    let calls = bench.home.finished_calls(usize::from(SETTING_UP + HANGING_UP));
    bench.wait_until_asterisk_is_empty();
    assert_eq!(bench.home.spool_files(), [""; 0]);
    let streams = wire.streams();
    let sent = sent_to(&streams, gateway.audio());
    gateway.terminate().succeeded();
    assert!(calls.iter().any(|call| call.recordings.len() > 1), "no capture was under way when it froze");
    for call in &calls {
        assert_eq!(call.session.state, CallState::Ended);
        // A part that was given up while it was being set up may have one direction, or none: that has no place beside it.
        let flowed = |r: &&Recording| Direction::BOTH.iter().all(|d| r.certificate.flow(*d).ledger.received > 0);
        for recording in call.recordings.iter().filter(flowed) {
            bench.is_all_that_was_sent(recording, &sent);
        }
    }
}
