//! Quotas, and what the database counts along.

use aimg_core::{SessionId, TenantId, TenantScope};
use aimg_store::{Change, Error, QuotaBounds, RecordingRow};
use uuid::Uuid;

use crate::fixture::{Db, OPERATOR, changes_of, recording, session};

conformance! {
    bounds_are_set_by_the_operator_and_seen_by_their_tenant,
    a_quota_changed_meanwhile_is_refused,
    what_recordings_take_is_counted_as_they_come_and_go,
}

const BOUNDS: QuotaBounds =
    QuotaBounds { concurrent_sessions: Some(10), storage_bytes: Some(1 << 40), requests_per_minute: None };

/// A row in each table of this file.
pub(crate) async fn fill(db: &Db, tenant: TenantId) {
    db.store.set_quota(OPERATOR, tenant, BOUNDS, None).await.unwrap();
}

async fn bounds_are_set_by_the_operator_and_seen_by_their_tenant(db: Db) {
    let (tenant, _) = db.tenant_with_pbx("acme").await;
    let (other, _) = db.tenant_with_pbx("rival").await;
    let (store, own, theirs) = (&db.store, TenantScope::Tenant(tenant), TenantScope::Tenant(other));
    let before = store.quota(own, tenant).await.unwrap();
    assert_eq!((before.bounds, before.version, before.changed_at), (QuotaBounds::default(), 0, None));
    assert_eq!(store.bounded_quotas().await.unwrap(), []);
    let set = store.set_quota(OPERATOR, tenant, BOUNDS, Some(0)).await.unwrap();
    assert_eq!((set.bounds, set.version, set.changed_at.is_some()), (BOUNDS, 1, true));
    assert_eq!(store.quota(own, tenant).await.unwrap(), set);
    assert_eq!(store.bounded_quotas().await.unwrap(), [set]);
    assert!(matches!(store.quota(theirs, tenant).await, Err(Error::NotFound { .. })));
    let nobody = TenantId::from_uuid(Uuid::nil());
    assert!(matches!(store.set_quota(OPERATOR, nobody, BOUNDS, None).await, Err(Error::NotFound { .. })));
    for scope in [own, theirs] {
        assert!(matches!(store.set_quota(scope, tenant, BOUNDS, None).await, Err(Error::OperatorOnly { .. })));
    }
    let free = store.set_quota(OPERATOR, tenant, QuotaBounds::default(), Some(1)).await.unwrap();
    assert_eq!((free.bounds, free.version), (QuotaBounds::default(), 2));
}

async fn a_quota_changed_meanwhile_is_refused(db: Db) {
    let (tenant, _) = db.tenant_with_pbx("acme").await;
    let set = async |expected| db.store.set_quota(OPERATOR, tenant, BOUNDS, expected).await;
    assert!(matches!(set(Some(1)).await, Err(Error::Stale { .. })));
    assert_eq!(set(Some(0)).await.unwrap().version, 1);
    assert!(matches!(set(Some(0)).await, Err(Error::Stale { .. })));
    assert_eq!(set(None).await.unwrap().version, 2);
}

async fn what_recordings_take_is_counted_as_they_come_and_go(db: Db) {
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    let (other, other_pbx) = db.tenant_with_pbx("rival").await;
    let store = &db.store;
    let used = async |of| {
        let quota = store.quota(TenantScope::Tenant(of), of).await.unwrap();
        (quota.recordings, quota.stored_bytes)
    };
    assert_eq!(used(tenant).await, (0, 0));
    let (own, theirs) = (session(tenant, pbx, 1), session(other, other_pbx, 2));
    store.apply(OPERATOR, &changes_of(&own)).await.unwrap();
    store.apply(TenantScope::Tenant(other), &changes_of(&theirs)).await.unwrap();
    let one = recording(&own, 0).bytes;
    assert_eq!((used(tenant).await, used(other).await), ((1, one), (1, one)));

    let more = |part, bytes| Change::Recording(RecordingRow { bytes, ..recording(&own, part) });
    store.apply(OPERATOR, &[more(1, 1_000), more(1, 400), more(1, 400)]).await.unwrap();
    assert_eq!(used(tenant).await, (2, one + 400), "the same one again counts once, as it is");
    let lost = store.apply(OPERATOR, &[more(2, 7), Change::Recording(recording(&session(tenant, pbx, 404), 0))]).await;
    assert!(lost.is_err());
    assert_eq!(used(tenant).await, (2, one + 400), "what was rolled back is not counted");
    let nothing: &[(SessionId, u16)] = &[(theirs.id, 0), (own.id, 9)];
    store.forget_recordings(TenantScope::Tenant(tenant), nothing).await.unwrap();
    store.forget_recordings(TenantScope::Tenant(tenant), &[(own.id, 1)]).await.unwrap();
    assert_eq!((used(tenant).await, used(other).await), ((1, one), (1, one)));
    let free = store.set_quota(OPERATOR, tenant, BOUNDS, None).await.unwrap();
    assert_eq!((free.recordings, free.stored_bytes), (1, one));
    assert_eq!(store.bounded_quotas().await.unwrap(), [free]);
}
