//! Tap by hook: nothing of a call can be missed, and every byte that Asterisk sent is in the recording.

use std::time::Duration;

use aimg_core::{CallEventKind, CallState, Direction, TapMode};
use aimg_testbed::{Context, Version};

use crate::bench::{Bench, all_went_well, callee};
use crate::wire::{Wire, sent_to};

fn every_byte_is_recorded(version: Version) {
    let bench = Bench::new(version, TapMode::Hook);
    let gateway = bench.home.serve_linked();
    let wire = Wire::tap(&bench.asterisk);
    let mut callee = callee(1);
    let mut caller = bench.caller(Context::TapHook, &callee).talks_for(Duration::from_secs(5)).start().unwrap();
    [&mut caller, &mut callee].into_iter().for_each(all_went_well);
    let call = bench.home.finished_call();
    bench.wait_until_asterisk_is_empty();
    let streams = wire.streams();
    let sent = sent_to(&streams, gateway.audio());
    gateway.terminate_without_complaint();

    assert_eq!(sent.len(), 2, "one stream a direction: {sent:?}");
    let [recording] = &call.recordings[..] else { panic!("one recording: {:?}", call.recordings) };
    bench.is_all_that_was_sent(recording, &sent);
    let certificate = &recording.certificate;
    assert_eq!(certificate.reasons, [""; 0]);
    assert!(certificate.complete && recording.complete);
    assert_eq!(certificate.head_gap_ms, Some(0));
    for direction in Direction::BOTH {
        let ledger = certificate.flow(direction).ledger;
        assert!(ledger.received > 150, "three seconds at the very least: {ledger:?}");
        assert_eq!(ledger.expected, ledger.received, "the {direction}'s ledger: {ledger:?}");
        assert_eq!((ledger.lost, ledger.kernel_dropped, ledger.dropped_by_us), (0, 0, 0));
    }

    assert_eq!(call.session.state, CallState::Ended);
    assert_eq!(call.session.dialled_number, Some(callee.port().to_string()));
    assert_eq!(call.legs.len(), 2, "{:?}", call.legs);
    assert!(call.has(|k| matches!(k, CallEventKind::HookReleased { ready: true })), "{:?}", call.events);
    assert_eq!(bench.home.spool_files(), [""; 0]);
}

#[test]
fn every_byte_is_recorded_on_22() {
    every_byte_is_recorded(Version::V22);
}

#[test]
fn every_byte_is_recorded_on_16() {
    every_byte_is_recorded(Version::V16);
}
