//! Tenants: who they are, whether they are served, and which of their calls are captured.

use aimg_core::{TenantId, TenantScope, Timestamp};
use sea_orm::{ActiveModelTrait, ColumnTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect, Select, SqlErr};
use serde::Serialize;
use uuid::Uuid;

use crate::entity::{api_key, call_session, pbx, pbx_rule, tenant, user, webhook};
use crate::error::{Error, Result};
use crate::name;
use crate::scope::{Rows, TenantRows};
use crate::store::{Store, now};

const WHAT: &str = "tenant";

/// A customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its name, unique on this installation.
    pub name: String,
    /// Which of its calls are captured; what it means is the session crate's.
    pub capture_rule: serde_json::Value,
    /// Whether its calls are looked at at all.
    pub enabled: bool,
    /// When it was added.
    pub created_at: Timestamp,
    /// Grows with each change.
    pub version: i32,
}

/// What is to be different about a tenant; what is nothing stays. The fields are those of [`Tenant`].
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the fields are documented at Tenant")]
pub struct TenantChange {
    pub name: Option<String>,
    pub capture_rule: Option<serde_json::Value>,
    pub enabled: Option<bool>,
}

impl Store {
    /// Adds a tenant, enabled; the operator only.
    pub async fn add_tenant(&self, scope: TenantScope, name: &str, capture_rule: serde_json::Value) -> Result<Tenant> {
        if scope != TenantScope::Operator {
            return Err(Error::OperatorOnly { what: "add a tenant" });
        }
        name::check(name)?;
        let row = tenant::Model {
            id: Uuid::now_v7(),
            name: name.to_owned(),
            capture_rule,
            enabled: true,
            created_at: now().as_micros(),
            version: 1,
        };
        let rows = self.write(scope).await?;
        row.clone().into_active_model().insert(rows.db()).await.map_err(|e| Error::from_write(e, WHAT, name))?;
        rows.commit().await?;
        Ok(row.into())
    }

    /// The tenants in reach, by name.
    pub async fn tenants(&self, scope: TenantScope) -> Result<Vec<Tenant>> {
        let rows = self.read(scope).await?;
        let found = rows.select::<tenant::Entity>().order_by_asc(tenant::Column::Name).all(rows.db()).await?;
        Ok(found.into_iter().map(Tenant::from).collect())
    }

    /// A page of [`Store::tenants`]: those whose names come behind `after`, at most `limit`.
    pub async fn tenants_after(&self, scope: TenantScope, after: Option<&str>, limit: u64) -> Result<Vec<Tenant>> {
        let rows = self.read(scope).await?;
        let mut query = rows.select::<tenant::Entity>().order_by_asc(tenant::Column::Name).limit(limit);
        if let Some(after) = after {
            query = query.filter(tenant::Column::Name.gt(after));
        }
        Ok(query.all(rows.db()).await?.into_iter().map(Tenant::from).collect())
    }

    /// The tenant with this id.
    pub async fn tenant(&self, scope: TenantScope, id: TenantId) -> Result<Tenant> {
        let rows = self.read(scope).await?;
        let query = rows.select::<tenant::Entity>().filter(tenant::Column::Id.eq(id.as_uuid()));
        query.one(rows.db()).await?.map(Tenant::from).ok_or_else(|| Error::not_found(WHAT, id))
    }

    /// The tenant of this name.
    pub async fn tenant_by_name(&self, scope: TenantScope, name: &str) -> Result<Tenant> {
        let rows = self.read(scope).await?;
        let query = rows.select::<tenant::Entity>().filter(tenant::Column::Name.eq(name));
        query.one(rows.db()).await?.map(Tenant::from).ok_or_else(|| Error::not_found(WHAT, name))
    }

    /// Enables or disables a tenant; the operator only.
    pub async fn set_tenant_enabled(&self, scope: TenantScope, id: TenantId, enabled: bool) -> Result<()> {
        let change = TenantChange { enabled: Some(enabled), ..TenantChange::default() };
        self.change_tenant(scope, id, None, change).await.map(drop)
    }

    /// Sets which of a tenant's calls are captured, from the next call on.
    pub async fn set_capture_rule(
        &self,
        scope: TenantScope,
        id: TenantId,
        capture_rule: serde_json::Value,
    ) -> Result<()> {
        let change = TenantChange { capture_rule: Some(capture_rule), ..TenantChange::default() };
        self.change_tenant(scope, id, None, change).await.map(drop)
    }

