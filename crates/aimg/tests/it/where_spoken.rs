//! The speech in a recording is where it was spoken: on its side, at its time, and it does not drift.

use std::net::SocketAddrV4;
use std::time::Duration;

use aimg_audio::correlate::{Match, locate};
use aimg_core::{TapMode, Timestamp};
use aimg_recording::Certificate;
use aimg_testbed::{Asterisk, Context, Speech, Version};

use crate::bench::{Bench, all_went_well, callee};
use crate::stereo::{SAMPLE_US, SAMPLES_PER_MS, Stereo, samples};
use crate::wire::{PACKET_US, Stream, Wire, sent_to};

/// The caller's speech lasts 30 s; both sides begin anew where theirs ends.
const TALK: Duration = Duration::from_secs(31);

/// Where pieces of the speech begin that are looked for, near its beginning and near its end, in milliseconds. Of several,
/// one is whole also where a busy machine made Asterisk stumble.
pub(crate) const EARLY_MS: [usize; 4] = [1_000, 1_800, 2_600, 3_400];
const LATE_MS: [usize; 4] = [25_000, 25_800, 26_600, 27_400];
const PIECE_MS: usize = 800;

/// How alike a piece is to itself when it has come through Asterisk.
const LIKENESS_MIN: f64 = 0.9;
/// How alike other speech may be.
const OTHER_LIKENESS_MAX: f64 = 0.6;
/// From the phone that sends a sample to its place in the recording: Asterisk passes a call on in frames of 20 ms, and each
/// of the three steps (in, through the bridge, to us) may keep one or two.
const DELAY_US: std::ops::RangeInclusive<i64> = -20_000..=150_000;

/// Where in a channel a piece of the speech is that is most like itself there, and where in the speech it begins.
pub(crate) fn hear(speech: &[i16], pieces_ms: [usize; 4], channel: &[i16]) -> (Match, usize) {
    let found = pieces_ms.into_iter().filter_map(|from_ms| {
        let piece = &speech[from_ms * SAMPLES_PER_MS..][..PIECE_MS * SAMPLES_PER_MS];
        Some((locate(piece, channel)?, from_ms))
    });
    found.max_by(|(a, _), (b, _)| a.peak.total_cmp(&b.peak)).expect("speech is no silence")
}

/// What a phone sent.
fn sent_by<'a>(streams: &'a [Stream], asterisk: &Asterisk, phone: u16) -> &'a Stream {
    let (first, last) = asterisk.rtp_ports();
    let to_asterisk = |a: SocketAddrV4| (first..=last).contains(&a.port());
    let by_phone = |s: &&Stream| (phone..phone + 64).contains(&s.source.port()) && to_asterisk(s.destination);
    let [stream] = streams.iter().filter(by_phone).collect::<Vec<_>>()[..] else { panic!("one stream of the phone's") };
    stream
}

/// When the recording begins: with the first sample of the direction that came first.
fn begins_at(certificate: &Certificate) -> Timestamp {
    let firsts = [&certificate.caller, &certificate.callee].map(|f| f.first_packet_at.unwrap());
    Timestamp::from_micros(firsts.into_iter().min().unwrap().as_micros() - 20_000)
}

fn speech_is_where_it_was_spoken(version: Version) {
    let bench = Bench::new(version, TapMode::Hook);
    let gateway = bench.home.serve_linked();
    let wire = Wire::tap(&bench.asterisk);
    let mut callee = callee(1);
    let mut caller = bench.caller(Context::TapHook, &callee).talks_for(TALK).start().unwrap();
    [&mut caller, &mut callee].into_iter().for_each(all_went_well);
    let call = bench.home.finished_call();
    let streams = wire.streams();

    let recording = &call.recordings[0];
    let stereo = Stereo::read(&bench.home.recording_path(recording));
    let [left, right] = [samples(&stereo.left), samples(&stereo.right)];
    let [from_caller, from_callee] = [Speech::caller().unwrap().samples(), Speech::callee().unwrap().samples()];
    // What the phones and Asterisk stray from their 20 ms is on the machine's account, and can be seen on the wire.
    let captured_us = sent_to(&streams, gateway.audio()).into_iter().map(Stream::unsteadiness_us).max().unwrap();
    for (speech, its_own, other, phone) in
        [(&from_caller, &left, &right, &caller), (&from_callee, &right, &left, &callee)]
    {
        let spoken = sent_by(&streams, &bench.asterisk, phone.port());
        let allowed_us = captured_us + spoken.unsteadiness_us();
        let delays_us = [EARLY_MS, LATE_MS].map(|pieces_ms| {
            let (elsewhere, _) = hear(speech, pieces_ms, other);
            assert!(elsewhere.peak <= OTHER_LIKENESS_MAX, "speech on the wrong side: {elsewhere:?}");
            let (found, from_ms) = hear(speech, pieces_ms, its_own);
            assert!(found.peak >= LIKENESS_MIN, "{found:?}");
            let recorded_us = begins_at(&recording.certificate).as_micros() + found.offset as i64 * SAMPLE_US;
            recorded_us - spoken.packets[from_ms / 20].at.as_micros()
        });
        let delay_us = *DELAY_US.start() - allowed_us..=*DELAY_US.end() + allowed_us;
        assert!(delays_us.iter().all(|d| delay_us.contains(d)), "{delays_us:?} µs from the phone to the recording");
        let drift_us = (delays_us[1] - delays_us[0]).abs();
        // One frame.
        assert!(drift_us <= PACKET_US + allowed_us, "{drift_us} µs of drift, with {allowed_us} of the machine's");
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
