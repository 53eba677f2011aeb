//! Tap by AMI of a call that answers at once: the head that is missing is the head that the certificate tells.

use std::time::Duration;

use aimg_core::{CallEventKind, TapMode};
use aimg_testbed::{Caller, Context, Version};

use crate::bench::{Bench, all_went_well};
use crate::wire::{Wire, sent_to};

fn head_gap_is_what_the_events_say(version: Version) {
    let bench = Bench::new(version, TapMode::Ami);
    let gateway = bench.home.serve_linked();
    let wire = Wire::tap(&bench.asterisk);
    // Nobody is dialled: any number will do.
    let caller = Caller::new(bench.asterisk.access().sip_port, Context::AnswerAtOnce, 1000);
    all_went_well(&mut caller.talks_for(Duration::from_secs(3)).start().unwrap());
    let call = bench.home.finished_call();
    bench.wait_until_asterisk_is_empty();
    let streams = wire.streams();
    let sent = sent_to(&streams, gateway.audio());
    gateway.terminate_without_complaint();

    let recording = &call.recordings[0];
    bench.is_all_that_was_sent(recording, &sent);
    let answered_at = call.session.answered_at.unwrap();
    let first_packets = call.events.iter().filter_map(|e| match e.kind {
        CallEventKind::FlowStarted { first_packet_at, .. } => Some(first_packet_at),
        _ => None,
    });
    let first_packets: Vec<_> = first_packets.collect();
    assert_eq!(first_packets.len(), 2, "{:?}", call.events);
    let gap_us = first_packets.iter().map(|first| first.micros_since(answered_at)).max().unwrap();
    let gap_ms = gap_us.max(0).unsigned_abs().div_ceil(1_000);
    let certificate = &recording.certificate;
    assert_eq!(certificate.head_gap_ms, Some(gap_ms));
    assert_eq!(certificate.answered_at, Some(answered_at));
    // Whatever else could be missing is not: the gap alone decides.
    assert_eq!(certificate.complete, gap_ms == 0, "{:?}", certificate.reasons);
    assert_eq!(certificate.reasons.len(), usize::from(gap_ms > 0), "{:?}", certificate.reasons);
    assert!(gap_ms < 1_000, "{gap_ms} ms");
}

#[test]
fn head_gap_is_what_the_events_say_on_22() {
    head_gap_is_what_the_events_say(Version::V22);
}

#[test]
fn head_gap_is_what_the_events_say_on_16() {
    head_gap_is_what_the_events_say(Version::V16);
}
