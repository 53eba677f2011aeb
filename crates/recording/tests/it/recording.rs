//! Recordings of spools in good order.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use aimg_audio::g711;
use aimg_core::{CaptureOrder, Codec, Direction, Timestamp};
use aimg_recording::{Certificate, unfinished};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use crate::source::{Capture, OPENED, Packet, after_opening, channel, files, payload, steady};

const ULAW_SILENCE: u8 = 0xFF;

fn joined(packets: &[Packet]) -> Vec<u8> {
    packets.iter().flat_map(|p| p.payload.clone()).collect()
}

#[test]
fn left_is_the_caller_and_right_the_callee_byte_for_byte() {
    let [caller, callee] = Direction::BOTH.map(|d| steady(d, 3_000, 100));
    let capture = Capture::of(&caller, &callee);
    assert_eq!(capture.channel(Direction::Caller), joined(&caller));
    assert_eq!(capture.channel(Direction::Callee), joined(&callee));

    let finished = capture.finish();
    let certificate = finished.certificate;
    assert!(certificate.complete, "{:?}", certificate.reasons);
    assert_eq!((certificate.duration_ms, certificate.head_gap_ms), (60_000, Some(0)));
    for flow in [&certificate.caller, &certificate.callee] {
        assert_eq!((flow.ledger.expected, flow.ledger.received, flow.ledger.missing()), (3_000, 3_000, 0));
        assert_eq!(flow.first_packet_at, Some(after_opening(100)));
        assert_eq!(flow.last_packet_at, Some(after_opening(100 + 2_999 * 20)));
    }
    let bytes = fs::read(&finished.wav).unwrap();
    assert_eq!(bytes.len() as u64, finished.bytes);
    let sha256: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(certificate.sha256, sha256);
    assert_eq!(capture.recordings_dir.join(&certificate.recording), finished.wav);
    let stored: Certificate = serde_json::from_slice(&fs::read(finished.certificate_path).unwrap()).unwrap();
    assert_eq!(stored, certificate);
}

#[test]
fn files_are_where_tenant_and_day_say_and_nobody_elses() {
    let mut capture = Capture::of(&[], &[]);
    let (tenant, session) = (capture.manifest.tenant, capture.manifest.session);
    let finished = capture.finish();
    assert_eq!(finished.wav, capture.recordings_dir.join(format!("{tenant}/2026/01/31/{session}.wav")));
    for (path, forbidden) in [(finished.wav.as_path(), 0o137), (finished.wav.parent().unwrap(), 0o027)] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & forbidden, 0, "{}", path.display());
    }
    capture.change(|m| m.part = 2);
    capture.part = capture.manifest.part_dir(capture.part.spool_dir());
    capture.change(|_| {});
    assert!(capture.finish().wav.ends_with(format!("{session}.2.wav")));
}

#[test]
fn both_directions_share_one_axis_and_length() {
    let capture = Capture::of(&steady(Direction::Caller, 50, 400), &steady(Direction::Callee, 100, 100));
    let (caller, callee) = (capture.channel(Direction::Caller), capture.channel(Direction::Callee));
    assert_eq!((caller.len(), callee.len()), (16_000, 16_000));
    assert!(caller[..2_400].iter().chain(&caller[10_400..]).all(|b| *b == ULAW_SILENCE));
    assert_eq!(caller[2_400..10_400], joined(&steady(Direction::Caller, 50, 0)));
    assert_eq!(callee, joined(&steady(Direction::Callee, 100, 0)));
}

#[test]
fn lost_packets_and_pauses_are_silence_of_their_length() {
    let mut caller = steady(Direction::Caller, 200, 100);
    for packet in &mut caller[150..] {
        packet.at_us += 3_000_000;
    }
    caller.drain(50..60);
    let capture = Capture::of(&caller, &steady(Direction::Callee, 400, 100));
    let heard = capture.channel(Direction::Caller);
    let whole = joined(&steady(Direction::Caller, 200, 0));
    assert_eq!(heard[..8_000], whole[..8_000]);
    assert!(heard[8_000..9_600].iter().all(|b| *b == ULAW_SILENCE));
    assert_eq!(heard[9_600..24_000], whole[9_600..24_000]);
    assert!(heard[24_000..48_000].iter().all(|b| *b == ULAW_SILENCE));
    assert_eq!(heard[48_000..56_000], whole[24_000..]);

    let certificate = capture.finish().certificate;
    assert!(!certificate.complete);
    assert_eq!(certificate.reasons, ["10 of 200 packets of the caller's audio never reached the gateway"]);
    assert_eq!((certificate.caller.pauses, certificate.caller.pauses_ms), (1, 3_000));
}

