//! `aimg user …`: the users of all tenants, also when nobody can log in.

use aimg_accounts::{Accounts, Policy};
use aimg_core::{Role, TenantId, TenantScope};
use aimg_store::{NewAuditEntry, Store, User, UserChange, UserFilter};
use serde_json::{Value, json};

use super::open_store;
use super::secret::secret;
use crate::cli::{self, CreateSuperuser};
use crate::output::{Output, table};
use crate::settings::Settings;

const PASSWORD: [&str; 2] = ["password", "AIMG_USER_PASSWORD"];
const SUPERUSER_PASSWORD: [&str; 2] = ["password", "AIMG_SUPERUSER_PASSWORD"];
const OPERATOR: TenantScope = TenantScope::Operator;

/// `aimg createsuperuser`.
pub(crate) async fn create_superuser(settings: &Settings, output: Output, new: CreateSuperuser) -> anyhow::Result<()> {
    let store = open_store(settings).await?;
    let accounts = Accounts::new(store.clone(), Policy::default())?;
    let password = secret(new.password, SUPERUSER_PASSWORD)?;
    let user = accounts.add_user(OPERATOR, None, &new.name, Role::SuperAdmin, password).await?;
    note(&store, &user, "user.add", json!({ "role": user.role })).await?;
    output.print(&user, |user| format!("super admin {} added; next: aimg serve, then log in", user.name))
}

pub(crate) async fn run(settings: &Settings, output: Output, command: cli::User) -> anyhow::Result<()> {
    let store = open_store(settings).await?;
    let accounts = Accounts::new(store.clone(), Policy::default())?;
    let change = async |name: &str, action, change: UserChange, detail| -> anyhow::Result<User> {
        let user = store.user_by_name(OPERATOR, name).await?;
        let user = accounts.change_user(OPERATOR, user.id, None, change).await?;
        note(&store, &user, action, detail).await?;
        Ok(user)
    };
    match command {
        cli::User::Add { name, tenant, role, password } => {
            let tenant = store.tenant_by_name(OPERATOR, &tenant).await?;
            let password = secret(password, PASSWORD)?;
            let user = accounts.add_user(OPERATOR, Some(tenant.id), &name, role, password).await?;
            note(&store, &user, "user.add", json!({ "role": user.role })).await?;
            output.print(&user, |user| format!("{} added, {} of {}", user.name, user.role, tenant.name))
        }
        cli::User::List { tenant } => list(&store, output, tenant).await,
        cli::User::SetPassword { name, password } => {
            let password = secret(password, PASSWORD)?;
            let user = store.user_by_name(OPERATOR, &name).await?;
            let user = accounts.set_password(OPERATOR, user.id, password).await?;
            note(&store, &user, "user.set_password", Value::Null).await?;
            output.print(&user, |user| format!("{} has a new password; all its log-ins have ended", user.name))
        }
        cli::User::SetRole { name, role } => {
            let wanted = UserChange { role: Some(role), ..UserChange::default() };
            let user = change(&name, "user.change_role", wanted, json!({ "role": role })).await?;
            output.print(&user, |user| format!("{} is {} now; all its log-ins have ended", user.name, user.role))
        }
        cli::User::Disable { name } => {
            let wanted = UserChange { enabled: Some(false), ..UserChange::default() };
            let user = change(&name, "user.change", wanted, json!({ "enabled": false })).await?;
            output.print(&user, |user| format!("{} is disabled; all its log-ins have ended", user.name))
        }
        cli::User::Enable { name } => {
            let wanted = UserChange { enabled: Some(true), ..UserChange::default() };
            let user = change(&name, "user.change", wanted, json!({ "enabled": true })).await?;
            output.print(&user, |user| format!("{} may log in again", user.name))
        }
    }
}

/// All of them, page by page.
async fn list(store: &Store, output: Output, tenant: Option<String>) -> anyhow::Result<()> {
    let tenants = store.tenants(OPERATOR).await?;
    let of = |id: TenantId| tenants.iter().find(|t| t.id == id).map_or_else(|| id.to_string(), |t| t.name.clone());
    let tenant = match &tenant {
        Some(name) => Some(store.tenant_by_name(OPERATOR, name).await?.id),
        None => None,
    };
    let (mut users, mut after) = (Vec::new(), None);
    loop {
        let page = store.users(OPERATOR, UserFilter { tenant, after, limit: None }).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.name.clone());
        users.extend(page);
    }
    output.print(&users, |users| {
        let rows = users.iter().map(|u| {
            let tenant = u.tenant.map_or_else(|| "all".to_owned(), of);
            let login = u.last_login_at.map_or_else(|| "never".to_owned(), |at| at.to_string());
            [u.name.clone(), tenant, u.role.to_string(), if u.enabled { "yes" } else { "no" }.to_owned(), login]
        });
        table(["USER", "TENANT", "ROLE", "ENABLED", "LAST LOG-IN"], rows)
    })
}

/// Writes it into the audit log.
async fn note(store: &Store, user: &User, action: &str, detail: Value) -> anyhow::Result<()> {
    let entry = NewAuditEntry {
        tenant: user.tenant,
        actor: "command line".to_owned(),
        address: None,
        action: action.to_owned(),
        target: user.id.to_string(),
        outcome: "done".to_owned(),
        detail,
    };
    Ok(store.audit(entry).await?)
}
