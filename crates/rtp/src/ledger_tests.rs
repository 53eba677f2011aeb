//! Tests of the ledger: by example, and against a known truth over random orders, losses and duplicates. A failing
//! case prints its input and the seed to repeat it.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

fn arrival(seq: u64, kernel_drops: u32) -> Arrival {
    Arrival {
        at: Timestamp::from_micros(seq.cast_signed() * 20_000),
        ssrc: Ssrc(1),
        seq: SeqNo(seq as u16),
        rtp_timestamp: (seq * 160) as u32,
        kernel_drops,
    }
}

fn fed(packets: &[(u64, u32)]) -> LedgerBuilder {
    let mut builder = LedgerBuilder::new(8_000);
    for (seq, kernel_drops) in packets {
        builder.observe(arrival(*seq, *kernel_drops));
    }
    builder
}

fn check(packets: &[(u64, u32)], expected: Ledger) {
    assert_eq!(fed(packets).ledger(), expected, "{packets:?}");
}

#[test]
fn nothing_seen_is_nothing_expected() {
    check(&[], Ledger::default());
}

#[test]
fn verdicts_name_what_a_packet_is() {
    let mut builder = LedgerBuilder::new(8_000);
    let verdicts = [
        (100, Verdict::InOrder),
        (101, Verdict::InOrder),
        (104, Verdict::Gap { missing: 2 }),
        (103, Verdict::Reordered),
        (103, Verdict::Duplicate),
        (104, Verdict::Duplicate),
        (120, Verdict::Gap { missing: 15 }),
        (102, Verdict::Late),
        (99, Verdict::Late),
        (20_000, Verdict::Stray),
        (121, Verdict::InOrder),
    ];
    for (seq, verdict) in verdicts {
        assert_eq!(builder.observe(arrival(seq, 0)).verdict, verdict, "{seq}");
    }
    assert_eq!(
        builder.ledger(),
        Ledger { expected: 23, received: 8, lost: 15, late: 2, duplicate: 2, ..Ledger::default() }
    );
    assert_eq!((builder.facts().reordered, builder.facts().strays), (1, 1));
}

#[test]
fn a_gap_is_the_kernels_as_far_as_its_counter_rose() {
    // Five missing, the counter rose by two, then by none.
    check(
        &[(1, 10), (7, 12), (9, 12)],
        Ledger { expected: 9, received: 3, lost: 4, kernel_dropped: 2, ..Ledger::default() },
    );
    // It rose by more than this flow misses: the others were another flow's.
    check(&[(1, 10), (3, 99)], Ledger { expected: 3, received: 2, kernel_dropped: 1, ..Ledger::default() });
    // It rose before the first packet, and where nothing is missing.
    check(&[(1, 50), (2, 60), (4, 60)], Ledger { expected: 4, received: 3, lost: 1, ..Ledger::default() });
    // It wraps.
    check(&[(1, u32::MAX), (3, 0)], Ledger { expected: 3, received: 2, kernel_dropped: 1, ..Ledger::default() });
}

#[test]
fn what_comes_late_is_taken_from_the_lost_before_the_kernels() {
    let gap = [(1, 0), (4, 1)];
    check(&gap, Ledger { expected: 4, received: 2, lost: 1, kernel_dropped: 1, ..Ledger::default() });
    check(&[gap[0], gap[1], (2, 1)], Ledger { expected: 4, received: 3, kernel_dropped: 1, ..Ledger::default() });
    check(&[gap[0], gap[1], (2, 1), (3, 1)], Ledger { expected: 4, received: 4, ..Ledger::default() });
}

#[test]
fn a_restart_loses_nothing_but_what_the_kernel_says() {
    let mut builder = fed(&[(100, 0), (101, 0), (20_000, 0)]);
    assert_eq!(builder.ledger().received, 2);
    let outcome = builder.observe(arrival(20_001, 0));
    assert_eq!(outcome.verdict, Verdict::Restart { stray: Some(outcome.extended - 1) });
    assert_eq!(builder.ledger(), Ledger { expected: 4, received: 4, ..Ledger::default() });
    assert_eq!((builder.facts().restarts, builder.facts().strays), (1, 0));

    check(
        &[(100, 0), (20_000, 7), (20_001, 7)],
        Ledger { expected: 10, received: 3, kernel_dropped: 7, ..Ledger::default() },
    );
}

#[test]
fn another_ssrc_is_a_restart_and_keeps_what_was_missing() {
    let mut builder = fed(&[(100, 0), (103, 0)]);
    let outcome = builder.observe(Arrival { ssrc: Ssrc(2), ..arrival(104, 0) });
    assert_eq!(outcome.verdict, Verdict::Restart { stray: None });
    assert_eq!(builder.ledger(), Ledger { expected: 5, received: 3, lost: 2, ..Ledger::default() });
    assert_eq!(builder.facts().ssrc_changes, 1);
}

#[test]
fn what_we_dropped_is_not_lost_as_well() {
    let mut builder = fed(&[(1, 0), (4, 0)]);
    builder.note_dropped_by_us(1);
    assert_eq!(builder.ledger(), Ledger { expected: 4, received: 2, lost: 1, dropped_by_us: 1, ..Ledger::default() });
    // The others were the last packets of the flow: no gap shows them.
    builder.note_dropped_by_us(4);
    assert_eq!(builder.ledger(), Ledger { expected: 7, received: 2, dropped_by_us: 5, ..Ledger::default() });
}

/// A packet on its way: lost or not, how often it comes, how many packets later.
#[derive(Clone, Debug)]
struct Fate {
    copies: u8,
    delay: u16,
    kept: bool,
    kernel_drop: bool,
}

