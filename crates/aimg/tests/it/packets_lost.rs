//! A bad network between Asterisk and the gateway: the certificate says exactly what it did, and what was spoken stays
//! where it was spoken.

use std::time::Duration;

use aimg_core::{Direction, TapMode};
use aimg_testbed::{Context, Faults, Speech, Version};

use crate::bad_line::{BadLine, Truth, all_faults, is_what_arrived};
use crate::bench::all_went_well;
use crate::stereo::{Stereo, samples};
use crate::where_spoken::{EARLY_MS, hear};

const TALK: Duration = Duration::from_secs(8);
/// Calls follow each other at this rate, so that their flows can be told apart by their beginning.
const CALLS_PER_SECOND: u16 = 4;
/// The network is calm in the last second, so that no packet is still under way when its call ends.
const HARMED_PACKETS: usize = 330;

/// How alike a piece of the speech is at least to itself with every third packet missing.
const LIKENESS_MIN: f64 = 0.6;

/// Any will do with which each kind of fault happens to each flow that has it.
const SEED: u64 = 2;

fn the_certificate_says_what_the_network_did(version: Version) {
    let line = BadLine::new(version, TapMode::Hook);
    let faults = all_faults();
    line.watch(SEED, &faults);
    let calls = faults.len() / 2;
    let mut callee = line.callee(calls as u16);
    let caller = line.caller(Context::TapHook, &callee).calls(calls as u16).calls_per_second(CALLS_PER_SECOND);
    let mut caller = caller.talks_for(TALK).start().unwrap();
    line.wait_until_sent(faults.len(), HARMED_PACKETS);
    line.network.calm();
    [&mut caller, &mut callee].into_iter().for_each(all_went_well);
    let calls = line.bench.home.finished_calls(calls);
    line.bench.wait_until_asterisk_is_empty();
    let flows = line.network.flows().unwrap();
    line.gateway.terminate_without_complaint();

    let mut seen = Vec::new();
    for call in &calls {
        let [recording] = &call.recordings[..] else { panic!("one recording: {:?}", call.recordings) };
        let directions = is_what_arrived(&line.bench, recording, &flows);
        let lost: u64 = directions.iter().map(|(_, flow)| Truth::of(flow).lost).sum();
        assert_eq!(recording.complete, lost == 0, "{:?}", recording.certificate.reasons);
        assert_eq!(recording.certificate.head_gap_ms, Some(0));
        let stereo = Stereo::read(&line.bench.home.recording_path(recording));
        let [left, right] = [samples(&stereo.left), samples(&stereo.right)];
        for (direction, flow) in directions {
            let (speech, its_own, other) = match direction {
                Direction::Caller => (Speech::caller().unwrap(), &left, &right),
                Direction::Callee => (Speech::callee().unwrap(), &right, &left),
            };
            let [own, other] = [its_own, other].map(|c| hear(&speech.samples(), EARLY_MS, c).0.peak);
            assert!(own >= LIKENESS_MIN && other < own, "{own} on its own side and {other} on the other");
            seen.push((flow.faults, Truth::of(flow)));
        }
    }
    // Nothing above would fail if the network had done nothing.
    let of = |faults: &Faults| seen.iter().find(|(f, _)| f == faults).expect("a flow has these faults").1;
    for (lossy, at_least) in faults[..3].iter().zip([1, 20, 70]) {
        assert!(of(lossy).lost >= at_least, "{:?}", of(lossy));
    }
    let [rough, doubled, all] = [&faults[3], &faults[4], &faults[5]].map(of);
    assert!(rough.reordered > 0 && rough.late > 0 && rough.lost == 0, "{rough:?}");
    assert!(doubled.duplicate >= 30 && doubled.lost == 0, "{doubled:?}");
    assert!([all.lost, all.duplicate, all.reordered, all.late].iter().all(|&n| n > 0), "{all:?}");
}

#[test]
fn the_certificate_says_what_the_network_did_on_22() {
    the_certificate_says_what_the_network_did(Version::V22);
}

#[test]
fn the_certificate_says_what_the_network_did_on_16() {
    the_certificate_says_what_the_network_did(Version::V16);
}

#[test]
fn a_network_that_is_cut_for_a_second_costs_that_second() {
    let line = BadLine::new(Version::V22, TapMode::Hook);
    line.watch(SEED, &[]);
    let mut callee = line.callee(1);
    let mut caller = line.caller(Context::TapHook, &callee).talks_for(Duration::from_secs(5)).start().unwrap();
    line.wait_until_sent(2, 60);
    line.network.cut(true);
    line.wait_until_sent(2, 120);
    line.network.cut(false);
    [&mut caller, &mut callee].into_iter().for_each(all_went_well);
    let call = line.bench.home.finished_call();
    line.bench.wait_until_asterisk_is_empty();
    let flows = line.network.flows().unwrap();
    // The connections of AMI and ARI are not lost: TCP sends again.
    line.gateway.terminate_without_complaint();

    let [recording] = &call.recordings[..] else { panic!("one recording: {:?}", call.recordings) };
    for (_, flow) in is_what_arrived(&line.bench, recording, &flows) {
        let truth = Truth::of(flow);
        assert!(truth.lost >= 40 && truth.received >= 100, "{truth:?}");
    }
    assert!(!recording.complete);
}
