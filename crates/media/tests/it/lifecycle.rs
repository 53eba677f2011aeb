//! Flows come and go, also under load; what cannot be is refused in words.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use aimg_core::Direction;
use aimg_media::{Config, Error, Event, Media};

use crate::rig::{DEADLINE, Rig, Sender, assert_same, flow_id, packet, packets, small, whole};

#[tokio::test(flavor = "multi_thread")]
async fn the_start_is_told_with_its_time_and_the_ledger_is_shown() {
    let mut rig = Rig::new(small());
    let id = flow_id(1, Direction::Caller);
    let before = rig.media.clock().now();
    let sender = rig.flow(id).await;
    sender.send(&packet(7, 1));
    let Event::Started { flow, first_packet_at } = rig.event().await else { panic!("not started") };
    assert_eq!(flow, id);
    assert!(first_packet_at >= before && first_packet_at <= rig.media.clock().now());

    rig.send_all(&sender, &packets(7, 2..4)).await;
    let begin = std::time::Instant::now();
    while rig.media.flow(id).unwrap().ledger != whole(3) {
        assert!(begin.elapsed() < DEADLINE);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(rig.media.flow(id).unwrap().first_packet_at, Some(first_packet_at));
    assert_eq!(rig.close(id).await.0.first_packet_at, Some(first_packet_at));
    assert_eq!(rig.media.flow(id), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_told() {
    let mut rig = Rig::new(Config { silence: Duration::from_millis(40), ..small() });
    let id = flow_id(1, Direction::Caller);
    let sender = rig.flow(id).await;
    sender.send(&packet(7, 1));
    assert!(matches!(rig.event().await, Event::Started { .. }));
    assert!(matches!(rig.event().await, Event::Silent { flow, .. } if flow == id));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_socket_at_the_close_is_the_flows() {
    let rig = Rig::new(small());
    for session in 0..20 {
        let id = flow_id(session, Direction::Caller);
        let sender = rig.flow(id).await;
        let sent = packets(session, 0..30);
        sent.iter().for_each(|packet| sender.send(packet));
        assert_same(&rig.close(id).await.1, &sent);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flows_come_and_go_while_others_receive() {
    // A chunk for five seconds of the load: the disk's speed is no part of this.
    let rig = Rig::new(Config { chunk_bytes: 1 << 20, ..small() });
    let steady = flow_id(1_000, Direction::Caller);
    let sender = rig.flow(steady).await;
    let stop = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(AtomicU64::new(0));
    let load = std::thread::spawn({
        let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
        move || {
            while !stop.load(Ordering::Relaxed) {
                let seq = sent.fetch_add(1, Ordering::Relaxed);
                sender.send(&packet(1, seq as u16));
                // A pace, nothing that the test's outcome hangs on.
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    for round in 0..10 {
        let ids: Vec<_> = (0..8).map(|i| flow_id(round * 8 + i, Direction::Callee)).collect();
        for id in &ids {
            let sender = rig.flow(*id).await;
            packets(2, 0..20).iter().for_each(|packet| sender.send(packet));
        }
        for id in ids {
            assert_same(&rig.close(id).await.1, &packets(2, 0..20));
        }
    }
    // The steady flow is closed while its packets keep coming.
    let (closed, _) = rig.close(steady).await;
    stop.store(true, Ordering::Relaxed);
    load.join().unwrap();
    assert!(closed.ledger.received > 0 && closed.ledger.received <= sent.load(Ordering::Relaxed));
    assert_eq!(closed.ledger.missing(), 0);
    assert_eq!(rig.media.stats().shards[0].flows, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_in_words() {
    let rig = Rig::new(Config { flows_max: 2, ..small() });
    let (one, two, three) =
        (flow_id(1, Direction::Caller), flow_id(2, Direction::Caller), flow_id(3, Direction::Caller));
    let sender = rig.flow(one).await;
    let said = |error: Error| error.to_string();

    assert!(said(rig.media.open(rig.spec(one)).await.unwrap_err()).contains("open already"));
    assert!(said(rig.media.expect(two, sender.address()).await.unwrap_err()).contains("not open"));
    assert!(said(rig.media.close(two).await.unwrap_err()).contains("not open"));

    rig.media.open(rig.spec(two)).await.unwrap();
    let taken = rig.media.expect(two, sender.address()).await.unwrap_err();
    assert!(matches!(&taken, Error::SourceTaken { owner, .. } if *owner == one), "{taken}");
    assert!(said(rig.media.open(rig.spec(three)).await.unwrap_err()).contains("all 2 flows"));

    // Once its owner is gone, the source is free.
    rig.media.close(one).await.unwrap();
    rig.media.expect(two, sender.address()).await.unwrap();
    rig.send_all(&sender, &packets(9, 0..4)).await;
    assert_eq!(rig.close(two).await.0.ledger, whole(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_that_cannot_be_made_leaves_no_flow() {
    let rig = Rig::new(small());
    let id = flow_id(1, Direction::Caller);
    let mut spec = rig.spec(id);
    std::fs::create_dir_all(spec.spool_path.parent().unwrap()).unwrap();
    std::fs::write(&spec.spool_path, b"another recording").unwrap();
    let error = rig.media.open(spec.clone()).await.unwrap_err().to_string();
    assert!(error.contains(&*spec.spool_path.to_string_lossy()), "{error}");
    assert_eq!(std::fs::read(&spec.spool_path).unwrap(), b"another recording");
    assert_eq!(rig.media.flow(id), None);

    spec.spool_path.set_file_name("free.spool");
    rig.media.open(spec).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named_with_the_cure() {
    let (media, _events) = Media::start(small()).unwrap();
    let address = media.stats().shards[0].address;
    let again = Config { port: address.port(), ..small() };
    let error = Media::start(again.clone()).unwrap_err();
    let sentence = error.to_string();
    assert!(matches!(error, Error::PortInUse { .. }), "{sentence}");
    for word in [&*address.port().to_string(), "127.0.0.1", "another media port"] {
        assert!(sentence.contains(word), "{sentence}");
    }
    // The last handle frees the port.
    drop(media);
    Media::start(again).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn flows_spread_over_shards() {
    let rig = Rig::new(Config { shards: 3, ..small() });
    let mut senders: Vec<Sender> = Vec::new();
    for session in 0..6 {
        for direction in Direction::BOTH {
            senders.push(rig.flow(flow_id(session, direction)).await);
        }
    }
    let flows: Vec<_> = rig.media.stats().shards.iter().map(|s| s.flows).collect();
    assert_eq!(flows, [4, 4, 4]);
}
