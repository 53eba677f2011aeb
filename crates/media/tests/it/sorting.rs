//! What is no flow's packet is counted and goes nowhere.

use aimg_core::Direction;

use crate::rig::{Rig, Sender, flow_id, packet, packets, small, whole};

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_counted_and_in_no_flow() {
    let rig = Rig::new(small());
    let id = flow_id(1, Direction::Caller);
    let address = rig.media.open(rig.spec(id)).await.unwrap();
    let (ours, stranger) = (Sender::to(address), Sender::to(address));
    // Before the flow knows its source, everybody is a stranger.
    rig.send_all(&ours, &packets(7, 0..3)).await;
    rig.media.expect(id, ours.address()).await.unwrap();
    rig.send_all(&stranger, &packets(7, 3..8)).await;
    rig.send_all(&ours, &packets(7, 100..110)).await;
    let (closed, got) = rig.close(id).await;
    assert_eq!((closed.ledger, got), (whole(10), packets(7, 100..110)));
    // Afterwards too.
    rig.send_all(&ours, &packets(7, 110..112)).await;
    assert_eq!(rig.media.stats().shards[0].foreign, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_packets_of_a_flow_are_counted_by_reason() {
    let rig = Rig::new(small());
    let id = flow_id(1, Direction::Caller);
    let sender = rig.flow(id).await;
    let spoiled = |at: usize, byte: u8| {
        let mut bytes = packet(7, 0);
        bytes[at] = byte;
        bytes
    };
    let mut padded = spoiled(0, 0xa0);
    *padded.last_mut().unwrap() = 0;
    let bad = [
        Vec::new(),
        vec![0x80; 11],
        spoiled(0, 0x00),
        packet(7, 0)[..12].iter().copied().enumerate().map(|(i, b)| if i == 0 { 0x81 } else { b }).collect(),
        packet(7, 0)[..14].iter().copied().enumerate().map(|(i, b)| if i == 0 { 0x90 } else { b }).collect(),
        padded,
        spoiled(1, 8),
        spoiled(1, 101),
        [packet(7, 0), vec![0; 3_000]].concat(),
    ];
    rig.send_all(&sender, &bad).await;
    rig.send_all(&sender, &packets(7, 0..5)).await;
    let (closed, got) = rig.close(id).await;
    assert_eq!((closed.ledger, got), (whole(5), packets(7, 0..5)));
    let shard = &rig.media.stats().shards[0];
    assert_eq!(shard.malformed, [2, 1, 1, 1, 1]);
    assert_eq!((shard.wrong_payload_type, shard.truncated, shard.foreign), (2, 1, 0));
    assert_eq!(shard.packets, 14);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_counted_by_kind_and_costs_no_packet() {
    const REAL: u16 = 300;
    let rig = Rig::new(small());
    let id = flow_id(1, Direction::Caller);
    let ours = rig.flow(id).await;
    let stranger = Sender::to(rig.media.stats().shards[0].address);
    let other_payload_type = packets(7, [0]).into_iter().map(|mut p| (p[1] = 8, p).1).next().unwrap();
    let mut sent = 0;
    for real in packets(7, 0..REAL) {
        for n in 0..4 {
            stranger.send(&packet(9, n));
        }
        for _ in 0..3 {
            ours.send(&[0xFF; 172]);
            ours.send(&other_payload_type);
        }
        ours.send(&real);
        sent += 11;
        rig.until(|stats| stats.shards[0].packets == sent).await;
    }
    let (closed, got) = rig.close(id).await;
    assert_eq!((closed.ledger, got), (whole(REAL.into()), packets(7, 0..REAL)));
    let shard = &rig.media.stats().shards[0];
    let each = u64::from(REAL);
    assert_eq!((shard.foreign, shard.wrong_payload_type, shard.malformed.iter().sum()), (4 * each, 3 * each, 3 * each));
    assert_eq!((shard.kernel_dropped, shard.dropped_by_us), (0, 0));
}
