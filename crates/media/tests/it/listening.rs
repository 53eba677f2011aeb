//! Who listens hears what is spooled, from where it joined, and costs nobody anything.

use std::time::Instant;

use aimg_core::Direction;
use aimg_media::{Error, Heard, LISTENERS_MAX, Listener, Sound};

use crate::rig::{DEADLINE, Rig, assert_same, flow_id, packet, packets, small, whole};

/// What comes until so many packets were heard, or the flow has ended.
async fn hear(listener: &mut Listener, count: usize) -> Vec<(Heard, u64, Vec<u8>)> {
    let begin = Instant::now();
    let (mut all, mut payload) = (Vec::new(), Vec::new());
    while all.len() < count {
        match listener.next(&mut payload) {
            Sound::Packet { heard, skipped } => all.push((heard, skipped, payload.clone())),
            Sound::Ended => break,
            Sound::Nothing => {
                assert!(begin.elapsed() < DEADLINE, "heard {}, not {count}", all.len());
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        }
    }
    all
}

fn payloads(heard: &[(Heard, u64, Vec<u8>)]) -> Vec<Vec<u8>> {
    heard.iter().map(|(_, _, payload)| payload.clone()).collect()
}

fn positions(heard: &[(Heard, u64, Vec<u8>)]) -> Vec<u64> {
    heard.iter().map(|(heard, ..)| heard.position).collect()
}

fn bodies(sent: &[Vec<u8>]) -> Vec<Vec<u8>> {
    sent.iter().map(|packet| packet[12..].to_vec()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_hears_what_is_spooled_with_its_place_and_its_gaps() {
    let rig = Rig::new(small());
    let id = flow_id(1, Direction::Caller);
    let sender = rig.flow(id).await;
    rig.send_all(&sender, &packets(7, 10..15)).await;
    let mut listener = rig.media.listen(id).await.unwrap();
    // One was lost, one came twice, two changed their places.
    let sent = packets(7, [15, 17, 17, 19, 18, 20]);
    rig.send_all(&sender, &sent).await;
    let heard = hear(&mut listener, 5).await;
    let kept = [0, 1, 3, 4, 5].map(|n: usize| sent[n].clone());
    assert_same(&payloads(&heard), &bodies(&kept));
    assert_eq!(positions(&heard), [5, 7, 9, 8, 10].map(|packets| packets * 160));
    let shown = rig.media.flow(id).unwrap();
    assert!(heard.iter().all(|(heard, skipped, _)| *skipped == 0 && Some(heard.began_at) >= shown.began_at));
    let (closed, _) = rig.close(id).await;
    assert_eq!(closed.first_packet_at.map(|at| at >= heard[0].0.began_at), Some(true));
    assert!(hear(&mut listener, 1).await.is_empty(), "it ends with the flow");
    assert!(matches!(rig.media.listen(id).await, Err(Error::UnknownFlow { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_listen_any_more_costs_nobody_a_packet() {
    let rig = Rig::new(small());
    let id = flow_id(1, Direction::Caller);
    let sender = rig.flow(id).await;
    let mut asleep = rig.media.listen(id).await.unwrap();
    let mut awake = rig.media.listen(id).await.unwrap();
    let sent = packets(7, 0..2_000);
    for part in sent.chunks(100) {
        rig.send_all(&sender, part).await;
        assert_same(&payloads(&hear(&mut awake, part.len()).await), &bodies(part));
    }
    let (closed, spooled) = rig.close(id).await;
    assert_eq!(closed.ledger, whole(2_000));
    assert_same(&spooled, &sent);
    let heard = hear(&mut asleep, usize::MAX).await;
    assert_same(&payloads(&heard), &bodies(&sent[1_999..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_has_so_many_listeners_and_no_more() {
    let rig = Rig::new(small());
    let id = flow_id(1, Direction::Caller);
    rig.flow(id).await;
    let mut listeners = Vec::new();
    for _ in 0..LISTENERS_MAX {
        listeners.push(rig.media.listen(id).await.unwrap());
    }
    assert!(matches!(rig.media.listen(id).await, Err(Error::ListenersFull { .. })));
    listeners.pop();
    rig.media.listen(id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_that_was_taken_over_is_heard_where_it_stands() {
    let (rig, sockets) = Rig::with_heirs(small());
    let id = flow_id(1, Direction::Caller);
    let sender = rig.flow(id).await;
    rig.send_all(&sender, &packets(7, 0..10)).await;
    let mut before = rig.media.listen(id).await.unwrap();
    let (heir, resumed) = rig.dies(small(), &sockets, &[id], || {});
    assert_eq!(resumed.len(), 1);
    assert!(hear(&mut before, 1).await.is_empty(), "who listened to the dead process hears its end");
    let mut listener = heir.media.listen(id).await.unwrap();
    sender.send(&packet(7, 10));
    assert_eq!(positions(&hear(&mut listener, 1).await), [1_600]);
}
