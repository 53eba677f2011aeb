//! Users, refresh tokens, API keys and the audit log.

use aimg_core::{Permission, Role, TenantId, TenantScope};
use aimg_store::{
    ApiKeyFilter, AuditFilter, AuditPlace, Error, NewApiKey, NewAuditEntry, NewRefreshToken, NewUser, Rotation,
    UserChange, UserFilter,
};
use serde_json::json;
use uuid::Uuid;

use crate::fixture::{Db, OPERATOR, at};

conformance! {
    users_are_added_changed_and_removed,
    users_stay_in_their_tenant,
    a_change_of_what_was_changed_meanwhile_is_refused,
    failed_logins_are_counted_until_one_succeeds,
    a_refresh_token_is_good_once,
    refresh_tokens_expire_and_are_revoked,
    keys_are_found_by_their_hash_until_they_are_revoked,
    keys_stay_in_their_tenant,
    the_audit_log_is_read_in_pages_of_ones_own,
    the_audit_log_is_filtered_by_each_of_its_columns,
    lists_come_in_pages,
    the_last_super_admin_who_may_log_in_stays,
}

fn new_user(tenant: Option<TenantId>, name: &str, role: Role) -> NewUser {
    NewUser { tenant, name: name.to_owned(), role, password_hash: format!("hash of {name}") }
}

fn new_key(tenant: Option<TenantId>, role: Role, hash: u8) -> NewApiKey {
    NewApiKey {
        tenant,
        name: "crm".to_owned(),
        prefix: "aimg_1234".to_owned(),
        hash: [hash; 32],
        role,
        permissions: Some(vec![Permission::CallsMonitor]),
        created_by: None,
        expires_at: Some(at(5)),
    }
}

/// A row in each table of this file.
pub(crate) async fn fill(db: &Db, tenant: TenantId, name: &str) {
    let store = &db.store;
    let user = store.add_user(OPERATOR, new_user(Some(tenant), name, Role::Viewer)).await.unwrap();
    let hash = *user.id.as_uuid().as_bytes().last().unwrap();
    store.add_refresh_token(token(&user, hash)).await.unwrap();
    store.add_api_key(OPERATOR, new_key(Some(tenant), Role::Viewer, hash)).await.unwrap();
    store.audit(entry(Some(tenant), name)).await.unwrap();
}

async fn users_are_added_changed_and_removed(db: Db) {
    let (tenant, _) = db.tenant_with_pbx("acme").await;
    let store = &db.store;
    assert!(!store.has_users().await.unwrap());
    let root = store.add_user(OPERATOR, new_user(None, "Root", Role::SuperAdmin)).await.unwrap();
    let ada = store.add_user(OPERATOR, new_user(Some(tenant), "ada@acme.example", Role::Viewer)).await.unwrap();
    assert!(store.has_users().await.unwrap());
    assert_eq!((root.name.as_str(), root.tenant, ada.tenant), ("root", None, Some(tenant)));
    assert_eq!(store.users(OPERATOR, UserFilter::default()).await.unwrap(), [ada.clone(), root.clone()]);

    let change = UserChange { role: Some(Role::Operator), enabled: Some(false), password_hash: Some("new".to_owned()) };
    let changed = store.change_user(OPERATOR, ada.id, Some(1), change).await.unwrap();
    assert_eq!((changed.role, changed.enabled, changed.version), (Role::Operator, false, 2));
    assert_eq!(store.user(OPERATOR, ada.id).await.unwrap(), changed);
    assert_eq!(store.credentials("ADA@acme.example").await.unwrap().unwrap().password_hash, "new");
    store.remove_user(OPERATOR, ada.id, None).await.unwrap();
    assert!(matches!(store.user(OPERATOR, ada.id).await, Err(Error::NotFound { .. })));
    assert!(store.credentials("ada@acme.example").await.unwrap().is_none());

    let nowhere = TenantId::from_uuid(Uuid::from_u128(404));
    for (new, wrong) in [
        (new_user(None, "ROOT", Role::SuperAdmin), "exists already"),
        (new_user(None, "a b", Role::SuperAdmin), "not a user name"),
        (new_user(None, "eve", Role::Viewer), "belongs to no tenant"),
        (new_user(Some(tenant), "eve", Role::SuperAdmin), "belongs to no tenant"),
        (new_user(Some(nowhere), "eve", Role::Viewer), "there is no tenant"),
    ] {
        let error = store.add_user(OPERATOR, new).await.unwrap_err().to_string();
        assert!(error.contains(wrong), "{error}");
    }
}

