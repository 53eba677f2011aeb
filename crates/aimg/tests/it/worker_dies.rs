//! The worker is killed, again and again, and once replaced by an upgrade, in the middle of 200 flows: nothing is missing.
//! Nor when its successor cannot start for a while.

use std::time::Duration;

use aimg_core::{CallEventKind, TapMode};
use aimg_testbed::{Asterisk, Caller, Context, Options, Version};

use crate::bench::{Bench, all_went_well, callee};

/// On each of two PBXs: one Asterisk of the testbed has ports for so many.
const CALLS_EACH: u16 = 50;
/// So that the calls are there before they end, whatever the machine.
const CALLS_PER_SECOND: u16 = 10;
const TALK: Duration = Duration::from_secs(20);
const DEATHS: usize = 3;

#[test]
fn no_packet_is_lost_when_the_worker_dies() {
    let bench = Bench::new(Version::V22, TapMode::Hook);
    let branch = Asterisk::start(Version::V22, &Options::default()).unwrap();
    bench.home.add_second_pbx(branch.access(), TapMode::Hook);
    let gateway = bench.home.serve_linked();
    let mut callees = [callee(CALLS_EACH), callee(CALLS_EACH)];
    let ports = [bench.asterisk.access().sip_port, branch.access().sip_port];
    let call = |(port, callee): (u16, &aimg_testbed::Sipp)| {
        let caller = Caller::new(port, Context::TapHook, callee.port()).calls(CALLS_EACH);
        caller.calls_per_second(CALLS_PER_SECOND).talks_for(TALK).start().unwrap()
    };
    let mut callers: Vec<_> = ports.into_iter().zip(&callees).map(call).collect();
    let calls = 2 * usize::from(CALLS_EACH);
    bench.wait_until_captured(calls);

    for _ in 0..DEATHS {
        gateway.kill9_worker(2);
    }
    gateway.upgrade();

    callers.iter_mut().chain(&mut callees).for_each(all_went_well);
    for call in bench.home.finished_calls(calls) {
        let resumed = call.events.iter().filter(|e| matches!(e.kind, CallEventKind::Resumed { part: 0 })).count();
        // Rows are written a moment later than things happen: a death may cost the last of them, never audio.
        assert!((1..=DEATHS + 1).contains(&resumed), "{:?}", call.events);
        let [recording] = call.recordings.as_slice() else {
            panic!("{} recordings of one call", call.recordings.len())
        };
        assert!(recording.complete, "{:?}", recording.certificate.reasons);
        for flow in [&recording.certificate.caller, &recording.certificate.callee] {
            assert_eq!((flow.ledger.duplicate, flow.ledger.missing()), (0, 0), "{:?}", flow.ledger);
        }
    }
    bench.wait_until_asterisk_is_empty();
    assert_eq!(bench.home.spool_files(), [""; 0]);
    assert_eq!(gateway.terminate().code, Some(0));
}

#[test]
fn a_successor_that_cannot_start_is_tried_again() {
    let bench = Bench::new(Version::V22, TapMode::Hook);
    let gateway = bench.home.serve_linked();
    let mut callee = callee(1);
    let mut caller = bench.caller(Context::TapHook, &callee).talks_for(Duration::from_secs(6)).start().unwrap();
    bench.wait_until_captured(1);
    bench.home.write_settings("debug = \"a mistake\"");
    let links = gateway.links_made();
    gateway.kill9_worker_alone();
    gateway.wait_for_log("the worker ended (exit status: 64)");
    bench.home.write_settings("");
    gateway.wait_until_linked(links, 1);
    [&mut caller, &mut callee].into_iter().for_each(all_went_well);
    let call = bench.home.finished_call();
    let [recording] = call.recordings.as_slice() else { panic!("one recording: {call:?}") };
    assert!(recording.complete, "{:?}", recording.certificate.reasons);
    bench.wait_until_asterisk_is_empty();
    assert_eq!(gateway.terminate().code, Some(0));
}
