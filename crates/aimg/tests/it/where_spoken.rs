//! The speech in a recording is where it was spoken: on its side, at its time, and it does not drift.

use std::net::SocketAddrV4;
use std::time::Duration;

use aimg_audio::correlate::locate;
use aimg_core::{TapMode, Timestamp};
use aimg_recording::Certificate;
use aimg_testbed::{Asterisk, Context, Speech, Version};

use crate::bench::{Bench, all_went_well, callee};
use crate::stereo::{SAMPLE_US, SAMPLES_PER_MS, Stereo, samples};
use crate::wire::{Stream, Wire};

/// The caller's speech lasts 30 s; both sides begin anew where theirs ends.
const TALK: Duration = Duration::from_secs(31);

/// A piece near the beginning of the speech, and one near its end: from, to, in milliseconds.
const EARLY_MS: [usize; 2] = [1_000, 2_500];
const LATE_MS: [usize; 2] = [26_000, 27_500];

/// How alike a piece is to itself when it has come through Asterisk.
const LIKENESS_MIN: f64 = 0.9;
/// How alike other speech may be.
const OTHER_LIKENESS_MAX: f64 = 0.4;
/// One frame: how much longer or shorter the recording may be than what was played. Nobody plays to the microsecond: what
/// counts is when the phone sent.
const DRIFT_US_MAX: i64 = 20_000;
/// From the phone that sends a sample to its place in the recording: Asterisk passes a call on in frames of 20 ms, and each
/// of the three steps (in, through the bridge, to us) may keep one or two.
const DELAY_US: std::ops::RangeInclusive<i64> = -20_000..=150_000;

fn piece(speech: &Speech, [from_ms, to_ms]: [usize; 2]) -> Vec<i16> {
    speech.samples()[from_ms * SAMPLES_PER_MS..to_ms * SAMPLES_PER_MS].to_vec()
}

/// When a phone sent the first sample of a piece of its speech.
fn sent_at(streams: &[Stream], asterisk: &Asterisk, phone: u16, [from_ms, _]: [usize; 2]) -> Timestamp {
    let (first, last) = asterisk.rtp_ports();
    let to_asterisk = |a: SocketAddrV4| (first..=last).contains(&a.port());
    let by_phone = |s: &&Stream| (phone..phone + 64).contains(&s.source.port()) && to_asterisk(s.destination);
    let [stream] = streams.iter().filter(by_phone).collect::<Vec<_>>()[..] else { panic!("one stream of the phone's") };
    stream.packets[from_ms / 20].at
}

/// When the recording begins: with the first sample of the direction that came first.
fn begins_at(certificate: &Certificate) -> Timestamp {
    let firsts = [&certificate.caller, &certificate.callee].map(|f| f.first_packet_at.unwrap());
    Timestamp::from_micros(firsts.into_iter().min().unwrap().as_micros() - 20_000)
}

fn speech_is_where_it_was_spoken(version: Version) {
    let bench = Bench::new(version, TapMode::Hook);
    let _gateway = bench.home.serve_linked();
    let wire = Wire::tap(&bench.asterisk);
    let mut callee = callee(1);
    let mut caller = bench.caller(Context::TapHook, &callee).talks_for(TALK).start().unwrap();
    [&mut caller, &mut callee].into_iter().for_each(all_went_well);
    let call = bench.home.finished_call();
    let streams = wire.streams();

    let recording = &call.recordings[0];
    let stereo = Stereo::read(&bench.home.recording_path(recording));
    let [left, right] = [samples(&stereo.left), samples(&stereo.right)];
    let [from_caller, from_callee] = [Speech::caller().unwrap(), Speech::callee().unwrap()];
    for (speech, its_own, other, phone) in
        [(&from_caller, &left, &right, &caller), (&from_callee, &right, &left, &callee)]
    {
        let delays_us = [EARLY_MS, LATE_MS].map(|at| {
            let elsewhere = locate(&piece(speech, at), other).unwrap();
            assert!(elsewhere.peak <= OTHER_LIKENESS_MAX, "speech on the wrong side: {elsewhere:?}");
            let found = locate(&piece(speech, at), its_own).unwrap();
            assert!(found.peak >= LIKENESS_MIN, "{found:?}");
            let recorded_us = begins_at(&recording.certificate).as_micros() + found.offset as i64 * SAMPLE_US;
            recorded_us - sent_at(&streams, &bench.asterisk, phone.port(), at).as_micros()
        });
        assert!(delays_us.iter().all(|d| DELAY_US.contains(d)), "{delays_us:?} µs from the phone to the recording");
        let [early_us, late_us] = delays_us;
        assert!(
            (late_us - early_us).abs() <= DRIFT_US_MAX,
            "{early_us} µs from the phone to the recording, then {late_us}"
        );
    }
}

#[test]
fn speech_is_where_it_was_spoken_on_22() {
    speech_is_where_it_was_spoken(Version::V22);
}

#[test]
fn speech_is_where_it_was_spoken_on_16() {
    speech_is_where_it_was_spoken(Version::V16);
}
