//! A store with tenants and webhooks, and dispatchers that do not wait for days.

use std::time::Duration;

use aimg_core::{DataKey, TenantId, TenantScope, Timestamp, WebhookEvent, WebhookId};
use aimg_outbound::{Client, Policy};
use aimg_store::{Announcement, Delivery, DeliveryFilter, NewWebhook, Store};
use aimg_webhooks::{Config, Courier, Dispatcher, Schedule, make_secret};
use secrecy::SecretString;
use serde_json::json;
use tempfile::TempDir;

pub(crate) const OPERATOR: TenantScope = TenantScope::Operator;
/// How long anything may take on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
/// How long an answer may take where a test does not wait for that.
pub(crate) const PATIENT: Duration = Duration::from_secs(20);

pub(crate) fn key() -> DataKey {
    DataKey::derive(b"key")
}

/// Waits until `look` finds something.
pub(crate) async fn eventually<T>(within: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + within;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "it did not happen within {within:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) async fn sqlite() -> (TempDir, aimg_store::Config, Store) {
    let dir = tempfile::tempdir().unwrap();
    let config = aimg_store::Config::sqlite(dir.path().join("aimg.db"));
    let store = Store::open(config.clone(), key()).await.unwrap();
    (dir, config, store)
}

pub(crate) async fn tenant(store: &Store, name: &str) -> TenantId {
    store.add_tenant(OPERATOR, name, "all".into()).await.unwrap().id
}

/// A webhook at this address that is told everything, and its secret.
pub(crate) async fn webhook(store: &Store, tenant: TenantId, url: String) -> (WebhookId, SecretString) {
    let secret = make_secret();
    let new = NewWebhook {
        tenant,
        url,
        description: String::new(),
        events: WebhookEvent::ALL.to_vec(),
        secret: secret.clone(),
    };
    (store.add_webhook(OPERATOR, new).await.unwrap().id, secret)
}

/// Leaves messages `first`, `first + 1` and so on to a tenant's webhooks.
pub(crate) async fn announce(store: &Store, tenant: TenantId, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let told = Announcement {
            tenant,
            event: WebhookEvent::PbxUp,
            id: format!("pbx-up-{number}"),
            at: Timestamp::default(),
            session: None,
            data: json!({ "number": number, "name": "Café – \u{1F4DE}" }),
        };
        store.announce(OPERATOR, &told).await.unwrap();
    }
}

pub(crate) fn courier(timeout: Duration) -> Courier {
    let policy = Policy { allowed: vec!["127.0.0.0/8".parse().unwrap()], allow_http: true };
    let config = aimg_outbound::Config { connect_timeout: timeout, timeout };
    Courier::new(Client::new(policy, config).unwrap())
}

/// Tries again at once, five times.
pub(crate) fn impatient() -> Config {
    let schedule = Schedule::new(vec![Duration::from_millis(20); 5]);
    Config { schedule, lease: Duration::from_secs(60), ..Config::default() }
}

pub(crate) fn dispatcher(store: &Store, config: Config, timeout: Duration) -> Dispatcher {
    Dispatcher::start(config, store.clone(), courier(timeout))
}

/// The deliveries of a webhook, oldest first.
pub(crate) async fn deliveries(store: &Store, webhook: WebhookId) -> Vec<Delivery> {
    let mut found = store.deliveries(OPERATOR, webhook, DeliveryFilter::default()).await.unwrap();
    found.reverse();
    found
}

/// Waits until none of a webhook's deliveries is pending.
pub(crate) async fn settled(store: &Store, webhook: WebhookId) -> Vec<Delivery> {
    eventually(DEADLINE, async || {
        let found = deliveries(store, webhook).await;
        let all_settled = found.iter().all(|d| d.state != aimg_store::DeliveryState::Pending);
        all_settled.then_some(found)
    })
    .await
}