    /// Changes a tenant, unless somebody else did after `version` was read. [`Error::Stale`] then. Its name, and whether it is
    /// enabled, are the operator's to change.
    pub async fn change_tenant(
        &self,
        scope: TenantScope,
        id: TenantId,
        version: Option<i32>,
        change: TenantChange,
    ) -> Result<Tenant> {
        let rows = self.write(scope).await?;
        let mut row = current(&rows, id, version).await?;
        if scope != TenantScope::Operator && (change.name.is_some() || change.enabled.is_some()) {
            return Err(Error::OperatorOnly { what: "rename a tenant, enable or disable it" });
        }
        if let Some(name) = change.name {
            name::check(&name)?;
            row.name = name;
        }
        row.capture_rule = change.capture_rule.unwrap_or(row.capture_rule);
        row.enabled = change.enabled.unwrap_or(row.enabled);
        let read_version = row.version;
        row.version += 1;
        let update = rows
            .update::<tenant::Entity>()
            .set(row.clone().into_active_model().reset_all())
            .filter(tenant::Column::Id.eq(id.as_uuid()))
            // On PostgreSQL another transaction may have been between our look and now.
            .filter(tenant::Column::Version.eq(read_version));
        let done = update.exec(rows.db()).await.map_err(|e| Error::from_write(e, WHAT, &row.name))?;
        if done.rows_affected == 0 {
            return Err(Error::Stale { what: WHAT, id: id.to_string() });
        }
        rows.commit().await?;
        Ok(row.into())
    }

    /// Removes a tenant of which nothing is left but revoked keys, unless somebody changed it after `version` was read; the
    /// operator only. What was done in it stays in the audit log.
    pub async fn remove_tenant(&self, scope: TenantScope, id: TenantId, version: Option<i32>) -> Result<()> {
        if scope != TenantScope::Operator {
            return Err(Error::OperatorOnly { what: "remove a tenant" });
        }
        let rows = self.write(scope).await?;
        current(&rows, id, version).await?;
        let good_keys = of::<api_key::Entity>(&rows, id).filter(api_key::Column::RevokedAt.is_null());
        let left = [
            ("PBXs", is_any(&rows, of::<pbx::Entity>(&rows, id)).await?),
            ("rules of shared PBXs", is_any(&rows, of::<pbx_rule::Entity>(&rows, id)).await?),
            ("users", is_any(&rows, of::<user::Entity>(&rows, id)).await?),
            ("API keys", is_any(&rows, good_keys).await?),
            ("webhooks", is_any(&rows, of::<webhook::Entity>(&rows, id)).await?),
            ("calls", is_any(&rows, of::<call_session::Entity>(&rows, id)).await?),
        ];
        let has = left.iter().filter(|(_, any)| *any).map(|(what, _)| *what).collect::<Vec<_>>().join(", ");
        let in_use = |has: &str| Error::InUse { what: WHAT, id: id.to_string(), has: has.to_owned() };
        if !has.is_empty() {
            return Err(in_use(&has));
        }
        let keys = rows.delete::<api_key::Entity>().filter(api_key::Column::TenantId.eq(id.as_uuid()));
        keys.exec(rows.db()).await?;
        let delete = rows.delete::<tenant::Entity>().filter(tenant::Column::Id.eq(id.as_uuid()));
        delete.exec(rows.db()).await.map_err(|e| match e.sql_err() {
            Some(SqlErr::ForeignKeyConstraintViolation(_)) => in_use("other rows"),
            _ => e.into(),
        })?;
        rows.commit().await
    }
}

/// The row, unless it was changed after `version` was read.
async fn current(rows: &Rows, id: TenantId, version: Option<i32>) -> Result<tenant::Model> {
    let query = rows.select::<tenant::Entity>().filter(tenant::Column::Id.eq(id.as_uuid()));
    let row = query.one(rows.db()).await?.ok_or_else(|| Error::not_found(WHAT, id))?;
    match version {
        Some(version) if version != row.version => Err(Error::Stale { what: WHAT, id: id.to_string() }),
        _ => Ok(row),
    }
}

/// The rows of one tenant.
fn of<E: TenantRows>(rows: &Rows, tenant: TenantId) -> Select<E> {
    rows.select::<E>().filter(E::TENANT.eq(tenant.as_uuid()))
}

async fn is_any<E: TenantRows>(rows: &Rows, which: Select<E>) -> Result<bool> {
    Ok(which.limit(1).one(rows.db()).await?.is_some())
}

impl From<tenant::Model> for Tenant {
    fn from(row: tenant::Model) -> Self {
        Self {
            id: TenantId::from_uuid(row.id),
            name: row.name,
            capture_rule: row.capture_rule,
            enabled: row.enabled,
            created_at: Timestamp::from_micros(row.created_at),
            version: row.version,
        }
    }
}
