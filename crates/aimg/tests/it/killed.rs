//! The gateway is killed in the middle of calls: what it had received is recorded, and who still talks is adopted.

use std::time::{Duration, SystemTime};

use aimg_core::{CallEventKind, CallState, TapMode, Timestamp};
use aimg_testbed::{Context, Version};

use crate::bench::{Bench, PACKETS_MIN, all_went_well, callee};
use crate::home::{Detail, Recording};
use crate::wire::{Wire, sent_to};

/// Calls that end while the gateway is away, and calls that are still there when it comes back.
const CALLS_EACH: u16 = 5;
const SHORT_TALK: Duration = Duration::from_secs(8);
const LONG_TALK: Duration = Duration::from_secs(16);

/// What is on its way from Asterisk's socket to the page cache when the gateway dies: a shard takes packets as they come,
/// but on a busy machine it has to wait for its turn.
const IN_FLIGHT: Duration = Duration::from_millis(20);

fn now() -> Timestamp {
    Timestamp::default() + SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap()
}

fn was_adopted(call: &Detail) -> bool {
    call.has(|k| matches!(k, CallEventKind::Adopted { part: 1 }))
}

fn recordings_survive_and_calls_are_adopted(version: Version) {
    let bench = Bench::new(version, TapMode::Ami);
    let gateway = bench.home.serve_linked();
    let wire = Wire::tap(&bench.asterisk);
    let mut callee = callee(2 * CALLS_EACH);
    let [mut short, mut long] = [SHORT_TALK, LONG_TALK]
        .map(|talk| bench.caller(Context::TapAmi, &callee).calls(CALLS_EACH).talks_for(talk).start().unwrap());
    bench.wait_until_captured(2 * usize::from(CALLS_EACH));

    let first_audio = gateway.audio();
    let before_the_kill = now();
    gateway.kill9();
    all_went_well(&mut short);
    let second = bench.home.serve_linked();
    let second_audio = second.audio();
    [&mut long, &mut callee].into_iter().for_each(all_went_well);
    let calls = bench.home.finished_calls(2 * usize::from(CALLS_EACH));
    bench.wait_until_asterisk_is_empty();
    let streams = wire.streams();
    assert_eq!(bench.home.spool_files(), [""; 0]);
    second.terminate_without_complaint();

    let sent_to_first = sent_to(&streams, first_audio);
    let sent_to_second = sent_to(&streams, second_audio);
    let (adopted, ended): (Vec<&Detail>, Vec<&Detail>) = calls.iter().partition(|c| was_adopted(c));
    assert_eq!((adopted.len(), ended.len()), (usize::from(CALLS_EACH), usize::from(CALLS_EACH)));
    for call in &calls {
        let Recording { part, complete, certificate, .. } = &call.recordings[0];
        assert_eq!((*part, *complete, certificate.ended_at), (0, false, None), "{:?}", certificate.reasons);
        assert!(certificate.reasons[0].contains("everything received before is here"), "{:?}", certificate.reasons);
        for (direction, stream) in bench.streams_of(&call.recordings[0], &sent_to_first) {
            let received = certificate.flow(direction).ledger.received;
            let surely = stream.packets.iter().filter(|p| p.at + IN_FLIGHT < before_the_kill).count() as u64;
            assert!(surely > PACKETS_MIN, "{surely} packets were sent before the kill");
            assert!(received >= surely, "{received} packets of {surely} are recorded");
        }
    }
    for call in adopted {
        assert_eq!(call.session.state, CallState::Ended);
        let Recording { part, certificate, .. } = &call.recordings[1];
        assert_eq!((*part, certificate.adopted), (1, true));
        assert!(certificate.ended_at.is_some(), "it was captured to its end: {:?}", certificate.reasons);
        bench.is_all_that_was_sent(&call.recordings[1], &sent_to_second);
    }
    for call in ended {
        assert!(call.has(|k| matches!(k, CallEventKind::Lost { .. })), "{:?}", call.events);
    }
}

#[test]
fn recordings_survive_and_calls_are_adopted_on_22() {
    recordings_survive_and_calls_are_adopted(Version::V22);
}

#[test]
fn recordings_survive_and_calls_are_adopted_on_16() {
    recordings_survive_and_calls_are_adopted(Version::V16);
}
