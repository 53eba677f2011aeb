//! `aimg createsuperuser`.

use aimg_accounts::{Accounts, Policy};
use aimg_core::{Role, TenantScope};
use aimg_store::NewAuditEntry;

use super::open_store;
use super::secret::secret;
use crate::cli::CreateSuperuser;
use crate::output::Output;
use crate::settings::Settings;

const PASSWORD: [&str; 2] = ["password", "AIMG_SUPERUSER_PASSWORD"];

pub(crate) async fn run(settings: &Settings, output: Output, new: CreateSuperuser) -> anyhow::Result<()> {
    let store = open_store(settings).await?;
    let accounts = Accounts::new(store.clone(), Policy::default())?;
    let password = secret(new.password, PASSWORD)?;
    let user = accounts.add_user(TenantScope::Operator, None, &new.name, Role::SuperAdmin, password).await?;
    let entry = NewAuditEntry {
        tenant: None,
        actor: "command line".to_owned(),
        address: None,
        action: "user.add".to_owned(),
        target: user.id.to_string(),
        outcome: "done".to_owned(),
        detail: serde_json::json!({ "role": Role::SuperAdmin }),
    };
    store.audit(entry).await?;
    output.print(&user, |user| format!("super admin {} added; next: aimg serve, then log in", user.name))
}
