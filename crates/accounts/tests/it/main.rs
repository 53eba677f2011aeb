//! Log-ins, tokens and keys on a real database.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test, with its place")]

use std::time::Duration;

use aimg_accounts::{Accounts, Error, KeyRequest, Policy, Principal};
use aimg_core::{DataKey, Permission, Role, TenantId, TenantScope, Timestamp};
use aimg_store::{ApiKeyFilter, Config, Store, UserChange, UserFilter};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tempfile::TempDir;

const OPERATOR: TenantScope = TenantScope::Operator;
const RIGHT: &str = "correct horse";

struct Fixture {
    accounts: Accounts,
    store: Store,
    tenant: TenantId,
    _dir: TempDir,
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::default() + Duration::from_secs(1_800_000_000 + seconds)
}

/// An installation with the users root, who is super admin, and ada of acme with this role.
async fn fixture(role: Role) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Config::sqlite(dir.path().join("aimg.db")), DataKey::derive(b"secret")).await.unwrap();
    let accounts = Accounts::new(store.clone(), Policy::default()).unwrap();
    let tenant = store.add_tenant(OPERATOR, "acme", json!("all")).await.unwrap().id;
    accounts.add_user(OPERATOR, None, "root", Role::SuperAdmin, RIGHT.into()).await.unwrap();
    accounts.add_user(OPERATOR, Some(tenant), "ada", role, RIGHT.into()).await.unwrap();
    Fixture { accounts, store, tenant, _dir: dir }
}

impl Fixture {
    async fn principal(&self, name: &str) -> Principal {
        let login = self.accounts.log_in(name, RIGHT.into(), at(0)).await.unwrap();
        self.accounts.authenticate(&login.access, at(0)).await.unwrap()
    }
}

#[tokio::test]
async fn who_knows_the_password_is_let_in_for_an_hour() {
    let f = fixture(Role::Operator).await;
    for (name, password) in [("ada", "wrong horse"), ("nobody", RIGHT), ("", "")] {
        let refused = f.accounts.log_in(name, password.into(), at(0)).await;
        assert!(matches!(refused, Err(Error::WrongCredentials)), "{refused:?}");
    }
    let login = f.accounts.log_in("ADA", RIGHT.into(), at(0)).await.unwrap();
    let ada = f.accounts.authenticate(&login.access, at(3_599)).await.unwrap();
    assert_eq!((ada.scope(), ada.role, ada.name.as_str()), (TenantScope::Tenant(f.tenant), Role::Operator, "ada"));
    assert!(ada.may(Permission::CallsControl) && !ada.may(Permission::UsersChange));
    assert!(matches!(ada.require(Permission::UsersChange), Err(Error::NotAllowed(Permission::UsersChange))));
    for (token, now) in [(login.access.expose_secret(), 3_600), ("", 0), ("a.b.c", 0), ("aimgk_0", 0)] {
        let refused = f.accounts.authenticate(&token.into(), at(now)).await;
        assert!(matches!(refused, Err(Error::NotValid)), "{refused:?}");
    }
    assert!(!format!("{login:?}").contains(login.access.expose_secret()));
}

#[tokio::test]
async fn wrong_passwords_lock_longer_and_longer() {
    let f = fixture(Role::Viewer).await;
    for _ in 0..5 {
        assert!(matches!(f.accounts.log_in("ada", "no".into(), at(0)).await, Err(Error::WrongCredentials)));
    }
    let mut now = 0;
    for pause in [30, 60, 120] {
        let locked = f.accounts.log_in("ada", RIGHT.into(), at(now + pause - 1)).await;
        assert!(matches!(locked, Err(Error::LockedOut { until }) if until == at(now + pause)), "{locked:?}");
        now += pause;
        assert!(matches!(f.accounts.log_in("ada", "no".into(), at(now)).await, Err(Error::WrongCredentials)));
    }
    assert!(f.accounts.log_in("root", RIGHT.into(), at(now)).await.is_ok(), "others are not locked");
    assert!(f.accounts.log_in("ada", RIGHT.into(), at(now + 900)).await.is_ok());
    assert!(matches!(f.accounts.log_in("ada", "no".into(), at(now + 900)).await, Err(Error::WrongCredentials)));
    assert!(f.accounts.log_in("ada", RIGHT.into(), at(now + 900)).await.is_ok(), "the count began anew");
}

#[tokio::test]
async fn a_refresh_token_that_comes_again_ends_its_log_in() {
    let f = fixture(Role::Viewer).await;
    let (first, other) =
        (f.accounts.log_in("ada", RIGHT.into(), at(0)).await, f.accounts.log_in("ada", RIGHT.into(), at(0)).await);
    let (first, other) = (first.unwrap(), other.unwrap());
    let second = f.accounts.refresh(&first.refresh, at(10)).await.unwrap();
    assert!(f.accounts.authenticate(&second.access, at(3_605)).await.is_ok());
    assert!(matches!(f.accounts.refresh(&first.refresh, at(11)).await, Err(Error::Reused)));
    assert!(matches!(f.accounts.refresh(&second.refresh, at(12)).await, Err(Error::NotValid)));
    let other = f.accounts.refresh(&other.refresh, at(12)).await.unwrap();
    f.accounts.log_out(&other.refresh).await.unwrap();
    assert!(matches!(f.accounts.refresh(&other.refresh, at(13)).await, Err(Error::NotValid)));
    assert!(matches!(f.accounts.refresh(&"aimgr_0".into(), at(13)).await, Err(Error::NotValid)));
}