async fn users_stay_in_their_tenant(db: Db) {
    let (tenant, _) = db.tenant_with_pbx("acme").await;
    let (other, _) = db.tenant_with_pbx("rival").await;
    let (own, theirs) = (TenantScope::Tenant(tenant), TenantScope::Tenant(other));
    let store = &db.store;
    let root = store.add_user(OPERATOR, new_user(None, "root", Role::SuperAdmin)).await.unwrap();
    let ada = store.add_user(own, new_user(Some(tenant), "ada", Role::TenantAdmin)).await.unwrap();
    assert_eq!(store.users(own, UserFilter::default()).await.unwrap(), std::slice::from_ref(&ada));
    assert_eq!(store.users(theirs, UserFilter::default()).await.unwrap(), []);
    for (scope, id) in [(theirs, ada.id), (own, root.id)] {
        let outcomes = [
            store.user(scope, id).await.map(drop),
            store.change_user(scope, id, None, UserChange::default()).await.map(drop),
            store.remove_user(scope, id, None).await,
        ];
        assert!(outcomes.iter().all(|o| matches!(o, Err(Error::NotFound { .. }))), "{outcomes:?}");
    }
    for new in [new_user(Some(tenant), "eve", Role::Viewer), new_user(None, "eve", Role::SuperAdmin)] {
        assert!(matches!(store.add_user(theirs, new).await, Err(Error::NotFound { .. })));
    }
    assert_eq!(store.user(own, ada.id).await.unwrap(), ada);
}

async fn a_change_of_what_was_changed_meanwhile_is_refused(db: Db) {
    let store = &db.store;
    let root = store.add_user(OPERATOR, new_user(None, "root", Role::SuperAdmin)).await.unwrap();
    store.add_user(OPERATOR, new_user(None, "other", Role::SuperAdmin)).await.unwrap();
    let disable = UserChange { enabled: Some(false), ..UserChange::default() };
    store.change_user(OPERATOR, root.id, None, UserChange::default()).await.unwrap();
    let late = store.change_user(OPERATOR, root.id, Some(root.version), disable.clone()).await;
    assert!(matches!(late, Err(Error::Stale { .. })), "{late:?}");
    assert!(store.user(OPERATOR, root.id).await.unwrap().enabled);
    store.change_user(OPERATOR, root.id, Some(2), disable).await.unwrap();
}

async fn failed_logins_are_counted_until_one_succeeds(db: Db) {
    let store = &db.store;
    let root = store.add_user(OPERATOR, new_user(None, "root", Role::SuperAdmin)).await.unwrap();
    for _ in 0..2 {
        store.note_failed_login(root.id, None).await.unwrap();
    }
    store.note_failed_login(root.id, Some(at(9))).await.unwrap();
    let credentials = store.credentials("root").await.unwrap().unwrap();
    assert_eq!((credentials.failed_logins, credentials.locked_until), (3, Some(at(9))));
    store.note_login(root.id, at(10)).await.unwrap();
    let credentials = store.credentials("root").await.unwrap().unwrap();
    assert_eq!((credentials.failed_logins, credentials.locked_until), (0, None));
    assert_eq!(credentials.user.last_login_at, Some(at(10)));
}

fn token(user: &aimg_store::User, hash: u8) -> NewRefreshToken {
    NewRefreshToken { hash: [hash; 32], user: user.id, tenant: user.tenant, created_at: at(0), expires_at: at(100) }
}

async fn a_refresh_token_is_good_once(db: Db) {
    let (tenant, _) = db.tenant_with_pbx("acme").await;
    let store = &db.store;
    let ada = store.add_user(OPERATOR, new_user(Some(tenant), "ada", Role::Viewer)).await.unwrap();
    store.add_refresh_token(token(&ada, 1)).await.unwrap();
    store.add_refresh_token(token(&ada, 50)).await.unwrap();
    for (hash, next) in [(1, 2), (2, 3)] {
        let rotation = store.rotate_refresh_token([hash; 32], [next; 32], at(1), at(100)).await.unwrap();
        assert_eq!(rotation, Rotation::Done(Box::new(ada.clone())));
    }
    let again = store.rotate_refresh_token([2; 32], [4; 32], at(2), at(100)).await.unwrap();
    assert_eq!(again, Rotation::Reused(ada.id));
    let family = store.rotate_refresh_token([3; 32], [5; 32], at(3), at(100)).await.unwrap();
    assert_eq!(family, Rotation::Refused, "the thief's next one is worthless too");
    let other = store.rotate_refresh_token([50; 32], [51; 32], at(3), at(100)).await.unwrap();
    assert!(matches!(other, Rotation::Done(_)), "another log-in of the same user goes on");
}