#[test]
fn other_codecs_become_pcm_at_their_rate() {
    let tone: Vec<i16> = (0..320).map(|n| (n * 97 % 8_000 - 4_000) as i16).collect();
    for codec in [Codec::Alaw, Codec::Slin, Codec::Slin16] {
        let capture = Capture::new(codec);
        let samples = &tone[..codec.sample_rate_hz() as usize / 50];
        let mut bytes = Vec::new();
        aimg_audio::payload::encode(codec, samples, &mut bytes);
        let packets: Vec<_> =
            (0..10).map(|i| Packet { at_us: i64::from(i) * 20_000, seq: i, payload: bytes.clone() }).collect();
        capture.write(Direction::Callee, &packets);
        capture.write(Direction::Caller, &packets[5..]);

        let mut hound = hound::WavReader::open(capture.finish().wav).unwrap();
        assert_eq!(hound.spec().sample_rate, codec.sample_rate_hz(), "{codec}");
        let frames: Vec<i16> = hound.samples().map(Result::unwrap).collect();
        let expected: Vec<i16> = match codec {
            Codec::Alaw => samples.iter().map(|&s| g711::alaw_decode(g711::alaw_encode(s))).collect(),
            _ => samples.to_vec(),
        };
        let callee: Vec<i16> = frames.iter().skip(1).step_by(2).copied().collect();
        assert_eq!(callee, expected.repeat(10), "{codec}");
        let caller: Vec<i16> = frames.iter().step_by(2).copied().collect();
        assert_eq!(caller, [vec![0; expected.len() * 5], expected.repeat(5)].concat(), "{codec}");
    }
}

#[test]
fn a_late_capture_has_a_head_gap_and_says_so() {
    let mut capture = Capture::of(&steady(Direction::Caller, 50, 10), &steady(Direction::Callee, 50, 25));
    capture.change(|m| m.answered_at = Some(Timestamp::from_micros(OPENED.as_micros() + 10_300)));
    let certificate = capture.finish().certificate;
    assert_eq!(certificate.head_gap_ms, Some(15));
    assert_eq!(certificate.reasons, ["up to 15 ms after the answer were not captured"]);

    capture.change(|m| m.answered_at = None);
    let certificate = capture.finish().certificate;
    assert!(certificate.complete && certificate.head_gap_ms.is_none());
}

#[test]
fn of_a_call_that_changed_hands_each_part_says_what_it_does_not_hold() {
    let mut capture = Capture::of(&steady(Direction::Caller, 50, 10), &steady(Direction::Callee, 50, 25));
    let at_us = |us: i64| Some(Timestamp::from_micros(OPENED.as_micros() + us));
    capture.change(|m| (m.answered_at, m.moved_at) = (at_us(-60_000_000), at_us(10_300)));
    let certificate = capture.finish().certificate;
    assert_eq!((certificate.head_gap_ms, certificate.moved_at), (Some(15), at_us(10_300)));
    assert_eq!(certificate.reasons, ["up to 15 ms after the call changed hands are not in this part"]);

    // Answered only after that.
    capture.change(|m| m.answered_at = at_us(30_000));
    assert!(capture.finish().certificate.complete);
}

#[test]
fn a_call_taken_over_after_a_restart_says_what_came_before() {
    let mut capture = Capture::of(&steady(Direction::Caller, 50, 0), &steady(Direction::Callee, 50, 0));
    capture.change(|m| m.adopted = true);
    let certificate = capture.finish().certificate;
    assert!(certificate.adopted && !certificate.complete);
    let said = "the capture began in the middle of the call; what came before is in the part before, if anywhere";
    assert_eq!(certificate.reasons, [said]);
}

#[test]
fn what_people_asked_not_to_be_recorded_is_not_missing() {
    let mut capture = Capture::of(&steady(Direction::Caller, 50, 10), &steady(Direction::Callee, 50, 25));
    capture.change(|m| {
        m.answered_at = Some(after_opening(-60_000));
        m.ended_at = Some(after_opening(1_000));
        (m.begun_by, m.ended_by) = (Some(CaptureOrder::Resume), Some(CaptureOrder::Pause));
    });
    let certificate = capture.finish().certificate;
    assert!(certificate.complete && certificate.head_gap_ms.is_none(), "{certificate:?}");
    assert_eq!((certificate.begun_by, certificate.ended_by), (Some(CaptureOrder::Resume), Some(CaptureOrder::Pause)));

    // Answered only after somebody asked: from there on everything was to be recorded.
    capture.change(|m| m.answered_at = Some(after_opening(5)));
    assert_eq!(capture.finish().certificate.head_gap_ms, Some(20));
}

