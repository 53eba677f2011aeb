//! Tenants and their PBXs: changed, counted, and removed when nothing is left of them.

use aimg_core::{CallState, PbxId, Role, SessionRow, TenantId, TenantScope, Timestamp};
use aimg_store::{CallDay, Change, Error, NewUser, PbxFilter, RecordingDay, RecordingRow, TenantChange};
use serde_json::json;
use uuid::Uuid;

use crate::fixture::{Db, OPERATOR, new_pbx, recording, session};

conformance! {
    a_tenant_is_changed_once_for_each_version,
    a_tenant_changes_its_rule_and_no_more,
    a_tenant_is_removed_when_nothing_is_left_of_it,
    a_pbx_is_removed_when_no_call_is_stored,
    tenants_and_pbxs_come_in_pages,
    calls_and_recordings_are_counted_by_day,
}

/// 2026-01-31, the day of the fixture's times.
const DAY: i64 = 20_484;
const DAY_US: i64 = 86_400_000_000;

fn renamed(name: &str) -> TenantChange {
    TenantChange { name: Some(name.to_owned()), ..TenantChange::default() }
}

async fn a_tenant_is_changed_once_for_each_version(db: Db) {
    let (tenant, _) = db.tenant_with_pbx("acme").await;
    let (other, _) = db.tenant_with_pbx("rival").await;
    let store = &db.store;
    let before = store.tenant(OPERATOR, tenant).await.unwrap();
    let changed = store.change_tenant(OPERATOR, tenant, Some(before.version), renamed("acme-2")).await.unwrap();
    assert_eq!((changed.name.as_str(), changed.version), ("acme-2", before.version + 1));
    assert_eq!(store.tenant(OPERATOR, tenant).await.unwrap(), changed);
    let late = store.change_tenant(OPERATOR, tenant, Some(before.version), renamed("acme-3")).await;
    assert!(matches!(late, Err(Error::Stale { .. })), "{late:?}");
    for (name, wrong) in [("rival", "exists already"), ("Rival", "not a name")] {
        let error = store.change_tenant(OPERATOR, tenant, None, renamed(name)).await.unwrap_err().to_string();
        assert!(error.contains(wrong), "{error}");
    }
    assert_eq!(store.tenant(OPERATOR, tenant).await.unwrap(), changed);
    assert_eq!(store.tenant(OPERATOR, other).await.unwrap().version, 1, "no other row is touched");
}

async fn a_tenant_changes_its_rule_and_no_more(db: Db) {
    let (tenant, _) = db.tenant_with_pbx("acme").await;
    let (other, _) = db.tenant_with_pbx("rival").await;
    let own = TenantScope::Tenant(tenant);
    let rule = TenantChange { capture_rule: Some(json!("none")), ..TenantChange::default() };
    assert_eq!(db.store.change_tenant(own, tenant, None, rule.clone()).await.unwrap().capture_rule, json!("none"));
    let theirs = db.store.change_tenant(own, other, None, rule).await;
    assert!(matches!(theirs, Err(Error::NotFound { .. })), "{theirs:?}");
    let on = TenantChange { enabled: Some(true), ..TenantChange::default() };
    for change in [renamed("acme-2"), on] {
        let refused = db.store.change_tenant(own, tenant, None, change).await;
        assert!(matches!(refused, Err(Error::OperatorOnly { .. })), "{refused:?}");
    }
}

async fn a_tenant_is_removed_when_nothing_is_left_of_it(db: Db) {
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    let store = &db.store;
    let new = NewUser { tenant: Some(tenant), name: "ada".into(), role: Role::Viewer, password_hash: "hash".into() };
    let user = store.add_user(OPERATOR, new).await.unwrap().id;
    let call = session(tenant, pbx, 1);
    store.apply(OPERATOR, &[Change::Session(Box::new(call))]).await.unwrap();
    let has = async || match store.remove_tenant(OPERATOR, tenant, None).await {
        Err(Error::InUse { has, .. }) => has,
        other => panic!("{other:?}"),
    };
    assert_eq!(has().await, "PBXs, users, calls");
    store.remove_user(OPERATOR, user, None).await.unwrap();
    assert_eq!(has().await, "PBXs, calls");
    let own = store.remove_tenant(TenantScope::Tenant(tenant), tenant, None).await;
    assert!(matches!(own, Err(Error::OperatorOnly { .. })), "{own:?}");

    let empty = store.add_tenant(OPERATOR, "empty", json!("all")).await.unwrap().id;
    let stale = store.remove_tenant(OPERATOR, empty, Some(7)).await;
    assert!(matches!(stale, Err(Error::Stale { .. })), "{stale:?}");
    store.remove_tenant(OPERATOR, empty, Some(1)).await.unwrap();
    let again = store.remove_tenant(OPERATOR, empty, None).await;
    assert!(matches!(again, Err(Error::NotFound { .. })), "{again:?}");
    assert_eq!(store.tenants(OPERATOR).await.unwrap().len(), 1);
}

