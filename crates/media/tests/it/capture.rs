//! What is sent is in the spool.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aimg_core::Direction;
use aimg_media::{Config, Event};
use aimg_rtp::Ledger;
use aimg_spool::{Reader, encoded_bytes};

use crate::rig::{Rig, assert_same, flow_id, packet, packets, small, whole};

#[tokio::test(flavor = "multi_thread")]
async fn every_packet_is_in_the_spool_byte_for_byte_over_many_chunks() {
    let rig = Rig::new(small());
    let id = flow_id(1, Direction::Caller);
    let sender = rig.flow(id).await;
    let sent = packets(7, (0..5_000).map(|i: u16| i.wrapping_add(65_000)));
    rig.send_all(&sender, &sent).await;
    let (closed, got) = rig.close(id).await;
    assert_same(&got, &sent);
    assert_eq!(closed.ledger, whole(5_000));
    assert!(closed.spool_bytes > 15 * (64 << 10));
    let shard = &rig.media.stats().shards[0];
    assert_eq!((shard.dropped_by_us, shard.kernel_dropped, shard.foreign), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_spool_holds_a_packet_before_the_flow_is_closed() {
    let rig = Rig::new(small());
    let id = flow_id(1, Direction::Caller);
    let sender = rig.flow(id).await;
    let sent = packets(7, 0..10);
    rig.send_all(&sender, &sent).await;
    // What another process would find if this one died here.
    let file = std::fs::read(rig.spool_path(id)).unwrap();
    assert_eq!(Reader::new(&file).unwrap().map(|r| r.packet.to_vec()).collect::<Vec<_>>(), sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_directions_share_a_port_and_never_mix() {
    let rig = Rig::new(Config { shards: 2, ..small() });
    let (caller, callee) = (flow_id(1, Direction::Caller), flow_id(1, Direction::Callee));
    let (from_caller, from_callee) = (rig.flow(caller).await, rig.flow(callee).await);
    // The same numbers and SSRC on purpose: only the source tells them apart.
    let (sent_by_caller, sent_by_callee) = (packets(1, 0..500), packets(1, 100..600));
    for (a, b) in sent_by_caller.chunks(20).zip(sent_by_callee.chunks(20)) {
        rig.send_all(&from_caller, a).await;
        rig.send_all(&from_callee, b).await;
    }
    assert_same(&rig.close(caller).await.1, &sent_by_caller);
    assert_same(&rig.close(callee).await.1, &sent_by_callee);
    let packets: Vec<_> = rig.media.stats().shards.iter().map(|s| s.packets).collect();
    assert!(packets.contains(&0), "one shard has both: {packets:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_and_disorder_are_kept_as_they_came() {
    let rig = Rig::new(small());
    let id = flow_id(1, Direction::Caller);
    let sender = rig.flow(id).await;
    let sent = packets(7, [10, 11, 13, 12, 12, 15, 40, 16, 9]);
    rig.send_all(&sender, &sent).await;
    let (closed, got) = rig.close(id).await;
    assert_same(&got, &sent);
    assert_eq!(
        closed.ledger,
        Ledger { expected: 32, received: 8, lost: 24, late: 2, duplicate: 1, ..Ledger::default() }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_ssrc_is_counted_and_kept() {
    let rig = Rig::new(small());
    let id = flow_id(1, Direction::Caller);
    let sender = rig.flow(id).await;
    let sent = [packets(7, 10..20), packets(8, 500..510)].concat();
    rig.send_all(&sender, &sent).await;
    let (closed, got) = rig.close(id).await;
    assert_same(&got, &sent);
    assert_eq!((closed.ledger, closed.facts.ssrc_changes), (whole(20), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn ipv6_is_received_as_ipv4_is() {
    for (bind, advertise) in [
        (IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)),
        // A socket for both families: IPv4 senders have mapped addresses there.
        (IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::LOCALHOST)),
    ] {
        let rig = Rig::new(Config { bind, advertise, ..small() });
        let id = flow_id(1, Direction::Caller);
        let sender = rig.flow(id).await;
        let sent = packets(7, 0..50);
        rig.send_all(&sender, &sent).await;
        assert_same(&rig.close(id).await.1, &sent);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_that_cannot_grow_costs_counted_packets_and_an_alarm() {
    let chunks = 2;
    let flow_bytes_max = 4_096 + chunks * 8_192;
    let mut rig = Rig::new(Config { chunk_bytes: 8_192, flow_bytes_max, ..small() });
    let id = flow_id(1, Direction::Caller);
    let sender = rig.flow(id).await;
    let room = chunks * (8_192 / encoded_bytes(packet(0, 0).len()) as u64);
    rig.send_all(&sender, &packets(7, 0..10)).await;
    assert!(matches!(rig.event().await, Event::Started { .. }));
    // One by one, so that the keeper has had its time.
    for packet in packets(7, 10..(room + 30) as u16) {
        rig.send_all(&sender, &[packet]).await;
    }
    let (mut stuck, mut dropped) = (false, false);
    while !(stuck && dropped) {
        match rig.event().await {
            Event::SpoolStuck { flow, reason } => {
                assert_eq!(flow, id);
                assert!(reason.contains("bound"), "{reason}");
                stuck = true;
            }
            Event::DroppedByUs { flow, dropped_by_us } => {
                assert!(flow == id && dropped_by_us > 0);
                dropped = true;
            }
            other => panic!("{other:?}"),
        }
    }
    let (closed, got) = rig.close(id).await;
    assert_same(&got, &packets(7, 0..room as u16));
    assert_eq!(closed.ledger, Ledger { expected: room + 30, received: room, dropped_by_us: 30, ..Ledger::default() });
    assert_eq!(rig.media.stats().shards[0].dropped_by_us, 30);
}
