//! Those who are not let in anywhere.

use std::time::Duration;

use aimg_accounts::{Accounts, KeyRequest, Policy, Principal};
use aimg_core::{Role, TenantScope, UserId};
use aimg_store::UserChange;
use secrecy::ExposeSecret;

use crate::fixture::{PASSWORD, Service};
use crate::world::key_of;

/// What each of them is, and what it shows: all of it was good once, for the admin of the first tenant, or looks so.
pub(crate) async fn strangers(service: &Service) -> Vec<(&'static str, Option<String>)> {
    let (tenant, role) = (Some(service.tenants[0]), Role::TenantAdmin);
    let revoked = key_of(service, tenant, role, "revoked").await;
    let now = revoked.key.created_at;
    service.store.revoke_api_key(TenantScope::Operator, revoked.key.id, now).await.unwrap();
    let request = KeyRequest { tenant, name: "expired".to_owned(), role, permissions: None, expires_at: Some(now) };
    let expired_key = service.accounts.make_key(&Principal::command_line(), request).await.unwrap();
    let disabled = service.account(role, 0).await;
    let short = Policy { access_life: Duration::ZERO, ..Policy::default() };
    let short = Accounts::new(service.store.clone(), short).unwrap();
    let expired = short.log_in(&disabled.name, PASSWORD.into(), now).await.unwrap();
    let user: UserId = disabled.tokens["user"]["id"].as_str().unwrap().parse().unwrap();
    let off = UserChange { enabled: Some(false), ..UserChange::default() };
    service.store.change_user(TenantScope::Operator, user, None, off).await.unwrap();
    let never = "aimgk_0000000000000000000000000000000000000000000000000000000000000000";
    vec![
        ("nothing", None),
        ("nonsense", Some("nonsense".to_owned())),
        ("a key that never was", Some(never.to_owned())),
        ("a revoked key", Some(revoked.secret.expose_secret().to_owned())),
        ("an expired key", Some(expired_key.secret.expose_secret().to_owned())),
        ("an expired token", Some(expired.access.expose_secret().to_owned())),
        ("a refresh token", Some(expired.refresh.expose_secret().to_owned())),
        ("a disabled user's token", Some(disabled.token.clone())),
    ]
}
