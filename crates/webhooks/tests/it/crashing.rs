//! What becomes of messages when the program dies before they are sent, or while they are.

use std::time::Duration;

use aimg_core::{
    AriLink, CallDirection, CallEvent, CallEventKind, CallState, Codec, SessionRow, TapMode, TenantId, Timestamp, Tls,
    Uniqueid,
};
use aimg_store::{Change, DeliveryState, NewPbx, Store};
use aimg_webhooks::Config;

use crate::fixture::{
    OPERATOR, PATIENT, announce, deliveries, dispatcher, impatient, key, settled, sqlite, tenant, webhook,
};
use crate::receiver::{Manner, Receiver};

/// A call that is detected, answered and over, as the gateway writes it.
async fn call(store: &Store, tenant: TenantId) -> Vec<Change> {
    let pbx = NewPbx {
        tenant: Some(tenant),
        name: "office".into(),
        host: "127.0.0.1".into(),
        ami_port: 5038,
        ami_tls: None,
        ami_user: "aimg".into(),
        ami_secret: "s".into(),
        ari_url: "http://127.0.0.1:8088/ari".into(),
        ari_tls: Tls::default(),
        ari_link: AriLink::Connect,
        ari_user: "aimg".into(),
        ari_password: "p".into(),
        ari_app: "aimg".into(),
        tap_mode: TapMode::Ami,
        codec: Codec::Ulaw,
        inbound_contexts: vec![],
    };
    let pbx = store.add_pbx(OPERATOR, pbx).await.unwrap().id;
    let row = SessionRow {
        id: "0198c1de-1111-7000-8000-000000000001".parse().unwrap(),
        tenant,
        pbx,
        uniqueid: Uniqueid::new("1.1"),
        linkedid: Uniqueid::new("1.1"),
        state: CallState::Ended,
        call_direction: CallDirection::Inbound,
        caller_number: None,
        dialled_number: None,
        context: None,
        started_at: Timestamp::from_micros(1),
        answered_at: None,
        ended_at: None,
        hangup_cause: None,
        node: "n1".parse().unwrap(),
        captured: true,
    };
    let event = |us, state| {
        let kind = CallEventKind::State { state };
        Change::Event(CallEvent { tenant, pbx, session: row.id, at: Timestamp::from_micros(us), kind })
    };
    let states = [CallState::Detected, CallState::Answered, CallState::Ended];
    let events = states.into_iter().zip(1..).map(|(state, us)| event(us, state));
    std::iter::once(Change::Session(Box::new(row.clone()))).chain(events.collect::<Vec<_>>()).collect()
}

#[tokio::test]
async fn what_was_committed_before_the_program_died_is_sent_by_the_next_one() {
    let (_dir, config, store) = sqlite().await;
    let acme = tenant(&store, "acme").await;
    let receiver = Receiver::start(Manner::FailsFirst(1)).await;
    let (id, _) = webhook(&store, acme, receiver.url()).await;
    let changes = call(&store, acme).await;
    store.apply(OPERATOR, &changes).await.unwrap();
    // Between commit and send nobody is there.
    store.close().await.unwrap();
    let store = Store::open(config, key()).await.unwrap();
    // The journal did not hear that it was committed, and writes it again.
    store.apply(OPERATOR, &changes).await.unwrap();
    let _dispatcher = dispatcher(&store, impatient(), PATIENT);
    settled(&store, id).await;
    let told: Vec<String> = receiver.ids().iter().map(|id| id.split("-0198").next().unwrap().to_owned()).collect();
    assert_eq!(
        told,
        ["call-detected", "call-detected", "call-answered", "call-ended"],
        "in order, the first one twice"
    );
}

#[tokio::test]
async fn what_was_under_way_when_the_program_died_is_sent_again_when_its_claim_is_over() {
    let (_dir, _, store) = sqlite().await;
    let acme = tenant(&store, "acme").await;
    let receiver = Receiver::start(Manner::Hangs).await;
    let (id, _) = webhook(&store, acme, receiver.url()).await;
    announce(&store, acme, 0..1).await;
    let lease = Duration::from_secs(2);
    let dying = dispatcher(&store, Config { lease, ..impatient() }, PATIENT);
    let first = receiver.wait_for(1).await.remove(0);
    drop(dying);
    receiver.behaves(Manner::Status(204));
    let _next = dispatcher(&store, Config { lease, ..impatient() }, PATIENT);
    let [delivery] = &settled(&store, id).await[..] else { panic!("one") };
    assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Delivered, 2));
    let received = receiver.received();
    assert_eq!((received.len(), received[1].id()), (2, first.id()), "the same message");
    assert!(received[1].at - first.at > lease / 2, "not before its claim was over");
}

#[tokio::test]
async fn a_stop_lets_messages_arrive_that_are_under_way() {
    let (_dir, _, store) = sqlite().await;
    let acme = tenant(&store, "acme").await;
    let receiver = Receiver::start(Manner::Status(204)).await;
    let (id, _) = webhook(&store, acme, receiver.url()).await;
    announce(&store, acme, 0..4).await;
    let dispatcher = dispatcher(&store, impatient(), PATIENT);
    receiver.wait_for(1).await;
    dispatcher.stop().await;
    let after = deliveries(&store, id).await;
    let settled = after.iter().filter(|d| d.state == DeliveryState::Delivered).count();
    assert_eq!(settled, receiver.ids().len(), "what was received is known to be: {after:?}");
}
