//! Webhooks, what is left for them, and how it is worked off.

use std::time::Duration;

use aimg_core::{
    CallEventKind, CallState, DataKey, DeliveryId, FailReason, SessionRow, TenantId, TenantScope, Timestamp,
    WebhookEvent, WebhookId,
};
use aimg_store::{
    Announcement, Attempt, Change, Delivery, DeliveryFilter, DeliveryState, DueWebhook, Error, NewWebhook, Next,
    PendingDelivery, Settled, Store, WEBHOOKS_MAX, WebhookBacklog, WebhookChange, WorkOrder,
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::fixture::{Db, OPERATOR, at, changes_of, event, recording, session};

conformance! {
    webhooks_are_added_changed_and_removed,
    webhooks_stay_in_their_tenant,
    a_tenant_has_a_bounded_number_of_webhooks,
    secrets_are_sealed_and_two_are_good_while_they_are_changed,
    a_call_is_told_to_whom_asks_for_it,
    what_is_refused_is_not_told,
    an_event_written_again_is_told_once,
    other_happenings_are_told_once,
    what_is_due_is_taken_once_and_again_when_its_time_is_over,
    messages_about_a_call_wait_for_each_other,
    an_outcome_is_written_and_counts_once,
    a_webhook_that_fails_is_disabled_with_an_entry,
    deliveries_are_listed_shown_and_replayed,
    old_deliveries_are_removed,
}

const LEASE: Duration = Duration::from_secs(60);
const SECRET: &str = "whsec_in-clear";

fn new_webhook(tenant: TenantId, events: &[WebhookEvent]) -> NewWebhook {
    NewWebhook {
        tenant,
        url: "https://example.org/hook".to_owned(),
        description: "the CRM".to_owned(),
        events: events.to_vec(),
        secret: SECRET.into(),
    }
}

fn announcement(tenant: TenantId, id: &str) -> Announcement {
    Announcement {
        tenant,
        event: WebhookEvent::PbxDown,
        id: id.to_owned(),
        at: at(5),
        session: None,
        data: json!({"pbx": "office"}),
    }
}

/// A moment at which all that was made in a test is due.
fn later(seconds: u64) -> Timestamp {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::default() + now + Duration::from_secs(seconds)
}

/// A row in each table of this file.
pub(crate) async fn fill(db: &Db, tenant: TenantId) {
    db.store.add_webhook(OPERATOR, new_webhook(tenant, &WebhookEvent::ALL)).await.unwrap();
    assert_eq!(db.store.announce(OPERATOR, &announcement(tenant, "filled")).await.unwrap(), 1);
}

async fn hook(db: &Db, tenant: TenantId, events: &[WebhookEvent]) -> WebhookId {
    db.store.add_webhook(OPERATOR, new_webhook(tenant, events)).await.unwrap().id
}

async fn all(store: &Store, webhook: WebhookId) -> Vec<Delivery> {
    let mut deliveries = store.deliveries(OPERATOR, webhook, DeliveryFilter::default()).await.unwrap();
    deliveries.reverse();
    deliveries
}

async fn events_of(store: &Store, webhook: WebhookId) -> Vec<WebhookEvent> {
    all(store, webhook).await.iter().map(|d| d.event).collect()
}

async fn take(store: &Store, webhook: WebhookId, now: Timestamp) -> Vec<PendingDelivery> {
    let order = store.take_deliveries(webhook, now, LEASE, 100).await.unwrap();
    order.map_or_else(Vec::new, |order| order.deliveries)
}

fn failed(at: Timestamp, next: Next) -> Attempt {
    Attempt { at, status: Some(500), error: Some("it answered 500".to_owned()), next }
}

fn arrived(at: Timestamp) -> Attempt {
    Attempt { at, status: Some(204), error: None, next: Next::Delivered }
}

/// A call from its first channel to its recording.
fn whole_call(row: &SessionRow) -> Vec<Change> {
    let state = |us, state| Change::Event(event(row, us, CallEventKind::State { state }));
    vec![
        Change::Session(Box::new(row.clone())),
        state(1, CallState::Detected),
        state(2, CallState::Ringing),
        state(3, CallState::Answered),
        state(4, CallState::Capturing),
        Change::Session(Box::new(SessionRow {
            state: CallState::Ended,
            ended_at: Some(at(5)),
            hangup_cause: Some(16),
            ..row.clone()
        })),
        state(5, CallState::Ended),
        Change::Recording(recording(row, 0)),
        Change::Event(event(row, 6, CallEventKind::RecordingReady { part: 0, complete: true })),
        Change::Event(event(row, 7, CallEventKind::RecordingFailed { part: 1, reason: "disk full".to_owned() })),
    ]
}

async fn webhooks_are_added_changed_and_removed(db: Db) {
    let (tenant, _) = db.tenant_with_pbx("acme").await;
    let store = &db.store;
    let added = store.add_webhook(OPERATOR, new_webhook(tenant, &[WebhookEvent::CallEnded])).await.unwrap();
    assert!(added.enabled && added.version == 1);
    assert_eq!(store.webhook(OPERATOR, added.id).await.unwrap(), added);
    let second = hook(&db, tenant, &WebhookEvent::ALL).await;
    let ids = |list: Vec<aimg_store::Webhook>| list.into_iter().map(|w| w.id).collect::<Vec<_>>();
    assert_eq!(ids(store.webhooks(OPERATOR, None, None, 10).await.unwrap()), [second, added.id]);
    assert_eq!(ids(store.webhooks(OPERATOR, None, Some(second), 10).await.unwrap()), [added.id]);
    assert_eq!(ids(store.webhooks(OPERATOR, Some(tenant), None, 1).await.unwrap()), [second]);

    let change = WebhookChange { events: Some(vec![WebhookEvent::PbxUp]), ..WebhookChange::default() };
    let changed = store.change_webhook(OPERATOR, added.id, Some(1), change.clone()).await.unwrap();
    assert_eq!((changed.version, changed.events.as_slice()), (2, &[WebhookEvent::PbxUp][..]));
    assert_eq!((changed.url, changed.description), (added.url, added.description), "what is not named stays");
    let stale = store.change_webhook(OPERATOR, added.id, Some(1), change).await;
    assert!(matches!(stale, Err(Error::Stale { .. })), "{stale:?}");

    store.announce(OPERATOR, &announcement(tenant, "one")).await.unwrap();
    store.remove_webhook(OPERATOR, second).await.unwrap();
    assert!(matches!(store.remove_webhook(OPERATOR, second).await, Err(Error::NotFound { .. })));
    let lists = store.deliveries(OPERATOR, second, DeliveryFilter::default()).await;
    assert!(matches!(lists, Err(Error::NotFound { .. })));
    assert_eq!(store.webhook_backlog().await.unwrap().pending, 0, "its deliveries are gone with it");
}

async fn webhooks_stay_in_their_tenant(db: Db) {
    let (tenant, _) = db.tenant_with_pbx("acme").await;
    let (other, _) = db.tenant_with_pbx("rival").await;
    let (own, theirs) = (TenantScope::Tenant(tenant), TenantScope::Tenant(other));
    let store = &db.store;
    let webhook = store.add_webhook(own, new_webhook(tenant, &WebhookEvent::ALL)).await.unwrap().id;
    store.announce(own, &announcement(tenant, "one")).await.unwrap();
    let id = all(store, webhook).await[0].id;
    assert_eq!(store.webhooks(own, None, None, 10).await.unwrap().len(), 1);
    assert_eq!(store.webhooks(theirs, None, None, 10).await.unwrap(), []);
    assert_eq!(store.webhooks(theirs, Some(tenant), None, 10).await.unwrap(), []);
    let filter = DeliveryFilter::default();
    let refused = [
        store.webhook(theirs, webhook).await.map(drop),
        store.webhook_secrets(theirs, webhook, at(0)).await.map(drop),
        store.change_webhook(theirs, webhook, None, WebhookChange::default()).await.map(drop),
        store.rotate_webhook_secret(theirs, webhook, None, SECRET.into(), at(0)).await.map(drop),
        store.remove_webhook(theirs, webhook).await,
        store.deliveries(theirs, webhook, filter).await.map(drop),
        store.delivery(theirs, webhook, id).await.map(drop),
        store.replay_delivery(theirs, webhook, id, at(0)).await.map(drop),
        store.replay_deliveries(theirs, webhook, at(0), true, at(0)).await.map(drop),
        store.add_webhook(theirs, new_webhook(tenant, &[])).await.map(drop),
        store.announce(theirs, &announcement(tenant, "two")).await.map(drop),
    ];
    for refused in refused {
        assert!(matches!(refused, Err(Error::NotFound { .. })), "{refused:?}");
    }
    let kept = store.webhook(own, webhook).await.unwrap();
    assert_eq!((kept.version, all(store, webhook).await.len()), (1, 1), "nothing was changed");
}

async fn a_tenant_has_a_bounded_number_of_webhooks(db: Db) {
    let (tenant, _) = db.tenant_with_pbx("acme").await;
    let (other, _) = db.tenant_with_pbx("rival").await;
    for _ in 0..WEBHOOKS_MAX {
        hook(&db, tenant, &[]).await;
    }
    let more = db.store.add_webhook(OPERATOR, new_webhook(tenant, &[])).await;
    assert!(matches!(more, Err(Error::TooMany { .. })), "{more:?}");
    hook(&db, other, &[]).await;
}

async fn secrets_are_sealed_and_two_are_good_while_they_are_changed(db: Db) {
    let (tenant, _) = db.tenant_with_pbx("acme").await;
    let store = &db.store;
    let webhook = hook(&db, tenant, &[]).await;
    let secrets = async |at| {
        let secrets = store.webhook_secrets(OPERATOR, webhook, at).await.unwrap();
        secrets.iter().map(|s| s.expose_secret().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(secrets(at(0)).await, [SECRET]);
    let rotated = store.rotate_webhook_secret(OPERATOR, webhook, Some(1), "second".into(), at(10)).await.unwrap();
    assert_eq!((rotated.version, rotated.old_secret_until), (2, Some(at(10))));
    assert_eq!(secrets(at(9)).await, ["second", SECRET]);
    assert_eq!(secrets(at(10)).await, ["second"]);
    let stranger = Store::open(db.config.clone(), DataKey::derive(b"another")).await.unwrap();
    assert!(matches!(stranger.webhook_secrets(OPERATOR, webhook, at(0)).await, Err(Error::Secret(_))));
    db.run_sql("UPDATE webhooks SET secret = old_secret").await;
    let moved = store.webhook_secrets(OPERATOR, webhook, at(0)).await;
    assert!(matches!(moved, Err(Error::Secret(_))), "a sealed value opens in its own column");
}

async fn a_call_is_told_to_whom_asks_for_it(db: Db) {
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    let (other, _) = db.tenant_with_pbx("rival").await;
    let store = &db.store;
    let everything = hook(&db, tenant, &WebhookEvent::ALL).await;
    let ends = hook(&db, tenant, &[WebhookEvent::CallEnded]).await;
    let disabled = hook(&db, tenant, &WebhookEvent::ALL).await;
    let off = WebhookChange { enabled: Some(false), ..WebhookChange::default() };
    store.change_webhook(OPERATOR, disabled, None, off).await.unwrap();
    let stranger = hook(&db, other, &WebhookEvent::ALL).await;
    let row = session(tenant, pbx, 1);
    store.apply(OPERATOR, &whole_call(&row)).await.unwrap();

    use WebhookEvent::{CallAnswered, CallDetected, CallEnded, RecordingFailed, RecordingReady};
    assert_eq!(
        events_of(store, everything).await,
        [CallDetected, CallAnswered, CallEnded, RecordingReady, RecordingFailed]
    );
    assert_eq!(events_of(store, ends).await, [CallEnded]);
    for silent in [disabled, stranger] {
        assert_eq!(events_of(store, silent).await, []);
    }
    let deliveries = all(store, everything).await;
    assert!(deliveries.iter().all(|d| d.session == Some(row.id) && d.state == DeliveryState::Pending));
    let body = |n: usize| serde_json::from_str::<Value>(&deliveries[n].body).unwrap();
    assert_eq!(body(0)["type"], "call.detected");
    assert_eq!(body(0)["timestamp"], at(1).to_string());
    assert_eq!(body(0)["tenant"], tenant.to_string());
    assert_eq!(body(0)["id"], deliveries[0].event_id);
    assert_eq!(body(0)["data"]["session"]["caller_number"], "4930123456");
    assert_eq!(body(0)["data"]["session"]["ended_at"], Value::Null, "as it was known then");
    assert_eq!(body(2)["data"]["session"]["hangup_cause"], 16);
    assert_eq!(body(2)["data"]["session"]["state"], "ended");
    assert_eq!(body(3)["data"]["recording"]["duration_ms"], 4_000);
    assert_eq!(body(4)["data"]["recording"], json!({"part": 1, "reason": "disk full"}));
    assert!(deliveries.iter().all(|d| !d.event_id.contains('.')), "a dot ends the id where messages are signed");
    let of_ends = all(store, ends).await;
    assert_eq!(of_ends[0].event_id, deliveries[2].event_id, "the same happening has one id");
    assert_eq!(of_ends[0].body, deliveries[2].body);
}

async fn what_is_refused_is_not_told(db: Db) {
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    let webhook = hook(&db, tenant, &WebhookEvent::ALL).await;
    let mut changes = whole_call(&session(tenant, pbx, 1));
    let nobody = session(tenant, pbx, 2);
    changes.push(Change::Event(event(&nobody, 1, CallEventKind::Lost { reason: FailReason::PbxRestarted })));
    assert!(matches!(db.store.apply(OPERATOR, &changes).await, Err(Error::NotFound { .. })));
    assert_eq!(events_of(&db.store, webhook).await, []);
}

async fn an_event_written_again_is_told_once(db: Db) {
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    let webhook = hook(&db, tenant, &WebhookEvent::ALL).await;
    let changes = whole_call(&session(tenant, pbx, 1));
    db.store.apply(OPERATOR, &changes).await.unwrap();
    let first = all(&db.store, webhook).await;
    db.store.apply(OPERATOR, &changes).await.unwrap();
    // The same happening as another row: the end of a call that two nodes have seen.
    let again = event(&session(tenant, pbx, 1), 99, CallEventKind::State { state: CallState::Ended });
    db.store.apply(OPERATOR, &[Change::Event(again)]).await.unwrap();
    assert_eq!(all(&db.store, webhook).await, first);
}

async fn other_happenings_are_told_once(db: Db) {
    let (tenant, _) = db.tenant_with_pbx("acme").await;
    let store = &db.store;
    let webhook = hook(&db, tenant, &[WebhookEvent::PbxDown]).await;
    let told = announcement(tenant, "pbx-down-1");
    assert_eq!(store.announce(OPERATOR, &told).await.unwrap(), 1);
    assert_eq!(store.announce(OPERATOR, &told).await.unwrap(), 0);
    store.apply(OPERATOR, &[Change::Announcement(Box::new(told.clone()))]).await.unwrap();
    store.apply(OPERATOR, &[Change::Announcement(Box::new(announcement(tenant, "pbx-down-2")))]).await.unwrap();
    let ids: Vec<_> = all(store, webhook).await.into_iter().map(|d| d.event_id).collect();
    assert_eq!(ids, ["pbx-down-1", "pbx-down-2"]);
    let unasked = Announcement { event: WebhookEvent::PbxUp, ..announcement(tenant, "pbx-up-1") };
    assert_eq!(store.announce(OPERATOR, &unasked).await.unwrap(), 0);
    assert_eq!(told.body(), all(store, webhook).await[0].body);
}

async fn what_is_due_is_taken_once_and_again_when_its_time_is_over(db: Db) {
    let (tenant, _) = db.tenant_with_pbx("acme").await;
    let store = &db.store;
    let (webhook, idle) = (hook(&db, tenant, &WebhookEvent::ALL).await, hook(&db, tenant, &[]).await);
    for n in 0..3 {
        store.announce(OPERATOR, &announcement(tenant, &n.to_string())).await.unwrap();
    }
    let now = later(1);
    assert_eq!(store.due_webhooks(at(0)).await.unwrap(), [], "nothing is due before it was made");
    assert_eq!(store.due_webhooks(now).await.unwrap(), [DueWebhook { id: webhook, tenant, is_failing: false }]);
    assert!(store.take_deliveries(idle, now, LEASE, 10).await.unwrap().is_none());
    let WorkOrder { url, secrets, deliveries } = store.take_deliveries(webhook, now, LEASE, 2).await.unwrap().unwrap();
    assert_eq!((url.as_str(), secrets[0].expose_secret()), ("https://example.org/hook", SECRET));
    assert_eq!(deliveries.iter().map(|d| (d.event_id.as_str(), d.attempt)).collect::<Vec<_>>(), [("0", 1), ("1", 1)]);
    let rest = take(store, webhook, now).await;
    assert_eq!(rest.iter().map(|d| d.event_id.as_str()).collect::<Vec<_>>(), ["2"]);
    assert_eq!(store.due_webhooks(now).await.unwrap(), [], "all are taken");

    let lease_over = now + LEASE;
    let again = take(store, webhook, lease_over).await;
    assert_eq!(
        again.iter().map(|d| (d.event_id.as_str(), d.attempt)).collect::<Vec<_>>(),
        [("0", 2), ("1", 2), ("2", 2)]
    );
    assert_eq!(store.settle_delivery(&rest[0], &arrived(now)).await.unwrap(), Settled::TooLate);
    assert_eq!(all(store, webhook).await[2].state, DeliveryState::Pending);

    let off = WebhookChange { enabled: Some(false), ..WebhookChange::default() };
    store.change_webhook(OPERATOR, webhook, None, off).await.unwrap();
    let much_later = lease_over + LEASE;
    assert_eq!(store.due_webhooks(much_later).await.unwrap(), []);
    assert!(take(store, webhook, much_later).await.is_empty(), "it was disabled meanwhile");
    assert_eq!(store.webhook_backlog().await.unwrap(), WebhookBacklog::default());
}

async fn messages_about_a_call_wait_for_each_other(db: Db) {
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    let store = &db.store;
    let webhook = hook(&db, tenant, &WebhookEvent::ALL).await;
    let calls = [session(tenant, pbx, 1), session(tenant, pbx, 2)];
    for call in &calls {
        store.apply(OPERATOR, &whole_call(call)).await.unwrap();
    }
    let [of_good, of_bad] = calls.map(|call| {
        let kinds = ["call-detected", "call-answered", "call-ended", "recording-ready"];
        kinds.map(|kind| format!("{kind}-{}{}", call.id, if kind == "recording-ready" { "-0" } else { "" }))
    });
    let ids = |taken: &[PendingDelivery]| taken.iter().map(|d| d.event_id.clone()).collect::<Vec<_>>();
    let mut now = later(1);
    // Those of one call arrive, the first one of the other call fails each time.
    for round in 0..3 {
        let taken = take(store, webhook, now).await;
        if round == 0 {
            assert!(take(store, webhook, now).await.is_empty(), "they are being sent");
        }
        assert_eq!(ids(&taken), [of_good[round].clone(), of_bad[0].clone()]);
        for delivery in &taken {
            let is_good = of_good.contains(&delivery.event_id);
            let outcome = if is_good { arrived(now) } else { failed(now, Next::Again(now + LEASE)) };
            store.settle_delivery(delivery, &outcome).await.unwrap();
        }
        if round < 2 {
            now = now + LEASE;
        }
    }
    let freed = ids(&take(store, webhook, now).await);
    assert_eq!(freed, [of_good[3].clone(), of_bad[1].clone()], "it has failed so often that others wait no longer");
}

async fn an_outcome_is_written_and_counts_once(db: Db) {
    let (tenant, _) = db.tenant_with_pbx("acme").await;
    let store = &db.store;
    let webhook = hook(&db, tenant, &WebhookEvent::ALL).await;
    store.announce(OPERATOR, &announcement(tenant, "one")).await.unwrap();
    let now = later(1);
    let [first] = &take(store, webhook, now).await[..] else { panic!("one") };
    let retry = now + Duration::from_secs(5);
    let settled = store.settle_delivery(first, &failed(now, Next::Again(retry))).await.unwrap();
    assert_eq!(settled, Settled::Done { failing_since: Some(now) });
    assert_eq!(store.settle_delivery(first, &arrived(now)).await.unwrap(), Settled::TooLate, "it has settled this");
    let [row] = &all(store, webhook).await[..] else { panic!("one") };
    assert_eq!((row.state, row.attempts, row.next_attempt_at), (DeliveryState::Pending, 1, Some(retry)));
    assert_eq!((row.last_status, row.last_error.as_deref()), (Some(500), Some("it answered 500")));
    assert!(take(store, webhook, now).await.is_empty());
    assert!(store.due_webhooks(retry).await.unwrap()[0].is_failing);
    let backlog = store.webhook_backlog().await.unwrap();
    assert_eq!(backlog, WebhookBacklog { pending: 1, oldest_at: Some(row.created_at) });

    let [second] = &take(store, webhook, retry).await[..] else { panic!("one") };
    let settled = store.settle_delivery(second, &failed(retry, Next::Again(retry))).await.unwrap();
    assert_eq!(settled, Settled::Done { failing_since: Some(now) }, "since the first failure");
    let [third] = &take(store, webhook, retry).await[..] else { panic!("one") };
    let done = store.settle_delivery(third, &arrived(retry)).await.unwrap();
    assert_eq!(done, Settled::Done { failing_since: None });
    let [row] = &all(store, webhook).await[..] else { panic!("one") };
    assert_eq!((row.state, row.attempts, row.next_attempt_at), (DeliveryState::Delivered, 3, None));
    assert_eq!((row.last_status, row.last_error.as_deref(), row.delivered_at), (Some(204), None, Some(retry)));
    assert_eq!(store.webhook(OPERATOR, webhook).await.unwrap().failing_since, None);
    assert_eq!(store.webhook_backlog().await.unwrap(), WebhookBacklog::default());
}

async fn a_webhook_that_fails_is_disabled_with_an_entry(db: Db) {
    let (tenant, _) = db.tenant_with_pbx("acme").await;
    let store = &db.store;
    let webhook = hook(&db, tenant, &WebhookEvent::ALL).await;
    assert!(store.disable_webhook(webhook, "it failed for 5 days").await.unwrap());
    assert!(!store.disable_webhook(webhook, "again").await.unwrap(), "it is");
    let row = store.webhook(OPERATOR, webhook).await.unwrap();
    assert_eq!((row.enabled, row.disabled_reason.as_deref()), (false, Some("it failed for 5 days")));
    let log = store.audit_log(TenantScope::Tenant(tenant), aimg_store::AuditFilter::default()).await.unwrap();
    let [entry] = &log[..] else { panic!("one entry: {log:?}") };
    assert_eq!((entry.action.as_str(), entry.target.as_str()), ("webhook.disable", webhook.to_string().as_str()));
    let on = WebhookChange { enabled: Some(true), ..WebhookChange::default() };
    let enabled = store.change_webhook(OPERATOR, webhook, None, on).await.unwrap();
    assert_eq!((enabled.enabled, enabled.disabled_reason, enabled.failing_since), (true, None, None));
}

async fn deliveries_are_listed_shown_and_replayed(db: Db) {
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    let store = &db.store;
    let (webhook, other) = (hook(&db, tenant, &WebhookEvent::ALL).await, hook(&db, tenant, &[]).await);
    store.apply(OPERATOR, &whole_call(&session(tenant, pbx, 1))).await.unwrap();
    let all_of_it = all(store, webhook).await;
    let now = later(1);
    let gave_up = take(store, webhook, now).await;
    store.settle_delivery(&gave_up[0], &failed(now, Next::GiveUp)).await.unwrap();
    let delivered = take(store, webhook, now).await;
    store.settle_delivery(&delivered[0], &arrived(now)).await.unwrap();

    let list = async |filter| {
        let found = store.deliveries(OPERATOR, webhook, filter).await.unwrap();
        found.into_iter().map(|d| d.id).collect::<Vec<DeliveryId>>()
    };
    let filter = DeliveryFilter::default;
    let newest: Vec<DeliveryId> = all_of_it.iter().rev().map(|d| d.id).collect();
    assert_eq!(list(filter()).await, newest);
    assert_eq!(list(DeliveryFilter { limit: Some(2), ..filter() }).await, newest[..2]);
    assert_eq!(list(DeliveryFilter { before: Some(newest[1]), ..filter() }).await, newest[2..]);
    let state = |state| DeliveryFilter { state: Some(state), ..filter() };
    assert_eq!(list(state(DeliveryState::GaveUp)).await, [gave_up[0].id]);
    assert_eq!(list(state(DeliveryState::Delivered)).await, [delivered[0].id]);
    assert_eq!(list(DeliveryFilter { event: Some(WebhookEvent::CallEnded), ..filter() }).await, [newest[2]]);
    assert!(matches!(store.delivery(OPERATOR, other, newest[0]).await, Err(Error::NotFound { .. })));

    let again = store.replay_delivery(OPERATOR, webhook, delivered[0].id, now).await.unwrap();
    assert_eq!((again.state, again.attempts, again.next_attempt_at), (DeliveryState::Pending, 0, Some(now)));
    assert_eq!((&again.event_id, &again.body), (&all_of_it[1].event_id, &all_of_it[1].body), "the same message");
    assert_eq!(store.replay_deliveries(OPERATOR, webhook, later(600), true, now).await.unwrap(), 0, "none so young");
    assert_eq!(store.replay_deliveries(OPERATOR, webhook, at(0), false, now).await.unwrap(), 1, "what was given up");
    let taken = take(store, webhook, now).await;
    store.settle_delivery(&taken[0], &arrived(now)).await.unwrap();
    assert_eq!(store.replay_deliveries(OPERATOR, webhook, at(0), false, now).await.unwrap(), 0);
    assert_eq!(store.replay_deliveries(OPERATOR, webhook, at(0), true, now).await.unwrap(), 1);
    assert_eq!(store.settle_delivery(&taken[0], &arrived(now)).await.unwrap(), Settled::TooLate);
}

async fn old_deliveries_are_removed(db: Db) {
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    let store = &db.store;
    let webhook = hook(&db, tenant, &WebhookEvent::ALL).await;
    store.apply(OPERATOR, &whole_call(&session(tenant, pbx, 1))).await.unwrap();
    let before = all(store, webhook).await;
    assert_eq!(store.purge_deliveries(before[0].created_at, 100).await.unwrap(), 0);
    assert_eq!(store.purge_deliveries(later(1), 2).await.unwrap(), 2);
    assert_eq!(all(store, webhook).await, before[2..]);
    assert_eq!(store.purge_deliveries(later(1), 100).await.unwrap(), 3);
    // One change of every kind stays possible without any webhook's delivery in the way.
    store.apply(OPERATOR, &changes_of(&session(tenant, pbx, 2))).await.unwrap();
}
