//! The timeline against a simulated source whose true times are known.

use proptest::prelude::*;

use super::*;

const RATE_HZ: u32 = 8_000;
const FRAME_SAMPLES: u32 = 160;
const FRAME_US: i64 = 20_000;

fn arrived(extended: u64, at_us: i64) -> Arrived {
    let at = Timestamp::from_micros(at_us);
    Arrived { extended, at, packet_at: 0, packet_bytes: 12 + FRAME_SAMPLES, samples: FRAME_SAMPLES }
}

/// Positions in milliseconds after the first sample, and the milliseconds of pauses.
fn placed_ms(packets: Vec<Arrived>) -> (Vec<i64>, u64) {
    let sequence = Sequence::new(packets, RATE_HZ);
    let origin = sequence.begins_at().unwrap();
    let positions = sequence.placed(origin).map(|p| p.position / 8).collect();
    (positions, sequence.extent(origin).pauses.samples / 8)
}

/// `count` packets, one each 20 ms from `from_ms` on.
fn steady(first: u64, count: u64, from_ms: i64) -> Vec<Arrived> {
    (0..count).map(|i| arrived(first + i, from_ms * 1_000 + i as i64 * FRAME_US)).collect()
}

#[test]
fn a_steady_source_has_no_seams() {
    let (positions, pauses_ms) = placed_ms(steady(7, 100, 5_000));
    assert_eq!(positions, (0..100).map(|i| i * 20).collect::<Vec<_>>());
    assert_eq!(pauses_ms, 0);
}

#[test]
fn the_first_sample_is_a_packet_older_than_the_first_arrival() {
    let sequence = Sequence::new(steady(0, 50, 1_000), RATE_HZ);
    assert_eq!(sequence.begins_at(), Some(Timestamp::from_micros(980_000)));
    assert_eq!(Sequence::new(Vec::new(), RATE_HZ).begins_at(), None);
}

#[test]
fn a_delayed_first_packet_does_not_shift_the_flow() {
    let mut packets = steady(0, 50, 1_000);
    packets[0].at = packets[0].at + Duration::from_millis(19);
    assert_eq!(Sequence::new(packets, RATE_HZ).begins_at(), Some(Timestamp::from_micros(980_000)));
}

#[test]
fn missing_packets_are_silence_of_their_length() {
    let mut packets = steady(0, 100, 0);
    packets.drain(20..70);
    let (positions, pauses_ms) = placed_ms(packets);
    assert_eq!((positions[19], positions[20], pauses_ms), (380, 1_400, 0));
}

#[test]
fn the_packet_time_may_change() {
    let mut packets = steady(0, 2, 0);
    packets.extend((0..3).map(|i| Arrived { samples: 240, ..arrived(2 + i, (50 + i as i64 * 30) * 1_000) }));
    packets.remove(3);
    assert_eq!(placed_ms(packets).0, [0, 20, 40, 100]);
}

#[test]
fn a_pause_of_the_source_is_silence() {
    for pause_ms in [60, 500, 10_000] {
        let packets = [steady(0, 50, 0), steady(50, 50, 1_000 + pause_ms)].concat();
        let (positions, pauses_ms) = placed_ms(packets);
        assert_eq!((positions[49], positions[50]), (980, 1_000 + pause_ms));
        assert_eq!(pauses_ms, pause_ms.unsigned_abs());
    }
}

#[test]
fn a_frozen_source_that_catches_up_has_no_pause() {
    // Two seconds of packets arrive at once, then the beat goes on as before.
    let mut packets = steady(0, 250, 0);
    for packet in &mut packets[100..200] {
        packet.at = Timestamp::from_micros(4_000_000);
    }
    let (positions, pauses_ms) = placed_ms(packets);
    assert_eq!(positions, (0..250).map(|i| i * 20).collect::<Vec<_>>());
    assert_eq!(pauses_ms, 0);
}

