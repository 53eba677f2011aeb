//! `aimg tenant …`.

use aimg_core::TenantScope;

use super::open_store;
use crate::cli::Tenant;
use crate::output::{Output, table};
use crate::settings::Settings;

pub(crate) async fn run(settings: &Settings, output: Output, command: Tenant) -> anyhow::Result<()> {
    let store = open_store(settings).await?;
    match command {
        Tenant::Add { name, capture } => {
            let tenant = store.add_tenant(TenantScope::Operator, &name, capture.to_string().into()).await?;
            output.print(&tenant, |t| {
                format!("tenant {} added, captures {capture}; next: aimg pbx add NAME --tenant {}", t.name, t.name)
            })
        }
        Tenant::List => {
            let tenants = store.tenants(TenantScope::Operator).await?;
            output.print(&tenants, |tenants| {
                let rows = tenants.iter().map(|t| {
                    let rule = t.capture_rule.as_str().unwrap_or("?").to_owned();
                    [t.name.clone(), rule, if t.enabled { "yes" } else { "no" }.to_owned(), t.created_at.to_string()]
                });
                table(["TENANT", "CAPTURES", "ENABLED", "SINCE"], rows)
            })
        }
        Tenant::Disable { name } => {
            let tenant = store.tenant_by_name(TenantScope::Operator, &name).await?;
            store.set_tenant_enabled(TenantScope::Operator, tenant.id, false).await?;
            output.print(&serde_json::json!({ "tenant": name, "enabled": false }), |_| {
                format!("tenant {name} is disabled; its PBXs are not followed any more, nothing stored is removed")
            })
        }
    }
}