#[test]
fn finishing_again_gives_the_same_files() {
    let capture = Capture::of(&steady(Direction::Caller, 80, 0), &steady(Direction::Callee, 70, 30));
    let finished = capture.finish();
    let first = files(&capture.recordings_dir);
    assert_eq!(first.len(), 2);
    // A crash in between leaves a temporary file, and one of the two.
    fs::write(finished.wav.with_extension("wav.tmp"), b"half a recording").unwrap();
    fs::remove_file(&finished.certificate_path).unwrap();
    capture.finish();
    assert_eq!(files(&capture.recordings_dir), first);
}

#[test]
fn parts_are_found_until_they_are_discarded() {
    let capture = Capture::of(&[], &[]);
    capture.finish();
    let parts: Vec<_> = unfinished(capture.part.spool_dir()).unwrap().map(Result::unwrap).collect();
    assert_eq!(parts, std::slice::from_ref(&capture.part));
    parts[0].discard().unwrap();
    assert_eq!(unfinished(capture.part.spool_dir()).unwrap().count(), 0);
}

/// What the network does to one packet of 20 ms.
#[derive(Clone, Debug)]
struct Fate {
    jitter_us: i64,
    is_lost: bool,
    is_duplicated: bool,
    pause_before_ms: i64,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let pause = prop_oneof![50 => Just(0i64), 1 => 80i64..2_000];
    let fate = (0i64..20_000, prop::bool::weighted(0.05), prop::bool::weighted(0.05), pause).prop_map(
        |(jitter_us, is_lost, is_duplicated, pause_before_ms)| Fate {
            jitter_us,
            is_lost,
            is_duplicated,
            pause_before_ms,
        },
    );
    prop::collection::vec(fate, 1..400)
}

/// The packets as they arrive, the numbers and true times of those that were not lost, and how many came twice.
fn sent(direction: Direction, fates: &[Fate], first_us: i64) -> (Vec<Packet>, Vec<(usize, i64)>, u64) {
    let (mut packets, mut truth, mut duplicates) = (Vec::new(), Vec::new(), 0);
    let mut spoken_us = first_us;
    for (number, fate) in fates.iter().enumerate() {
        spoken_us += fate.pause_before_ms * 1_000;
        if !fate.is_lost {
            let at_us = spoken_us + 20_000 + fate.jitter_us;
            let packet =
                Packet { at_us, seq: 65_300u16.wrapping_add(number as u16), payload: payload(direction, number, 160) };
            if fate.is_duplicated {
                packets.push(Packet { at_us: at_us + 3_000, ..packet.clone() });
                duplicates += 1;
            }
            packets.push(packet);
            truth.push((number, spoken_us));
        }
        spoken_us += 20_000;
    }
    packets.sort_by_key(|p| p.at_us);
    (packets, truth, duplicates)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_packet_is_in_its_place_whole_and_once(caller in fates(), callee in fates(), offset_us in 0i64..500_000) {
        let flows = [
            sent(Direction::Caller, &caller, 1_000_000),
            sent(Direction::Callee, &callee, 1_000_000 + offset_us),
        ];
        let capture = Capture::of(&flows[0].0, &flows[1].0);
        let finished = capture.finish();
        let begin_us = flows.iter().filter_map(|(_, truth, _)| truth.first()).map(|(_, us)| *us).min().unwrap_or(0);
        for (direction, (_, truth, duplicates)) in Direction::BOTH.into_iter().zip(&flows) {
            let mut heard = channel(&finished, direction);
            for (number, spoken_us) in truth {
                let expected = payload(direction, *number, 160);
                let at = heard.windows(160).position(|w| w == expected);
                let at = at.unwrap_or_else(|| panic!("packet {number} of the {direction} is missing"));
                // Two flows, each within a frame of the truth.
                let error_us = at as i64 * 125 - (spoken_us - begin_us);
                prop_assert!(error_us.abs() <= 20_250, "packet {} is {} µs off", number, error_us);
                heard[at..at + 160].fill(ULAW_SILENCE);
            }
            prop_assert!(heard.iter().all(|b| *b == ULAW_SILENCE));
            let flow = finished.certificate.flow(direction);
            prop_assert_eq!(flow.ledger.received, truth.len() as u64);
            prop_assert_eq!(flow.ledger.duplicate, *duplicates);
            let span = truth.last().map_or(0, |(last, _)| last - truth[0].0 + 1);
            prop_assert_eq!(flow.ledger.lost, (span - truth.len()) as u64);
        }
    }
}