async fn a_pbx_is_removed_when_no_call_is_stored(db: Db) {
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    let unused = db.store.add_pbx(OPERATOR, new_pbx(tenant, "unused")).await.unwrap().id;
    let call = session(tenant, pbx, 1);
    db.store.apply(OPERATOR, &[Change::Session(Box::new(call))]).await.unwrap();
    let refused = db.store.remove_pbx(OPERATOR, pbx, None).await;
    assert!(matches!(&refused, Err(Error::InUse { has, .. }) if has == "calls"), "{refused:?}");
    let stale = db.store.remove_pbx(OPERATOR, unused, Some(9)).await;
    assert!(matches!(stale, Err(Error::Stale { .. })), "{stale:?}");
    let own = db.store.remove_pbx(TenantScope::Tenant(tenant), unused, None).await;
    assert!(matches!(own, Err(Error::OperatorOnly { .. })), "{own:?}");
    db.store.remove_pbx(OPERATOR, unused, Some(1)).await.unwrap();
    let gone = db.store.remove_pbx(OPERATOR, unused, None).await;
    assert!(matches!(gone, Err(Error::NotFound { .. })), "{gone:?}");
    assert_eq!(db.store.pbxs(OPERATOR).await.unwrap().len(), 1);
}

async fn tenants_and_pbxs_come_in_pages(db: Db) {
    let mut tenants = Vec::new();
    for name in ["acme", "best", "core"] {
        tenants.push(db.tenant_with_pbx(name).await.0);
    }
    let names = |found: Vec<aimg_store::Tenant>| found.into_iter().map(|t| t.name).collect::<Vec<_>>();
    assert_eq!(names(db.store.tenants_after(OPERATOR, Some("acme"), 1).await.unwrap()), ["best"]);
    assert_eq!(names(db.store.tenants_after(TenantScope::Tenant(tenants[2]), None, 9).await.unwrap()), ["core"]);
    let pbxs = async |scope, filter| -> Vec<String> {
        db.store.pbxs_by(scope, filter).await.unwrap().into_iter().map(|p| p.name).collect()
    };
    let page = PbxFilter { after: Some("acme-pbx".to_owned()), limit: Some(1), ..PbxFilter::default() };
    assert_eq!(pbxs(OPERATOR, page.clone()).await, ["best-pbx"]);
    let of_core = PbxFilter { tenant: Some(tenants[2]), ..page };
    assert_eq!(pbxs(OPERATOR, of_core.clone()).await, ["core-pbx"]);
    assert_eq!(pbxs(TenantScope::Tenant(tenants[1]), of_core).await, [""; 0], "another tenant's are none");
}

async fn calls_and_recordings_are_counted_by_day(db: Db) {
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    let (other, other_pbx) = db.tenant_with_pbx("rival").await;
    let of_day = |tenant: TenantId, pbx: PbxId, n: u128, day: i64| {
        let started_at = Timestamp::from_micros((DAY + day) * DAY_US + 1);
        SessionRow { id: aimg_core::SessionId::from_uuid(Uuid::from_u128(n)), started_at, ..session(tenant, pbx, n) }
    };
    let over = |row: SessionRow| SessionRow { state: CallState::Ended, ..row };
    let rows = [
        over(SessionRow { answered_at: Some(Timestamp::from_micros(9)), ..of_day(tenant, pbx, 1, 0) }),
        over(SessionRow { captured: false, ..of_day(tenant, pbx, 2, 0) }),
        of_day(tenant, pbx, 3, 1),
        of_day(tenant, pbx, 4, 40),
        of_day(other, other_pbx, 5, 0),
    ];
    for row in &rows {
        let at = Timestamp::from_micros(row.started_at.as_micros());
        let part =
            |part, complete| Change::Recording(RecordingRow { complete, created_at: at, ..recording(row, part) });
        let changes = [Change::Session(Box::new(row.clone())), part(0, true), part(1, true), part(2, false)];
        db.store.apply(OPERATOR, &changes).await.unwrap();
    }
    let from = Timestamp::from_micros(DAY * DAY_US + DAY_US / 2);
    let stats = db.store.tenant_stats(TenantScope::Tenant(tenant), tenant, from, 2).await.unwrap();
    let calls = |day, state: CallState, calls, answered, captured| CallDay {
        day: DAY + day,
        state: state.to_string(),
        calls,
        answered,
        captured,
    };
    assert_eq!(stats.calls, [calls(0, CallState::Ended, 2, 1, 1), calls(1, CallState::Detected, 1, 0, 1)]);
    let files = |day, complete, recordings| RecordingDay {
        day: DAY + day,
        complete,
        recordings,
        duration_ms: recordings * 4_000,
        bytes: recordings * 128_044,
    };
    assert_eq!(stats.recordings, [files(0, false, 2), files(0, true, 4), files(1, false, 1), files(1, true, 2)]);
    let theirs = db.store.tenant_stats(TenantScope::Tenant(other), tenant, from, 2).await.unwrap();
    assert_eq!((theirs.calls, theirs.recordings), (vec![], vec![]));
    let nothing = db.store.tenant_stats(OPERATOR, tenant, from, 0).await.unwrap();
    assert_eq!(nothing.calls, []);
}
