//! A process dies in the middle of its flows, and another takes them over: not a packet is missing.

use aimg_core::Direction;

use crate::rig::{Rig, assert_same, flow_id, packet, packets, small, whole};

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_between_two_processes_is_kept() {
    let (mut rig, sockets) = Rig::with_heirs(small());
    let ids = Direction::BOTH.map(|direction| flow_id(1, direction));
    let senders = [rig.flow(ids[0]).await, rig.flow(ids[1]).await];
    // Over several chunks, three lives, and the sequence's wrap.
    let sent: Vec<Vec<Vec<u8>>> = (0..2).map(|d| packets(d, (64_000..=u16::MAX).chain(0..1_000))).collect();
    for life in 0..3 {
        let part = life * 800..(life + 1) * 800;
        for d in 0..2 {
            rig.send_all(&senders[d], &sent[d][part.start..part.end - 30]).await;
        }
        let last_words =
            || (0..2).for_each(|d| sent[d][part.end - 30..part.end].iter().for_each(|p| senders[d].send(p)));
        let resumed;
        (rig, resumed) = rig.dies(small(), &sockets, &ids, last_words);
        assert_eq!(resumed.iter().map(|r| r.flow).collect::<Vec<_>>(), ids);
        assert!(resumed.iter().all(|r| r.first_packet_at.is_some()));
    }
    for d in 0..2 {
        let (closed, kept) = rig.close(ids[d]).await;
        assert_same(&kept, &sent[d][..2_400]);
        assert_eq!(closed.ledger, whole(2_400));
    }
    assert_eq!(rig.media.stats().shards[0].foreign, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_that_expects_nobody_yet_is_not_gone_on_with() {
    let (rig, sockets) = Rig::with_heirs(small());
    let (known, unknown) = (flow_id(1, Direction::Caller), flow_id(2, Direction::Caller));
    let sender = rig.flow(known).await;
    rig.media.open(rig.spec(unknown)).await.unwrap();
    let (rig, resumed) = rig.dies(small(), &sockets, &[known, unknown, flow_id(3, Direction::Caller)], || {});
    assert_eq!(resumed.iter().map(|r| (r.flow, r.first_packet_at)).collect::<Vec<_>>(), [(known, None)]);
    assert!(rig.spool_path(unknown).exists());
    rig.send_all(&sender, &[packet(1, 1)]).await;
    assert_eq!(rig.close(known).await.0.ledger, whole(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_spool_is_left_as_it_is() {
    let (rig, sockets) = Rig::with_heirs(small());
    let id = flow_id(1, Direction::Caller);
    let sender = rig.flow(id).await;
    rig.send_all(&sender, &packets(1, 0..10)).await;
    let path = rig.live_path(id).unwrap();
    let mut bytes = Vec::new();
    let (rig, resumed) = rig.dies(small(), &sockets, &[id], || {
        bytes = std::fs::read(&path).unwrap();
        bytes[4_096 + 100] ^= 0xff;
        std::fs::write(&path, &bytes).unwrap();
    });
    assert!(resumed.is_empty());
    assert_eq!(std::fs::read(rig.live_path(id).unwrap()).unwrap(), bytes);
}