fn fate() -> impl Strategy<Value = Fate> {
    let copies = prop_oneof![8 => Just(1u8), 1 => Just(0), 1 => 2..4u8];
    let delay = prop_oneof![8 => Just(0u16), 2 => 1..20u16, 1 => 1..900u16];
    (copies, delay, prop::bool::weighted(0.95), prop::bool::weighted(0.05))
        .prop_map(|(copies, delay, kept, kernel_drop)| Fate { copies, delay, kept, kernel_drop })
}

/// Indices of packets in order of arrival; a copy comes three packets after the one before.
fn order_of_arrival(fates: &[Fate]) -> Vec<u64> {
    let mut arrivals: Vec<(u64, u64)> = Vec::new();
    for (index, fate) in (0u64..).zip(fates) {
        arrivals.extend((0..u64::from(fate.copies)).map(|copy| (index + u64::from(fate.delay) + copy * 3, index)));
    }
    arrivals.sort_by_key(|(at, _)| *at);
    arrivals.into_iter().map(|(_, index)| index).collect()
}

/// The truth, found with memory without bound.
fn truth_of(order: &[u64]) -> Ledger {
    let mut seen = HashSet::new();
    let mut truth = Ledger::default();
    let mut highest = 0;
    for index in order {
        if !seen.insert(*index) {
            truth.duplicate += 1;
        } else if index + REORDER_WINDOW < highest {
            truth.late += 1;
        }
        highest = highest.max(*index);
    }
    truth.received = seen.len() as u64;
    truth.expected = order.iter().max().zip(order.iter().min()).map_or(0, |(max, min)| max - min + 1);
    truth.lost = truth.expected - truth.received;
    truth
}

fn balanced(ledger: &Ledger) -> bool {
    ledger.expected == ledger.received + ledger.missing()
}

proptest! {
    #[test]
    fn agrees_with_the_truth(start in any::<u16>(), fates in prop::collection::vec(fate(), 0..2_500)) {
        let order = order_of_arrival(&fates);
        let mut builder = LedgerBuilder::new(8_000);
        for index in &order {
            builder.observe(arrival(u64::from(start) + index, 0));
            prop_assert!(balanced(&builder.ledger()));
        }
        prop_assert_eq!(builder.ledger(), truth_of(&order));
        prop_assert_eq!(builder.facts().strays + builder.facts().restarts, 0);
    }

    #[test]
    fn wraps_any_number_of_times(start in any::<u16>(), steps in prop::collection::vec(1..3_000u64, 1..200)) {
        let mut builder = fed(&[(u64::from(start), 0)]);
        let mut seq = u64::from(start);
        for step in &steps {
            seq += step;
            builder.observe(arrival(seq, 0));
        }
        let (expected, received) = (seq - u64::from(start) + 1, steps.len() as u64 + 1);
        prop_assert_eq!(
            builder.ledger(),
            Ledger { expected, received, lost: expected - received, ..Ledger::default() }
        );
    }

    /// In order and alone on its socket, a flow's kernel drops are known exactly.
    #[test]
    fn kernel_drops_are_told_from_the_networks(start in any::<u16>(), fates in prop::collection::vec(fate(), 1..500)) {
        let mut builder = LedgerBuilder::new(8_000);
        let (mut counter, mut counter_at_last, mut counter_at_first) = (0, 0, None);
        for (index, fate) in (0u64..).zip(&fates) {
            if fate.kernel_drop {
                counter += 1;
            } else if fate.copies > 0 {
                builder.observe(arrival(u64::from(start) + index, counter));
                counter_at_last = counter;
                counter_at_first.get_or_insert(counter);
            }
        }
        let ledger = builder.ledger();
        prop_assert!(balanced(&ledger));
        prop_assert_eq!(ledger.kernel_dropped, u64::from(counter_at_last - counter_at_first.unwrap_or(0)));
    }

    /// A shard notes what it dropped as it happens, the spool's reader at the end: both come to the same ledger.
    #[test]
    fn live_and_from_the_spool_agree(start in any::<u16>(), fates in prop::collection::vec(fate(), 0..1_000)) {
        let (mut live, mut replayed) = (LedgerBuilder::new(8_000), LedgerBuilder::new(8_000));
        let (mut kernel_drops, mut dropped_by_us) = (0, 0);
        for index in order_of_arrival(&fates) {
            let fate = &fates[index as usize];
            kernel_drops += u32::from(fate.kernel_drop);
            if fate.kept {
                let arrival = arrival(u64::from(start) + index, kernel_drops);
                prop_assert_eq!(live.observe(arrival), replayed.observe(arrival));
            } else {
                live.note_dropped_by_us(1);
                dropped_by_us += 1;
            }
            prop_assert!(balanced(&live.ledger()));
        }
        replayed.note_dropped_by_us(dropped_by_us);
        prop_assert_eq!(live.ledger(), replayed.ledger());
        prop_assert_eq!(live.ledger().dropped_by_us, dropped_by_us);
    }

    #[test]
    fn any_packets_keep_the_balance(packets in prop::collection::vec((any::<u8>(), any::<u16>(), any::<u32>()), 0..300)) {
        let mut builder = LedgerBuilder::new(8_000);
        for (ssrc, seq, kernel_drops) in packets {
            let ssrc = Ssrc(u32::from(ssrc > 250));
            builder.observe(Arrival { ssrc, ..arrival(u64::from(seq), kernel_drops) });
            let ledger = builder.ledger();
            prop_assert!(balanced(&ledger), "{:?}", ledger);
        }
    }
}
