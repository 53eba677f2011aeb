//! Every operation against another tenant's scope: what is not yours does not exist.

use aimg_core::{PbxId, SessionRow, TenantId, TenantScope};
use aimg_store::{Change, Error, PbxChange, RecordingFilter, Result, SessionFilter};
use serde_json::json;
use uuid::Uuid;

use crate::fixture::{Db, OPERATOR, changes_of, leg, new_pbx, recording, session};

conformance! {
    lists_hold_the_own_rows_only,
    another_tenants_rows_are_not_found,
    tenants_and_pbxs_are_the_operators_to_add,
    changes_out_of_scope_are_not_found,
    rows_under_a_wrong_tenant_are_not_found_even_for_the_operator,
    a_session_needs_its_tenant_and_pbx,
}

fn all() -> SessionFilter {
    SessionFilter::default()
}

struct Two {
    db: Db,
    own: TenantScope,
    theirs: TenantScope,
    own_session: SessionRow,
    tenant: TenantId,
    pbx: PbxId,
}

async fn two(db: Db) -> Two {
    let (tenant, pbx) = db.tenant_with_pbx("acme").await;
    let (other, other_pbx) = db.tenant_with_pbx("rival").await;
    let own_session = session(tenant, pbx, 1);
    db.store.apply(TenantScope::Tenant(tenant), &changes_of(&own_session)).await.unwrap();
    db.store.apply(TenantScope::Tenant(other), &changes_of(&session(other, other_pbx, 2))).await.unwrap();
    Two { db, own: TenantScope::Tenant(tenant), theirs: TenantScope::Tenant(other), own_session, tenant, pbx }
}

#[track_caller]
fn assert_absent<T: std::fmt::Debug>(result: Result<T>) {
    assert!(matches!(result, Err(Error::NotFound { .. })), "{result:?}");
}

async fn lists_hold_the_own_rows_only(db: Db) {
    let Two { db: Db { store, .. }, own, own_session, tenant, pbx, .. } = &two(db).await;
    let node = "n1".parse().unwrap();
    assert_eq!(store.tenants(*own).await.unwrap().iter().map(|t| t.id).collect::<Vec<_>>(), [*tenant]);
    assert_eq!(store.pbxs(*own).await.unwrap().iter().map(|p| p.id).collect::<Vec<_>>(), [*pbx]);
    let sessions = store.sessions(*own, all()).await.unwrap();
    assert_eq!(sessions.iter().map(|s| s.row.id).collect::<Vec<_>>(), [own_session.id]);
    let unfinished = store.unfinished(*own, &node).await.unwrap();
    assert_eq!(unfinished.iter().map(|s| s.id).collect::<Vec<_>>(), [own_session.id]);
    let recordings = store.recordings(*own, RecordingFilter::default()).await.unwrap();
    assert_eq!(recordings.iter().map(|r| r.session).collect::<Vec<_>>(), [own_session.id]);

    assert_eq!(store.tenants(OPERATOR).await.unwrap().len(), 2);
    assert_eq!(store.pbxs(OPERATOR).await.unwrap().len(), 2);
    assert_eq!(store.sessions(OPERATOR, all()).await.unwrap().len(), 2);
    assert_eq!(store.unfinished(OPERATOR, &node).await.unwrap().len(), 2);
    assert_eq!(store.recordings(OPERATOR, RecordingFilter::default()).await.unwrap().len(), 2);
}

async fn another_tenants_rows_are_not_found(db: Db) {
    let Two { db: Db { store, .. }, theirs, own_session, tenant, pbx, .. } = &two(db).await;
    assert_absent(store.tenant(*theirs, *tenant).await);
    assert_absent(store.tenant_by_name(*theirs, "acme").await);
    assert_absent(store.set_capture_rule(*theirs, *tenant, json!("none")).await);
    assert_absent(store.pbx(*theirs, *pbx).await);
    assert_absent(store.pbx_by_name(*theirs, "acme-pbx").await);
    assert_absent(store.pbx_secrets(*theirs, *pbx).await);
    assert_absent(store.session(*theirs, own_session.id).await);
    assert_absent(store.recording(*theirs, own_session.id, 0).await);
    assert_absent(store.delete_session(*theirs, own_session.id).await);
    assert_eq!(store.tenant(OPERATOR, *tenant).await.unwrap().capture_rule, json!({"calls": "all"}));
}

async fn tenants_and_pbxs_are_the_operators_to_add(db: Db) {
    let Two { db: Db { store, .. }, own, tenant, pbx, .. } = &two(db).await;
    let refused = [
        store.add_tenant(*own, "third", json!({})).await.map(drop),
        store.set_tenant_enabled(*own, *tenant, false).await,
        store.add_pbx(*own, new_pbx(*tenant, "second")).await.map(drop),
        store.change_pbx(*own, *pbx, None, PbxChange { enabled: Some(false), ..PbxChange::default() }).await.map(drop),
    ];
    assert!(refused.iter().all(|r| matches!(r, Err(Error::OperatorOnly { .. }))), "{refused:?}");
    assert!(store.pbx(OPERATOR, *pbx).await.unwrap().enabled, "nothing was changed");
}

async fn changes_out_of_scope_are_not_found(db: Db) {
    let Two { db: Db { store, .. }, theirs, own_session, .. } = &two(db).await;
    let before = store.session(OPERATOR, own_session.id).await.unwrap();
    for change in changes_of(&SessionRow { captured: false, ..own_session.clone() }) {
        assert_absent(store.apply(*theirs, &[change]).await);
    }
    assert_eq!(store.session(OPERATOR, own_session.id).await.unwrap(), before);
}

async fn rows_under_a_wrong_tenant_are_not_found_even_for_the_operator(db: Db) {
    let Two { db: Db { store, .. }, theirs, own_session, .. } = &two(db).await;
    let before = store.session(OPERATOR, own_session.id).await.unwrap();
    let stolen = SessionRow { tenant: theirs.tenant().unwrap(), captured: false, ..own_session.clone() };
    for scope in [OPERATOR, *theirs] {
        for change in changes_of(&stolen) {
            assert_absent(store.apply(scope, &[change]).await);
        }
        // Children that do not exist are refused as well as those that do.
        let mut new_leg = leg(&stolen);
        new_leg.uniqueid = aimg_core::Uniqueid::new("1769860800.99");
        assert_absent(store.apply(scope, &[Change::Leg(new_leg)]).await);
        assert_absent(store.apply(scope, &[Change::Recording(recording(&stolen, 7))]).await);
    }
    assert_eq!(store.session(OPERATOR, own_session.id).await.unwrap(), before);
}

async fn a_session_needs_its_tenant_and_pbx(db: Db) {
    let Two { db: Db { store, .. }, tenant, pbx, .. } = &two(db).await;
    let nobody = Uuid::from_u128(404);
    let orphans = [session(TenantId::from_uuid(nobody), *pbx, 9), session(*tenant, PbxId::from_uuid(nobody), 9)];
    for orphan in orphans {
        assert_absent(store.apply(OPERATOR, &[Change::Session(Box::new(orphan))]).await);
    }
}