async fn refresh_tokens_expire_and_are_revoked(db: Db) {
    let store = &db.store;
    let root = store.add_user(OPERATOR, new_user(None, "root", Role::SuperAdmin)).await.unwrap();
    store.add_user(OPERATOR, new_user(None, "other", Role::SuperAdmin)).await.unwrap();
    for hash in 1..=4 {
        store.add_refresh_token(token(&root, hash)).await.unwrap();
    }
    let rotate = async |hash: u8, now| store.rotate_refresh_token([hash; 32], [hash + 100; 32], now, at(200)).await;
    assert_eq!(rotate(99, at(1)).await.unwrap(), Rotation::Refused, "unknown");
    assert_eq!(rotate(1, at(100)).await.unwrap(), Rotation::Refused, "expired");
    store.revoke_refresh_token([2; 32]).await.unwrap();
    assert_eq!(rotate(2, at(1)).await.unwrap(), Rotation::Refused, "logged out");
    assert!(matches!(rotate(3, at(1)).await.unwrap(), Rotation::Done(_)));
    store.revoke_refresh_tokens_of(root.id).await.unwrap();
    assert_eq!(rotate(103, at(2)).await.unwrap(), Rotation::Refused, "all revoked");
    store.add_refresh_token(token(&root, 9)).await.unwrap();
    store
        .change_user(OPERATOR, root.id, None, UserChange { enabled: Some(false), ..UserChange::default() })
        .await
        .unwrap();
    assert_eq!(rotate(9, at(1)).await.unwrap(), Rotation::Refused, "the user is disabled");
    assert_eq!(store.purge_refresh_tokens(at(150), 4).await.unwrap(), 4);
    assert_eq!(store.purge_refresh_tokens(at(150), 4).await.unwrap(), 1);
}

async fn keys_are_found_by_their_hash_until_they_are_revoked(db: Db) {
    let (tenant, _) = db.tenant_with_pbx("acme").await;
    let store = &db.store;
    let key = store.add_api_key(OPERATOR, new_key(Some(tenant), Role::Operator, 1)).await.unwrap();
    assert_eq!(store.api_key_by_hash([1; 32]).await.unwrap(), Some(key.clone()));
    assert_eq!(store.api_key_by_hash([2; 32]).await.unwrap(), None);
    store.note_api_key_used(key.id, at(1)).await.unwrap();
    for second in [2, 3] {
        let revoked = store.revoke_api_key(OPERATOR, key.id, at(second)).await.unwrap();
        assert_eq!((revoked.last_used_at, revoked.revoked_at), (Some(at(1)), Some(at(2))), "revoked once");
    }
    assert!(store.api_key_by_hash([1; 32]).await.unwrap().unwrap().revoked_at.is_some());
    assert!(matches!(store.add_api_key(OPERATOR, new_key(None, Role::Viewer, 3)).await, Err(Error::RoleAndTenant)));
}

async fn keys_stay_in_their_tenant(db: Db) {
    let (tenant, _) = db.tenant_with_pbx("acme").await;
    let (other, _) = db.tenant_with_pbx("rival").await;
    let (own, theirs) = (TenantScope::Tenant(tenant), TenantScope::Tenant(other));
    let store = &db.store;
    let root = store.add_api_key(OPERATOR, new_key(None, Role::SuperAdmin, 1)).await.unwrap();
    let key = store.add_api_key(own, new_key(Some(tenant), Role::Viewer, 2)).await.unwrap();
    assert_eq!(store.api_keys(own, ApiKeyFilter::default()).await.unwrap(), std::slice::from_ref(&key));
    assert_eq!(store.api_keys(theirs, ApiKeyFilter::default()).await.unwrap(), []);
    for (scope, id) in [(theirs, key.id), (own, root.id)] {
        assert!(matches!(store.revoke_api_key(scope, id, at(1)).await, Err(Error::NotFound { .. })));
    }
    for new in [new_key(Some(tenant), Role::Viewer, 3), new_key(None, Role::SuperAdmin, 3)] {
        assert!(matches!(store.add_api_key(theirs, new).await, Err(Error::NotFound { .. })));
    }
    assert_eq!(
        store.api_keys(OPERATOR, ApiKeyFilter::default()).await.unwrap(),
        [key, root],
        "nothing was changed, the newest first"
    );
}

fn entry(tenant: Option<TenantId>, target: &str) -> NewAuditEntry {
    NewAuditEntry {
        tenant,
        actor: "ada".to_owned(),
        address: Some("192.0.2.1".to_owned()),
        action: "user.change".to_owned(),
        target: target.to_owned(),
        outcome: "done".to_owned(),
        detail: json!({"field": "role"}),
    }
}

