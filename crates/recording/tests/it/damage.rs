//! Spools that are missing, cut off, damaged or of another time.

use std::fs;

use aimg_core::{Codec, Direction};
use aimg_recording::{Error, finish};
use aimg_spool::{HEADER_BYTES, RECORD_HEADER_BYTES, encoded_bytes};
use proptest::prelude::*;

use crate::source::{Capture, files, spool, steady};

/// Bytes of a record of 20 ms of µ-law.
const RECORD_BYTES: usize = encoded_bytes(12 + 160);

fn capture() -> Capture {
    Capture::of(&steady(Direction::Caller, 30, 100), &steady(Direction::Callee, 30, 100))
}

/// Changes the bytes of the caller's spool.
fn spoil(capture: &Capture, change: impl FnOnce(&mut Vec<u8>)) {
    let path = capture.part.spool_path(Direction::Caller);
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_killed_gateway_leaves_everything_it_received() {
    let mut capture = capture();
    capture.change(|m| m.ended_at = None);
    // The process died while it wrote the last record: all but the sync word.
    spoil(&capture, |bytes| {
        let last = HEADER_BYTES + 29 * RECORD_BYTES;
        bytes[last..last + 2].fill(0);
    });
    let certificate = capture.finish().certificate;
    assert!(!certificate.complete);
    assert_eq!(certificate.reasons, ["the capture ended before the call did; everything received before is here"]);
    assert_eq!((certificate.caller.ledger.received, certificate.callee.ledger.received), (29, 30));
}

#[test]
fn a_spool_without_packets_is_silence() {
    type Prepare = fn(&Capture);
    let missing = |c: &Capture| fs::remove_file(c.part.spool_path(Direction::Caller)).unwrap();
    let empty = |c: &Capture| spoil(c, Vec::clear);
    let cut_in_header = |c: &Capture| spoil(c, |bytes| bytes.truncate(1_000));
    let no_records = |c: &Capture| spoil(c, |bytes| bytes[HEADER_BYTES..].fill(0));
    let cases: [(&str, Prepare, &str); 4] = [
        ("missing", missing, "the spool of the caller's audio does not exist"),
        ("empty", empty, "the spool of the caller's audio is empty"),
        ("cut in its header", cut_in_header, "the spool of the caller's audio is empty"),
        ("without records", no_records, "no packet of the caller's audio was captured"),
    ];
    for (name, prepare, reason) in cases {
        let capture = capture();
        prepare(&capture);
        let certificate = capture.finish().certificate;
        assert_eq!(certificate.reasons[0], reason, "{name}");
        assert_eq!(certificate.duration_ms, 600, "{name}");
        assert_eq!(capture.channel(Direction::Caller), [0xFF; 4_800], "{name}");
    }
}

#[test]
fn a_call_without_any_packet_has_an_empty_recording() {
    let capture = Capture::new(Codec::Ulaw);
    let finished = capture.finish();
    assert_eq!((finished.certificate.duration_ms, finished.certificate.head_gap_ms), (0, None));
    assert_eq!(finished.certificate.reasons.len(), 4);
    assert!(capture.channel(Direction::Callee).is_empty());
}

#[test]
fn a_damaged_record_costs_its_packet_only() {
    let capture = capture();
    spoil(&capture, |bytes| bytes[HEADER_BYTES + 10 * RECORD_BYTES + RECORD_HEADER_BYTES + 50] ^= 1);
    let certificate = capture.finish().certificate;
    assert_eq!(certificate.caller.corrupt_bytes, RECORD_BYTES as u64);
    assert_eq!((certificate.caller.ledger.received, certificate.caller.ledger.lost), (29, 1));
    assert!(!certificate.complete);
    let heard = capture.channel(Direction::Caller);
    assert!(heard[1_600..1_760].iter().all(|b| *b == 0xFF));
    assert!(heard[..1_600].iter().chain(&heard[1_760..]).all(|b| *b != 0xFF));
}

#[test]
fn a_spool_with_an_unreadable_header_is_kept() {
    for (name, at) in [("not a spool", 0), ("damaged description", 140)] {
        let capture = capture();
        spoil(&capture, |bytes| bytes[at] ^= 0xFF);
        let spoiled = fs::read(capture.part.spool_path(Direction::Caller)).unwrap();
        let certificate = capture.finish().certificate;
        assert!(certificate.reasons[0].contains("kept unread in the damaged spools"), "{:?}", certificate.reasons);
        assert_eq!(certificate.caller.corrupt_bytes, spoiled.len() as u64, "{name}");
        assert_eq!(certificate.callee.ledger.received, 30, "{name}");

        let kept = capture.part.damaged_path(Direction::Caller);
        assert_eq!(fs::read(&kept).unwrap(), spoiled, "{name}");
        assert_eq!(fs::read_to_string(kept.with_extension("spool.txt")).unwrap(), certificate.reasons[0]);
        assert!(!capture.part.spool_path(Direction::Caller).exists());

        let before = files(&capture.recordings_dir);
        assert_eq!(capture.finish().certificate, certificate, "{name}");
        assert_eq!(files(&capture.recordings_dir), before);
    }
}

#[test]
fn a_spool_of_another_flow_is_not_mixed_in() {
    let capture = capture();
    let foreign = fs::read(capture.part.spool_path(Direction::Callee)).unwrap();
    fs::write(capture.part.spool_path(Direction::Caller), foreign).unwrap();
    let certificate = capture.finish().certificate;
    assert!(certificate.reasons[0].ends_with("its header names another flow than its place"));
    assert_eq!(certificate.caller.ledger.received, 0);

    let mut other_codec = Capture::of(&steady(Direction::Caller, 5, 0), &steady(Direction::Callee, 5, 0));
    other_codec.change(|m| m.codec = Codec::Slin16);
    let certificate = other_codec.finish().certificate;
    assert!(certificate.reasons[0].ends_with("its header says ulaw, and the call is in slin16"));
}

#[test]
fn a_newer_spool_is_left_untouched() {
    let capture = capture();
    spoil(&capture, |bytes| bytes[8] = 99);
    let before = files(capture.part.spool_dir());
    let error = finish(&capture.part, &capture.recordings_dir).unwrap_err();
    assert!(matches!(error, Error::NewerSpool { .. }));
    assert!(error.to_string().contains("spool version 99 is newer"), "{error}");
    assert_eq!(files(capture.part.spool_dir()), before);
    assert!(files(&capture.recordings_dir).is_empty());
}

#[test]
fn without_a_manifest_the_spools_tell() {
    let capture = capture();
    fs::remove_file(capture.part.manifest_path()).unwrap();
    let certificate = capture.finish().certificate;
    assert_eq!((certificate.opened_at, certificate.pbx), (capture.manifest.opened_at, capture.manifest.pbx));
    assert_eq!(certificate.caller.ledger.received, 30);
    assert!(certificate.reasons[0].contains("manifest does not exist"));

    fs::write(capture.part.manifest_path(), b"{\"tenant\":").unwrap();
    assert!(capture.finish().certificate.reasons[0].contains("manifest cannot be read"));

    for direction in Direction::BOTH {
        fs::remove_file(capture.part.spool_path(direction)).unwrap();
    }
    let error = finish(&capture.part, &capture.recordings_dir).unwrap_err();
    assert!(matches!(error, Error::NothingReadable { .. }), "{error}");
}

#[test]
fn what_we_dropped_is_on_our_account() {
    let capture = capture();
    let mut packets = steady(Direction::Caller, 30, 100);
    packets.drain(10..13);
    let bytes = spool(capture.meta(Direction::Caller), &packets, 2);
    fs::write(capture.part.spool_path(Direction::Caller), bytes).unwrap();
    let ledger = capture.finish().certificate.caller.ledger;
    assert_eq!((ledger.expected, ledger.received, ledger.lost, ledger.dropped_by_us), (30, 27, 1, 2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_damage_prevents_a_recording(
        spots in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..40),
        cut in any::<prop::sample::Index>(),
    ) {
        let capture = Capture::of(&steady(Direction::Caller, 200, 0), &steady(Direction::Callee, 200, 0));
        spoil(&capture, |bytes| {
            for (index, value) in spots {
                let at = index.index(bytes.len());
                // A header that says it is newer is another matter.
                if !(8..12).contains(&at) {
                    bytes[at] = value;
                }
            }
            bytes[64..72].fill(0xFF);
            let length = cut.index(bytes.len());
            bytes.truncate(length);
        });
        let certificate = capture.finish().certificate;
        prop_assert_eq!(certificate.callee.ledger.received, 200);
        prop_assert_eq!(&capture.finish().certificate, &certificate);
        let ledger = certificate.caller.ledger;
        prop_assert_eq!(ledger.expected, ledger.received + ledger.missing());
    }
}
