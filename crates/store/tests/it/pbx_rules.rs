//! PBXs that several tenants share, and their rules: the operator's, and nobody else's.

use aimg_core::{Claim, PbxId, TenantId, TenantScope};
use aimg_store::{Change, Error, PbxChange, PbxName, Result};
use secrecy::ExposeSecret;

use crate::fixture::{AMI_SECRET, Db, OPERATOR, changes_of, new_pbx, session};

conformance! {
    a_shared_pbx_is_the_operators,
    a_tenant_knows_the_name_of_a_shared_pbx_its_calls_name,
    rules_are_added_changed_and_removed,
    rules_that_conflict_are_refused_with_both_names,
    rules_are_for_shared_pbxs,
    a_tenant_neither_reads_nor_writes_rules,
    calls_of_several_tenants_are_on_one_pbx,
}

fn claim(text: &str) -> Claim {
    text.parse().unwrap()
}

async fn shared(db: &Db) -> PbxId {
    db.store.add_pbx(OPERATOR, new_pbx(None, "shared")).await.unwrap().id
}

/// A row in each table of this file.
pub(crate) async fn fill(db: &Db, tenant: TenantId, name: &str) {
    let pbx = db.store.add_pbx(OPERATOR, new_pbx(None, &format!("{name}-shared"))).await.unwrap();
    db.store.add_pbx_rule(OPERATOR, pbx.id, tenant, claim("context:a")).await.unwrap();
}

async fn a_shared_pbx_is_the_operators(db: Db) {
    let (tenant, own) = db.tenant_with_pbx("acme").await;
    let scope = TenantScope::Tenant(tenant);
    let pbx = shared(&db).await;
    let store = &db.store;
    assert_eq!(store.pbx(OPERATOR, pbx).await.unwrap().tenant, None);
    assert_eq!(store.pbx_secrets(OPERATOR, pbx).await.unwrap().ami_secret.expose_secret(), AMI_SECRET);
    assert_eq!(store.pbxs(OPERATOR).await.unwrap().len(), 2);
    assert_eq!(store.pbxs(scope).await.unwrap().iter().map(|p| p.id).collect::<Vec<_>>(), [own]);
    let unseen = [
        store.pbx(scope, pbx).await.map(drop),
        store.pbx_by_name(scope, "shared").await.map(drop),
        store.pbx_secrets(scope, pbx).await.map(drop),
    ];
    assert!(unseen.iter().all(|r| matches!(r, Err(Error::NotFound { .. }))), "{unseen:?}");
    let change = PbxChange { host: Some("elsewhere".to_owned()), ..PbxChange::default() };
    let refused = store.change_pbx(scope, pbx, None, change.clone()).await;
    assert!(matches!(refused, Err(Error::OperatorOnly { .. })), "{refused:?}");
    assert_eq!(store.change_pbx(OPERATOR, pbx, None, change).await.unwrap().host, "elsewhere");
}

async fn a_tenant_knows_the_name_of_a_shared_pbx_its_calls_name(db: Db) {
    let (tenant, own) = db.tenant_with_pbx("acme").await;
    let (other, _) = db.tenant_with_pbx("rival").await;
    let pbx = shared(&db).await;
    let store = &db.store;
    store.apply(OPERATOR, &changes_of(&session(tenant, pbx, 1))).await.unwrap();
    let name = |id, name: &str| PbxName { id, name: name.to_owned() };
    let names = store.pbx_names(TenantScope::Tenant(tenant)).await.unwrap();
    assert_eq!(names, [name(own, "acme-pbx"), name(pbx, "shared")]);
    let names = store.pbx_names(TenantScope::Tenant(other)).await.unwrap();
    assert_eq!(names.iter().map(|n| n.name.as_str()).collect::<Vec<_>>(), ["rival-pbx"], "it had no call there");
    assert_eq!(store.pbx_names(OPERATOR).await.unwrap().len(), 3);
}

