//! Settings: which value is in force, who may change it, what is sealed.

use aimg_core::{Setting, SettingDefault, SettingKind, TenantId, TenantScope};
use aimg_store::{Error, Origin};
use secrecy::ExposeSecret;
use serde_json::json;
use uuid::Uuid;

use crate::fixture::{Db, OPERATOR};

conformance! {
    a_tenants_value_wins_over_the_installations_and_that_over_the_default,
    a_setting_is_changed_by_whom_it_allows,
    a_setting_changed_meanwhile_is_refused,
    secrets_are_sealed_and_not_shown,
}

const DAYS: &Setting = &Setting::RECORDINGS_RETENTION_DAYS;
const SECRET: &Setting = &Setting {
    key: "test.secret",
    kind: SettingKind::Secret { bytes_max: 40 },
    default: SettingDefault::Unset,
    ..Setting::RECORDINGS_RETENTION_DAYS
};

/// A row in each table of this file.
pub(crate) async fn fill(db: &Db, tenant: TenantId) {
    db.store.change_setting(OPERATOR, Some(tenant), DAYS, json!(7), None, "root").await.unwrap();
}

async fn a_tenants_value_wins_over_the_installations_and_that_over_the_default(db: Db) {
    let (tenant, _) = db.tenant_with_pbx("acme").await;
    let (other, _) = db.tenant_with_pbx("rival").await;
    let (store, own) = (&db.store, TenantScope::Tenant(tenant));
    let seen = async |of| {
        let scope = TenantScope::Tenant(of);
        let one = store.setting(scope, Some(of), DAYS).await.unwrap();
        let all = store.settings(scope, Some(of)).await.unwrap();
        assert_eq!(
            all.iter().map(|s| s.setting.key).collect::<Vec<_>>(),
            Setting::ALL.iter().map(|s| s.key).collect::<Vec<_>>()
        );
        assert!(all.contains(&one));
        (one.value, one.origin, one.version)
    };
    assert_eq!(seen(tenant).await, (json!(0), Origin::Default, 0));
    let changed = store.change_setting(own, Some(tenant), DAYS, json!(30), Some(0), "ada").await.unwrap();
    assert_eq!((changed.changed_by.as_deref(), changed.changed_at.is_some()), (Some("ada"), true));
    store.change_setting(OPERATOR, None, DAYS, json!(90), None, "root").await.unwrap();
    assert_eq!(seen(tenant).await, (json!(30), Origin::Tenant, 1));
    assert_eq!(seen(other).await, (json!(90), Origin::Installation, 1));
    store.change_setting(own, Some(tenant), DAYS, json!(31), Some(1), "ada").await.unwrap();
    assert_eq!(seen(tenant).await, (json!(31), Origin::Tenant, 2));
    store.reset_setting(own, Some(tenant), DAYS, Some(2)).await.unwrap();
    assert_eq!(seen(tenant).await, (json!(90), Origin::Installation, 1));
    store.reset_setting(own, Some(tenant), DAYS, None).await.unwrap();
    let installation = store.reset_setting(OPERATOR, None, DAYS, None).await.unwrap();
    assert_eq!((installation.value, installation.origin), (json!(0), Origin::Default));
}