async fn the_audit_log_is_read_in_pages_of_ones_own(db: Db) {
    let (tenant, _) = db.tenant_with_pbx("acme").await;
    let store = &db.store;
    for n in 0..5 {
        store.audit(entry((n % 2 == 0).then_some(tenant), &n.to_string())).await.unwrap();
    }
    let targets = |entries: &[aimg_store::AuditEntry]| entries.iter().map(|e| e.target.clone()).collect::<Vec<_>>();
    let all = AuditFilter { limit: Some(2), ..AuditFilter::default() };
    let page = store.audit_log(OPERATOR, all.clone()).await.unwrap();
    assert_eq!(targets(&page), ["4", "3"]);
    let after = Some(AuditPlace { at: page[1].at, id: page[1].id });
    let next = store.audit_log(OPERATOR, AuditFilter { after, ..all }).await.unwrap();
    assert_eq!(targets(&next), ["2", "1"]);
    let own = store.audit_log(TenantScope::Tenant(tenant), AuditFilter::default()).await.unwrap();
    assert_eq!(targets(&own), ["4", "2", "0"]);
}

async fn the_audit_log_is_filtered_by_each_of_its_columns(db: Db) {
    let (tenant, _) = db.tenant_with_pbx("acme").await;
    let store = &db.store;
    let other =
        NewAuditEntry { actor: "bob".to_owned(), action: "pbx.add".to_owned(), ..entry(Some(tenant), "office") };
    store.audit(entry(None, "ada")).await.unwrap();
    store.audit(other).await.unwrap();
    let log = store.audit_log(OPERATOR, AuditFilter::default()).await.unwrap();
    let (late, early) = (log[0].at, log[1].at);
    let none = AuditFilter::default;
    for (filter, expected) in [
        (AuditFilter { tenant: Some(tenant), ..none() }, &["office"][..]),
        (AuditFilter { actor: Some("ada".to_owned()), ..none() }, &["ada"]),
        (AuditFilter { action: Some("pbx.add".to_owned()), ..none() }, &["office"]),
        (AuditFilter { target: Some("ada".to_owned()), ..none() }, &["ada"]),
        (AuditFilter { from: Some(early), ..none() }, &["office", "ada"]),
        (AuditFilter { from: Some(late + std::time::Duration::from_micros(1)), ..none() }, &[]),
        (AuditFilter { before: Some(early), ..none() }, &[]),
    ] {
        let found = store.audit_log(OPERATOR, filter.clone()).await.unwrap();
        assert_eq!(found.iter().map(|e| e.target.as_str()).collect::<Vec<_>>(), expected, "{filter:?}");
    }
}

async fn lists_come_in_pages(db: Db) {
    let (tenant, _) = db.tenant_with_pbx("acme").await;
    let store = &db.store;
    let mut keys = Vec::new();
    for (name, hash) in [("ada", 1), ("bob", 2), ("eve", 3)] {
        store.add_user(OPERATOR, new_user(Some(tenant), name, Role::Viewer)).await.unwrap();
        keys.push(store.add_api_key(OPERATOR, new_key(Some(tenant), Role::Viewer, hash)).await.unwrap().id);
    }
    store.add_user(OPERATOR, new_user(None, "cid", Role::SuperAdmin)).await.unwrap();
    let page = UserFilter { tenant: Some(tenant), after: Some("ada".to_owned()), limit: Some(1) };
    let names = async |filter| store.users(OPERATOR, filter).await.unwrap().into_iter().map(|u| u.name);
    assert_eq!(names(page.clone()).await.collect::<Vec<_>>(), ["bob"]);
    assert_eq!(names(UserFilter { limit: None, ..page.clone() }).await.collect::<Vec<_>>(), ["bob", "eve"]);
    assert_eq!(names(UserFilter { tenant: None, limit: None, ..page }).await.count(), 3);
    let older = ApiKeyFilter { tenant: Some(tenant), before: Some(keys[2]), limit: Some(1) };
    let found = store.api_keys(OPERATOR, older).await.unwrap();
    assert_eq!(found.iter().map(|k| k.id).collect::<Vec<_>>(), [keys[1]]);
}

async fn the_last_super_admin_who_may_log_in_stays(db: Db) {
    let store = &db.store;
    let root = store.add_user(OPERATOR, new_user(None, "root", Role::SuperAdmin)).await.unwrap().id;
    let other = store.add_user(OPERATOR, new_user(None, "other", Role::SuperAdmin)).await.unwrap().id;
    let disable = || UserChange { enabled: Some(false), ..UserChange::default() };
    store.change_user(OPERATOR, other, None, disable()).await.unwrap();
    let refused = [
        store.change_user(OPERATOR, root, None, disable()).await.map(drop),
        store.remove_user(OPERATOR, root, None).await,
    ];
    assert!(refused.iter().all(|r| matches!(r, Err(Error::LastSuperAdmin { .. }))), "{refused:?}");
    assert!(matches!(store.remove_user(OPERATOR, other, Some(1)).await, Err(Error::Stale { .. })));
    store.remove_user(OPERATOR, other, Some(2)).await.unwrap();
    assert!(store.user(OPERATOR, root).await.unwrap().enabled);
}
