//! The system's clock is set in the middle of a call, forwards and back: its recording does not show it.
//!
//! Set for the gateway alone, by libfaketime: what it is told of the time steps, and the kernel's stamps of packets stay, so
//! they are as far apart as in the moment of a step.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use aimg_core::{Direction, TapMode};
use aimg_testbed::{Context, Version};

use crate::bench::{Bench, all_went_well, callee};
use crate::waiting::eventually;
use crate::wire::{Wire, sent_to};

const TALK: Duration = Duration::from_secs(6);

/// Where the Debian package `faketime` has it.
fn libfaketime() -> PathBuf {
    let libraries = fs::read_dir("/usr/lib").unwrap().flatten().map(|d| d.path().join("faketime/libfaketime.so.1"));
    libraries.into_iter().find(|p| p.exists()).expect("the package `faketime` is installed")
}

#[test]
fn a_recording_does_not_show_that_the_clock_was_set() {
    let bench = Bench::new(Version::V22, TapMode::Hook);
    let clock = bench.home.data("clock");
    let set = |to: &str| fs::write(&clock, to).unwrap();
    set("+0s");
    let gateway = bench.home.serve_with(|serve| {
        serve.env("LD_PRELOAD", libfaketime()).env("FAKETIME_TIMESTAMP_FILE", &clock);
        serve.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    });
    gateway.wait_for_log("AMI is up");
    gateway.wait_for_log("ARI is up");
    let wire = Wire::tap(&bench.asterisk);
    let mut callee = callee(1);
    let mut caller = bench.caller(Context::TapHook, &callee).talks_for(TALK).start().unwrap();
    bench.wait_until_captured(1);
    for to in ["+3600s", "-3600s"] {
        set(to);
        // Log lines carry the system's time, unlike anything of calls.
        let before = bench.home.live_packets();
        eventually("packets are captured with the clock as it is set", || {
            let packets = bench.home.live_packets();
            let more = packets.iter().zip(&before).all(|(now, before)| *now >= before + 25);
            if more { Ok(()) } else { Err(format!("{packets:?}")) }
        });
    }
    [&mut caller, &mut callee].into_iter().for_each(all_went_well);
    let call = bench.home.finished_call();
    bench.wait_until_asterisk_is_empty();

    let recording = &call.recordings[0];
    let certificate = &recording.certificate;
    assert!(recording.complete, "{:?}", certificate.reasons);
    assert_eq!(certificate.head_gap_ms, Some(0));
    bench.is_all_that_was_sent(recording, &sent_to(&wire.streams(), gateway.audio()));
    for direction in Direction::BOTH {
        let flow = certificate.flow(direction);
        let lasted = flow.last_packet_at.unwrap().since(flow.first_packet_at.unwrap());
        assert!(lasted < 2 * TALK && flow.pauses == 0, "{flow:?}");
    }
    assert!(call.events.is_sorted_by_key(|e| e.at), "{:?}", call.events);
    gateway.terminate_without_complaint();
}