#[test]
fn a_new_count_begins_where_it_arrives() {
    let other = 5 << 16;
    for (gap_ms, expected_ms) in [(0, 1_000), (10, 1_010), (3_000, 4_000), (-300, 1_000)] {
        let packets = [steady(0, 50, 0), steady(other, 50, 1_000 + gap_ms)].concat();
        assert_eq!(placed_ms(packets).0[50], expected_ms, "{gap_ms} ms");
    }
}

#[test]
fn losses_up_to_a_restart_are_not_a_restart() {
    let packets = [steady(0, 1, 0), steady(DROPOUT_MAX, 1, 20)].concat();
    assert_eq!(placed_ms(packets).0[1], DROPOUT_MAX as i64 * 20);
}

#[test]
fn nonsense_times_stay_bounded() {
    let packets = [steady(0, 50, 0), steady(50, 50, 1_000_000_000_000)].concat();
    assert_eq!(placed_ms(packets).1, 24 * 3_600 * 1_000);
}

/// What happens to one packet of the simulated source.
#[derive(Clone, Debug)]
struct Fate {
    jitter_us: i64,
    is_lost: bool,
    is_reordered: bool,
    pause_before_ms: i64,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let pause = prop_oneof![60 => Just(0i64), 1 => 80i64..3_000];
    let fate = (0..FRAME_US, prop::bool::weighted(0.03), prop::bool::weighted(0.02), pause).prop_map(
        |(jitter_us, is_lost, is_reordered, pause_before_ms)| Fate {
            jitter_us,
            is_lost,
            is_reordered,
            pause_before_ms,
        },
    );
    prop::collection::vec(fate, 1..1_000)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn samples_sit_within_a_frame_of_the_truth(fates in fates(), skew_ppm in -200i64..=200, first in 0u64..1 << 40) {
        let mut packets = Vec::new();
        let mut truth_us = Vec::new();
        let mut spoken_us = 1_000_000;
        for (i, fate) in fates.iter().enumerate() {
            spoken_us += fate.pause_before_ms * 1_000;
            let is_last_before_pause = fates.get(i + 1).is_none_or(|f| f.pause_before_ms > 0 || f.is_lost);
            // A packet delayed into the next pause cannot be told from one spoken after it.
            let reorder_us = if fate.is_reordered && !is_last_before_pause { 15_000 + fate.jitter_us } else { 0 };
            if !fate.is_lost {
                packets.push(arrived(first + i as u64, spoken_us + FRAME_US + fate.jitter_us + reorder_us));
                truth_us.push(spoken_us);
            }
            spoken_us += FRAME_US + FRAME_US * skew_ppm / 1_000_000;
        }
        // In order of arrival, as a spool has them.
        packets.sort_by_key(|p| p.at);
        let sequence = Sequence::new(packets, RATE_HZ);
        for (place, truth_us) in sequence.placed(Timestamp::from_micros(0)).zip(truth_us) {
            let error_us = place.position * 125 - truth_us;
            prop_assert!(error_us.abs() <= FRAME_US + 125, "{} µs off at {} µs", error_us, truth_us);
        }
    }

    #[test]
    fn whatever_comes_never_overlaps(
        mut packets in prop::collection::vec((0u64..20_000, any::<i32>(), 0u32..500), 1..200),
    ) {
        packets.sort_by_key(|p| p.0);
        packets.dedup_by_key(|p| p.0);
        let packets = packets
            .into_iter()
            .map(|(extended, at_us, samples)| Arrived { samples, ..arrived(extended, i64::from(at_us)) })
            .collect();
        let sequence = Sequence::new(packets, RATE_HZ);
        let origin = sequence.begins_at().unwrap();
        let mut end = 0;
        for place in sequence.placed(origin) {
            prop_assert!(place.position >= end, "{} before {}", place.position, end);
            end = place.position + i64::from(place.packet.samples);
        }
        prop_assert_eq!(sequence.extent(origin).samples.cast_signed(), end);
    }
}