async fn rules_are_added_changed_and_removed(db: Db) {
    let (acme, _) = db.tenant_with_pbx("acme").await;
    let (rival, _) = db.tenant_with_pbx("rival").await;
    let (pbx, second) = (shared(&db).await, db.store.add_pbx(OPERATOR, new_pbx(None, "second")).await.unwrap().id);
    let store = &db.store;
    let mut added = Vec::new();
    for (text, tenant) in [("dialled:49*", rival), ("context:a*", acme), ("context:ab", rival)] {
        added.push(store.add_pbx_rule(OPERATOR, pbx, tenant, claim(text)).await.unwrap());
    }
    store.add_pbx_rule(OPERATOR, second, rival, claim("context:a*")).await.unwrap();
    added.reverse();
    assert_eq!(store.pbx_rules(OPERATOR, pbx).await.unwrap(), added, "in the order in which they are asked");

    let changed =
        store.change_pbx_rule(OPERATOR, pbx, added[0].id, Some(acme), Some(claim("context:b"))).await.unwrap();
    assert_eq!((changed.tenant, changed.rule.clone()), (acme, claim("context:b")));
    assert_eq!(
        store.change_pbx_rule(OPERATOR, pbx, changed.id, None, None).await.unwrap(),
        changed,
        "nothing is named"
    );
    assert_eq!(store.pbx_rules(OPERATOR, pbx).await.unwrap()[0], changed);

    store.remove_pbx_rule(OPERATOR, pbx, changed.id).await.unwrap();
    assert_eq!(store.pbx_rules(OPERATOR, pbx).await.unwrap(), added[1..]);
    let absent = [
        store.remove_pbx_rule(OPERATOR, pbx, changed.id).await,
        store.remove_pbx_rule(OPERATOR, second, added[1].id).await,
        store.change_pbx_rule(OPERATOR, second, added[1].id, None, None).await.map(drop),
    ];
    assert!(absent.iter().all(|r| matches!(r, Err(Error::NotFound { .. }))), "{absent:?}");
    assert_eq!(store.pbx_rules(OPERATOR, second).await.unwrap().len(), 1);
}

async fn rules_that_conflict_are_refused_with_both_names(db: Db) {
    let (acme, _) = db.tenant_with_pbx("acme").await;
    let (rival, _) = db.tenant_with_pbx("rival").await;
    let (pbx, store) = (shared(&db).await, &db.store);
    store.add_pbx_rule(OPERATOR, pbx, acme, claim("context:a")).await.unwrap();
    let second = store.add_pbx_rule(OPERATOR, pbx, rival, claim("context:b")).await.unwrap();
    let refused = [
        store.add_pbx_rule(OPERATOR, pbx, rival, claim("context:a")).await,
        store.change_pbx_rule(OPERATOR, pbx, second.id, None, Some(claim("context:a"))).await,
    ];
    for error in refused.map(Result::unwrap_err) {
        let told = error.to_string();
        assert!(matches!(error, Error::RuleTaken { .. }), "{told}");
        assert!(["acme", "rival", "context:a"].iter().all(|word| told.contains(word)), "{told}");
    }
    assert_eq!(store.pbx_rules(OPERATOR, pbx).await.unwrap().len(), 2);
}

async fn rules_are_for_shared_pbxs(db: Db) {
    let (acme, dedicated) = db.tenant_with_pbx("acme").await;
    let refused = db.store.add_pbx_rule(OPERATOR, dedicated, acme, claim("context:a")).await;
    assert!(matches!(refused, Err(Error::NotShared { .. })), "{refused:?}");
    let pbx = shared(&db).await;
    let nobody = TenantId::from_uuid(uuid::Uuid::nil());
    let refused = db.store.add_pbx_rule(OPERATOR, pbx, nobody, claim("context:a")).await;
    assert!(matches!(refused, Err(Error::NotFound { what: "tenant", .. })), "{refused:?}");
}

async fn a_tenant_neither_reads_nor_writes_rules(db: Db) {
    let (acme, _) = db.tenant_with_pbx("acme").await;
    let (scope, store) = (TenantScope::Tenant(acme), &db.store);
    let pbx = shared(&db).await;
    let rule = store.add_pbx_rule(OPERATOR, pbx, acme, claim("context:a")).await.unwrap();
    let refused = [
        store.pbx_rules(scope, pbx).await.map(drop),
        store.add_pbx_rule(scope, pbx, acme, claim("context:b")).await.map(drop),
        store.change_pbx_rule(scope, pbx, rule.id, None, Some(claim("context:b"))).await.map(drop),
        store.remove_pbx_rule(scope, pbx, rule.id).await,
    ];
    assert!(refused.iter().all(|r| matches!(r, Err(Error::OperatorOnly { .. }))), "{refused:?}");
    assert_eq!(store.pbx_rules(OPERATOR, pbx).await.unwrap(), [rule]);
}

async fn calls_of_several_tenants_are_on_one_pbx(db: Db) {
    let (acme, _) = db.tenant_with_pbx("acme").await;
    let (rival, _) = db.tenant_with_pbx("rival").await;
    let (pbx, store) = (shared(&db).await, &db.store);
    for (tenant, n) in [(acme, 1), (rival, 2)] {
        store.apply(TenantScope::Tenant(tenant), &changes_of(&session(tenant, pbx, n))).await.unwrap();
    }
    for (tenant, n) in [(acme, 1), (rival, 2)] {
        let filter = aimg_store::SessionFilter { pbx: Some(pbx), ..Default::default() };
        let own = store.sessions(TenantScope::Tenant(tenant), filter).await.unwrap();
        assert_eq!(own.iter().map(|s| s.row.id).collect::<Vec<_>>(), [session(tenant, pbx, n).id]);
    }
    let stolen = Change::Session(Box::new(session(rival, pbx, 1)));
    assert!(matches!(store.apply(OPERATOR, &[stolen]).await, Err(Error::NotFound { .. })));
}
