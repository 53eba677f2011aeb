//! Messages that do not arrive at once, or never.

use std::collections::BTreeSet;
use std::time::Duration;

use aimg_core::TenantScope;
use aimg_store::DeliveryState;
use aimg_webhooks::Config;

use crate::fixture::{
    DEADLINE, OPERATOR, PATIENT, announce, dispatcher, eventually, impatient, settled, sqlite, tenant, webhook,
};
use crate::receiver::{Manner, Receiver};

#[tokio::test]
async fn a_message_is_sent_again_until_it_arrives() {
    let (_dir, _, store) = sqlite().await;
    let acme = tenant(&store, "acme").await;
    let receiver = Receiver::start(Manner::FailsFirst(2)).await;
    let (id, _) = webhook(&store, acme, receiver.url()).await;
    announce(&store, acme, 0..1).await;
    let dispatcher = dispatcher(&store, impatient(), PATIENT);
    let received = receiver.wait_for(3).await;
    let [delivery] = &settled(&store, id).await[..] else { panic!("one") };
    assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Delivered, 3));
    assert_eq!((delivery.last_status, &delivery.last_error), (Some(204), &None));
    assert_eq!(receiver.ids(), ["pbx-up-0"; 3], "the same message");
    assert!(received.iter().all(|r| r.body == delivery.body && r.path == "/hook"));
    assert!(received.is_sorted_by_key(|r| r.at));
    let observed = dispatcher.watch().observe();
    assert_eq!((observed.delivered, observed.failed, observed.gave_up), (1, 2, 0));
    assert_eq!(store.webhook(OPERATOR, id).await.unwrap().failing_since, None);
}

#[tokio::test]
async fn what_never_arrives_is_given_up_and_says_why() {
    for (manner, status, words) in [
        (Manner::Status(500), Some(500), "it answered 500"),
        (Manner::Redirects, Some(302), "redirects are not followed"),
        (Manner::Hangs, None, "no answer in time"),
    ] {
        let (_dir, _, store) = sqlite().await;
        let acme = tenant(&store, "acme").await;
        let receiver = Receiver::start(manner).await;
        let (id, _) = webhook(&store, acme, receiver.url()).await;
        announce(&store, acme, 0..1).await;
        let dispatcher = dispatcher(&store, impatient(), Duration::from_millis(200));
        let [delivery] = &settled(&store, id).await[..] else { panic!("one") };
        assert_eq!((delivery.state, delivery.attempts), (DeliveryState::GaveUp, 6), "{manner:?}");
        assert_eq!(delivery.last_status, status, "{manner:?}");
        assert!(delivery.last_error.as_ref().is_some_and(|e| e.contains(words)), "{:?}", delivery.last_error);
        assert!(receiver.received().iter().all(|r| r.path == "/hook"), "nothing went elsewhere");
        let webhook = store.webhook(OPERATOR, id).await.unwrap();
        assert!(webhook.enabled && webhook.failing_since.is_some(), "it is not disabled after so short a time");
        assert_eq!(dispatcher.watch().observe().gave_up, 1);

        receiver.behaves(Manner::Status(200));
        let since = delivery.created_at;
        assert_eq!(store.replay_deliveries(OPERATOR, id, since, false, aimg_webhooks::now()).await.unwrap(), 1);
        let [delivery] = &settled(&store, id).await[..] else { panic!("one") };
        assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Delivered, 1), "{manner:?}");
        let ids: BTreeSet<String> = receiver.ids().into_iter().collect();
        assert_eq!(ids.len(), 1);
    }
}

#[tokio::test]
async fn a_webhook_that_nothing_reaches_is_disabled() {
    let cases = [
        // As if it had failed for days.
        (Manner::Status(503), Duration::ZERO, 5, "no message has arrived since"),
        (Manner::Status(410), Config::default().disable_after, 1, "410 Gone"),
    ];
    for (manner, disable_after, attempts, words) in cases {
        let (_dir, _, store) = sqlite().await;
        let acme = tenant(&store, "acme").await;
        let receiver = Receiver::start(manner).await;
        let (id, _) = webhook(&store, acme, receiver.url()).await;
        announce(&store, acme, 0..1).await;
        let dispatcher = dispatcher(&store, Config { disable_after, ..impatient() }, PATIENT);
        let disabled = eventually(DEADLINE, async || {
            let webhook = store.webhook(OPERATOR, id).await.unwrap();
            (!webhook.enabled).then_some(webhook)
        })
        .await;
        assert!(disabled.disabled_reason.as_ref().is_some_and(|r| r.contains(words)), "{disabled:?}");
        assert_eq!(receiver.received().len(), attempts, "{manner:?}");
        let log = store.audit_log(TenantScope::Tenant(acme), aimg_store::AuditFilter::default()).await.unwrap();
        assert_eq!(log.iter().map(|e| e.action.as_str()).collect::<Vec<_>>(), ["webhook.disable"]);
        eventually(DEADLINE, async || (dispatcher.watch().observe().disabled == 1).then_some(())).await;
    }
}