async fn a_setting_is_changed_by_whom_it_allows(db: Db) {
    let (tenant, _) = db.tenant_with_pbx("acme").await;
    let (other, _) = db.tenant_with_pbx("rival").await;
    let (store, own, theirs) = (&db.store, TenantScope::Tenant(tenant), TenantScope::Tenant(other));
    let outcomes = [
        store.settings(theirs, Some(tenant)).await.map(drop),
        store.setting(theirs, Some(tenant), DAYS).await.map(drop),
        store.secret_setting(theirs, Some(tenant), SECRET).await.map(drop),
        store.change_setting(theirs, Some(tenant), DAYS, json!(1), None, "eve").await.map(drop),
        store.reset_setting(theirs, Some(tenant), DAYS, None).await.map(drop),
        store
            .change_setting(OPERATOR, Some(TenantId::from_uuid(Uuid::nil())), DAYS, json!(1), None, "eve")
            .await
            .map(drop),
    ];
    assert!(outcomes.iter().all(|o| matches!(o, Err(Error::NotFound { .. }))), "{outcomes:?}");
    let audit = &Setting::AUDIT_RETENTION_DAYS;
    let outcomes = [
        store.settings(own, None).await.map(drop),
        store.setting(own, None, DAYS).await.map(drop),
        store.secret_setting(own, None, SECRET).await.map(drop),
        store.change_setting(own, None, DAYS, json!(1), None, "ada").await.map(drop),
        store.reset_setting(own, None, DAYS, None).await.map(drop),
        store.change_setting(own, Some(tenant), audit, json!(1), None, "ada").await.map(drop),
        store.reset_setting(own, Some(tenant), audit, None).await.map(drop),
    ];
    assert!(outcomes.iter().all(|o| matches!(o, Err(Error::OperatorOnly { .. }))), "{outcomes:?}");
    store.change_setting(OPERATOR, Some(tenant), audit, json!(1), None, "root").await.unwrap();
    let wrong = store.change_setting(own, Some(tenant), DAYS, json!(-1), None, "ada").await.unwrap_err();
    assert!(matches!(wrong, Error::BadSetting(_)), "{wrong:?}");
}

async fn a_setting_changed_meanwhile_is_refused(db: Db) {
    let (tenant, _) = db.tenant_with_pbx("acme").await;
    let store = &db.store;
    let change = async |value: i32, expected| {
        store.change_setting(OPERATOR, Some(tenant), DAYS, json!(value), expected, "root").await.map(|s| s.version)
    };
    assert_eq!(change(1, Some(0)).await.unwrap(), 1);
    for stale in [Some(0), Some(2)] {
        assert!(matches!(change(2, stale).await, Err(Error::Stale { .. })), "{stale:?}");
        let reset = store.reset_setting(OPERATOR, Some(tenant), DAYS, stale).await;
        assert!(matches!(reset, Err(Error::Stale { .. })), "{reset:?}");
    }
    assert_eq!(change(3, Some(1)).await.unwrap(), 2);
    assert_eq!(change(4, None).await.unwrap(), 3);
    assert_eq!(store.setting(OPERATOR, Some(tenant), DAYS).await.unwrap().value, json!(4));
}

async fn secrets_are_sealed_and_not_shown(db: Db) {
    let (tenant, _) = db.tenant_with_pbx("acme").await;
    let (other, _) = db.tenant_with_pbx("rival").await;
    let (store, own) = (&db.store, TenantScope::Tenant(tenant));
    let opened = async |of| {
        let secret = store.secret_setting(OPERATOR, Some(of), SECRET).await;
        secret.map(|secret| secret.map(|s| s.expose_secret().to_owned()))
    };
    assert_eq!(opened(tenant).await.unwrap(), None);
    assert!(!store.setting(own, Some(tenant), SECRET).await.unwrap().is_set);
    let global = store.change_setting(OPERATOR, None, SECRET, json!("for all"), None, "root").await.unwrap();
    assert_eq!((global.value, global.is_set), (json!(null), true));
    assert_eq!(opened(tenant).await.unwrap().as_deref(), Some("for all"));
    store.change_setting(own, Some(tenant), SECRET, json!("of acme"), None, "ada").await.unwrap();
    let shown = store.setting(own, Some(tenant), SECRET).await.unwrap();
    assert_eq!((&shown.value, shown.is_set), (&json!(null), true));
    assert_eq!(opened(tenant).await.unwrap().as_deref(), Some("of acme"));
    assert_eq!(opened(other).await.unwrap().as_deref(), Some("for all"));

    // A sealed value that somebody moved to another tenant's row does not open there.
    store.change_setting(OPERATOR, Some(other), SECRET, json!("x"), None, "root").await.unwrap();
    let whose = |tenant: TenantId| match db.config.place {
        aimg_store::Place::Sqlite(_) => format!("tenant_id = x'{}'", tenant.as_uuid().simple()),
        aimg_store::Place::Postgres(_) => format!("tenant_id = '{tenant}'"),
    };
    let (from, to) = (whose(tenant), whose(other));
    db.run_sql(&format!("UPDATE settings SET sealed = (SELECT sealed FROM settings WHERE {from}) WHERE {to}")).await;
    assert!(matches!(opened(other).await, Err(Error::Secret(_))));
}
