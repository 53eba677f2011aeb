//! Tenants: who they are, whether they are served, and which of their calls are captured.

use aimg_core::{TenantId, TenantScope, Timestamp};
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveModelTrait, ColumnTrait, IntoActiveModel, QueryFilter, QueryOrder};
use serde::Serialize;
use uuid::Uuid;

use crate::entity::tenant;
use crate::error::{Error, Result};
use crate::name;
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
        if scope != TenantScope::Operator {
            return Err(Error::OperatorOnly { what: "enable or disable a tenant" });
        }
        self.set_tenant(scope, id, tenant::Column::Enabled, Expr::value(enabled)).await
    }

    /// Sets which of a tenant's calls are captured, from the next call on.
    pub async fn set_capture_rule(
        &self,
        scope: TenantScope,
        id: TenantId,
        capture_rule: serde_json::Value,
    ) -> Result<()> {
        self.set_tenant(scope, id, tenant::Column::CaptureRule, Expr::value(capture_rule)).await
    }

    async fn set_tenant(&self, scope: TenantScope, id: TenantId, column: tenant::Column, to: Expr) -> Result<()> {
        let rows = self.write(scope).await?;
        let update = rows.update::<tenant::Entity>().col_expr(column, to).filter(tenant::Column::Id.eq(id.as_uuid()));
        match update.exec(rows.db()).await?.rows_affected {
            0 => Err(Error::not_found(WHAT, id)),
            _ => rows.commit().await,
        }
    }
}

impl From<tenant::Model> for Tenant {
    fn from(row: tenant::Model) -> Self {
        Self {
            id: TenantId::from_uuid(row.id),
            name: row.name,
            capture_rule: row.capture_rule,
            enabled: row.enabled,
            created_at: Timestamp::from_micros(row.created_at),
        }
    }
}