#[tokio::test]
async fn a_user_who_was_changed_has_to_log_in_again() {
    let f = fixture(Role::TenantAdmin).await;
    let changes: [(&str, UserChange); 2] = [
        ("role", UserChange { role: Some(Role::Viewer), ..UserChange::default() }),
        ("enabled", UserChange { enabled: Some(false), ..UserChange::default() }),
    ];
    let login = f.accounts.log_in("ada", RIGHT.into(), at(0)).await.unwrap();
    f.accounts.set_password(OPERATOR, login.user.id, "another horse".into()).await.unwrap();
    assert!(f.accounts.authenticate(&login.access, at(1)).await.is_err());
    assert!(f.accounts.refresh(&login.refresh, at(1)).await.is_err());
    for (what, change) in changes {
        let login = f.accounts.log_in("ada", "another horse".into(), at(1)).await.unwrap();
        f.accounts.change_user(OPERATOR, login.user.id, Some(login.user.version), change).await.unwrap();
        assert!(matches!(f.accounts.authenticate(&login.access, at(2)).await, Err(Error::NotValid)), "{what}");
        assert!(matches!(f.accounts.refresh(&login.refresh, at(2)).await, Err(Error::NotValid)), "{what}");
    }
    assert!(matches!(f.accounts.log_in("ada", "another horse".into(), at(3)).await, Err(Error::WrongCredentials)));
}

#[tokio::test]
async fn a_cookie_alone_changes_nothing() {
    let f = fixture(Role::Viewer).await;
    let login = f.accounts.log_in("ada", RIGHT.into(), at(0)).await.unwrap();
    let other = f.accounts.log_in("ada", RIGHT.into(), at(0)).await.unwrap();
    let cookie = async |csrf: Option<&str>, changes| {
        f.accounts.authenticate_cookie(&login.access, csrf, changes, at(1)).await.is_ok()
    };
    assert!(cookie(None, false).await);
    for (csrf, let_in) in
        [(None, false), (Some(""), false), (Some(other.csrf.as_str()), false), (Some(login.csrf.as_str()), true)]
    {
        assert_eq!(cookie(csrf, true).await, let_in, "{csrf:?}");
    }
}

fn key(tenant: Option<TenantId>, role: Role, permissions: Option<Vec<Permission>>) -> KeyRequest {
    KeyRequest { tenant, name: "crm".to_owned(), role, permissions, expires_at: Some(at(100)) }
}

#[tokio::test]
async fn keys_let_in_until_they_expire_or_are_revoked() {
    let f = fixture(Role::TenantAdmin).await;
    let ada = f.principal("ada").await;
    let made =
        f.accounts.make_key(&ada, key(Some(f.tenant), Role::Operator, Some(vec![Permission::CallsMonitor]))).await;
    let made = made.unwrap();
    assert!(made.secret.expose_secret().starts_with(&made.key.prefix) && made.key.prefix.len() == 12);
    let program = f.accounts.authenticate(&made.secret, at(99)).await.unwrap();
    assert_eq!(program.permissions(), [Permission::CallsMonitor], "no more than was asked for");
    assert_eq!(program.scope(), TenantScope::Tenant(f.tenant));
    assert_eq!(f.store.api_keys(OPERATOR, ApiKeyFilter::default()).await.unwrap()[0].last_used_at, Some(at(99)));
    assert!(matches!(f.accounts.authenticate(&made.secret, at(100)).await, Err(Error::NotValid)), "expired");
    f.store.revoke_api_key(ada.scope(), made.key.id, at(5)).await.unwrap();
    assert!(matches!(f.accounts.authenticate(&made.secret, at(6)).await, Err(Error::NotValid)), "revoked");
}

#[tokio::test]
async fn nobody_makes_a_key_that_may_more() {
    let f = fixture(Role::TenantAdmin).await;
    let (ada, root) = (f.principal("ada").await, f.principal("root").await);
    let refused = f.accounts.make_key(&ada, key(None, Role::SuperAdmin, None)).await;
    assert!(matches!(refused, Err(Error::NotAllowed(Permission::InstallationRun))), "{refused:?}");
    // Even with a list that holds nothing of it: the installation's keys are not hers to make.
    let refused = f.accounts.make_key(&ada, key(None, Role::SuperAdmin, Some(vec![Permission::CallsMonitor]))).await;
    assert!(matches!(refused, Err(Error::Store(aimg_store::Error::NotFound { .. }))), "{refused:?}");
    let limited: SecretString = f
        .accounts
        .make_key(&root, key(Some(f.tenant), Role::Operator, Some(vec![Permission::CallsMonitor])))
        .await
        .unwrap()
        .secret;
    let limited = f.accounts.authenticate(&limited, at(1)).await.unwrap();
    let refused = f.accounts.make_key(&limited, key(Some(f.tenant), Role::Viewer, None)).await;
    assert!(matches!(refused, Err(Error::NotAllowed(_))), "{refused:?}");
}

#[tokio::test]
async fn weak_passwords_make_no_user() {
    let f = fixture(Role::Viewer).await;
    let refused = f.accounts.add_user(OPERATOR, Some(f.tenant), "eve", Role::Viewer, "short".into()).await;
    assert!(matches!(refused, Err(Error::WeakPassword(_))), "{refused:?}");
    assert_eq!(f.store.users(OPERATOR, UserFilter::default()).await.unwrap().len(), 2);
}
