//! Messages that arrive: once, at whom they are for, whoever else hangs.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aimg_outbound::{Error as HttpError, Refusal};
use aimg_store::{DeliveryState, PostgresPlace, Store};
use aimg_testbed::Postgres;
use aimg_webhooks::{Config, Failure, Message, make_secret};

use crate::fixture::{
    DEADLINE, OPERATOR, PATIENT, announce, courier, deliveries, dispatcher, eventually, impatient, key, settled,
    sqlite, tenant, webhook,
};
use crate::receiver::{Manner, Receiver};

#[tokio::test]
async fn a_receiver_that_hangs_delays_nobody_else() {
    const MESSAGES: usize = 40;
    let (_dir, _, store) = sqlite().await;
    let (acme, rival) = (tenant(&store, "acme").await, tenant(&store, "rival").await);
    let [hangs, also_hangs] = [Receiver::start(Manner::Hangs).await, Receiver::start(Manner::Hangs).await];
    let well = Receiver::start(Manner::Status(200)).await;
    for receiver in [&hangs, &also_hangs] {
        webhook(&store, acme, receiver.url()).await;
    }
    let (of_rival, _) = webhook(&store, rival, well.url()).await;
    announce(&store, acme, 0..MESSAGES).await;
    let dispatcher = dispatcher(&store, Config { sending_max: 10, ..impatient() }, PATIENT);
    hangs.wait_for(4).await;
    let began = Instant::now();
    announce(&store, rival, 0..MESSAGES).await;
    settled(&store, of_rival).await;
    assert!(began.elapsed() < PATIENT, "nobody waited for those that hang");
    let told: BTreeSet<String> = well.ids().into_iter().collect();
    assert_eq!((told.len(), well.ids().len()), (MESSAGES, MESSAGES), "each of them once");
    assert_eq!((hangs.ids().len(), also_hangs.ids().len()), (4, 4), "each fills its own places only");
    let observed = dispatcher.watch().observe();
    assert_eq!((observed.delivered, observed.failed), (MESSAGES as u64, 0));
    assert_eq!((observed.sending, observed.sending_max), (8, 10));
}

#[tokio::test]
async fn two_nodes_on_one_database_send_nothing_twice() {
    const MESSAGES: usize = 60;
    let server = Postgres::start().unwrap();
    let url = server.make_database("calls").unwrap();
    let config = || aimg_store::Config::postgres(PostgresPlace::from_url(&url).unwrap());
    let stores = [Store::open(config(), key()).await.unwrap(), Store::open(config(), key()).await.unwrap()];
    let acme = tenant(&stores[0], "acme").await;
    let receivers = [Receiver::start(Manner::Status(204)).await, Receiver::start(Manner::Status(204)).await];
    for receiver in &receivers {
        webhook(&stores[0], acme, receiver.url()).await;
    }
    announce(&stores[0], acme, 0..MESSAGES).await;
    let nodes = stores.each_ref().map(|store| dispatcher(store, impatient(), PATIENT));
    for receiver in &receivers {
        receiver.wait_for(MESSAGES).await;
    }
    eventually(DEADLINE, async || (stores[0].webhook_backlog().await.unwrap().pending == 0).then_some(())).await;
    for receiver in &receivers {
        let ids: BTreeSet<String> = receiver.ids().into_iter().collect();
        assert_eq!((ids.len(), receiver.ids().len()), (MESSAGES, MESSAGES));
    }
    let delivered = nodes.map(|node| node.watch().observe().delivered);
    assert!(delivered.iter().all(|count| *count > 0), "both have worked: {delivered:?}");
}

#[tokio::test]
async fn an_answer_without_an_end_is_an_answer() {
    let receiver = Receiver::start(Manner::Endless).await;
    let secrets = [make_secret()];
    let message = Message { url: &receiver.url(), secrets: &secrets, id: "one", body: "{}" };
    let answer = courier(PATIENT).send(message).await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, 4_096), "the rest is nobody's business");
}

#[tokio::test]
async fn private_addresses_are_refused_when_it_is_sent() {
    let secrets = [make_secret()];
    for (url, refusal) in [
        ("http://10.0.0.1/", Refusal::NotPublic("10.0.0.1".parse().unwrap())),
        ("ftp://127.0.0.1/", Refusal::Scheme("ftp".to_owned())),
    ] {
        let message = Message { url, secrets: &secrets, id: "one", body: "{}" };
        let refused = courier(PATIENT).send(message).await.unwrap_err();
        assert!(matches!(&refused, Failure::Http(HttpError::Refused(r)) if *r == refusal), "{refused:?}");
    }
}

#[tokio::test]
async fn what_was_delivered_is_replayed_under_its_id_and_removed_when_it_is_old() {
    let (_dir, _, store) = sqlite().await;
    let acme = tenant(&store, "acme").await;
    let receiver = Receiver::start(Manner::Status(204)).await;
    let (id, _) = webhook(&store, acme, receiver.url()).await;
    announce(&store, acme, 0..2).await;
    let first = dispatcher(&store, impatient(), PATIENT);
    receiver.wait_for(2).await;
    let delivered = settled(&store, id).await;
    assert!(delivered.iter().all(|d| d.state == DeliveryState::Delivered && d.last_status == Some(204)));
    store.replay_delivery(OPERATOR, id, delivered[1].id, aimg_webhooks::now()).await.unwrap();
    let received = receiver.wait_for(3).await;
    assert_eq!((received[2].id(), &received[2].body), (delivered[1].event_id.as_str(), &delivered[1].body));
    settled(&store, id).await;
    first.stop().await;

    let _second = dispatcher(&store, Config { retention: Duration::ZERO, ..impatient() }, PATIENT);
    eventually(DEADLINE, async || deliveries(&store, id).await.is_empty().then_some(())).await;
}
