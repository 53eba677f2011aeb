//! Quotas: how much a tenant may use at most, and how much it does.

use aimg_core::{TenantId, TenantScope, Timestamp};
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveModelTrait, ColumnTrait, IntoActiveModel, QueryFilter};
use serde::Serialize;

use crate::entity::{quota, tenant_usage};
use crate::error::{Error, Result};
use crate::store::{Store, now};

const WHAT: &str = "quota";

/// How much a tenant may use at most; nothing for no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct QuotaBounds {
    /// Sessions that are captured at once on one node. Beyond it a call is seen and not captured.
    pub concurrent_sessions: Option<u32>,
    /// Bytes of recordings. Beyond it calls are seen and not captured.
    pub storage_bytes: Option<u64>,
    /// Requests to the API in a minute. Beyond it they are refused.
    pub requests_per_minute: Option<u32>,
}

/// A tenant's quota, and what it uses of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Quota {
    /// Whose it is.
    pub tenant: TenantId,
    /// The bounds.
    pub bounds: QuotaBounds,
    /// Grows with each change; 0 before the first.
    pub version: i32,
    /// When it was changed last, if ever.
    pub changed_at: Option<Timestamp>,
    /// Recordings that are kept.
    pub recordings: u64,
    /// What they take; the database counts along with each recording that comes or goes.
    pub stored_bytes: u64,
}

impl Store {
    /// A tenant's quota.
    pub async fn quota(&self, scope: TenantScope, tenant: TenantId) -> Result<Quota> {
        self.tenant(scope, tenant).await?;
        let rows = self.read(scope).await?;
        let quota = rows.select::<quota::Entity>().filter(quota::Column::TenantId.eq(tenant.as_uuid()));
        let used = rows.select::<tenant_usage::Entity>().filter(tenant_usage::Column::TenantId.eq(tenant.as_uuid()));
        quota_of(tenant, quota.one(rows.db()).await?, used.one(rows.db()).await?)
    }

    /// The quotas of all tenants, for whoever enforces them. Those without bounds are left out.
    pub async fn bounded_quotas(&self) -> Result<Vec<Quota>> {
        let rows = self.read(TenantScope::Operator).await?;
        let mut used: std::collections::HashMap<_, _> =
            rows.select::<tenant_usage::Entity>().all(rows.db()).await?.into_iter().map(|u| (u.tenant_id, u)).collect();
        let quotas = rows.select::<quota::Entity>().all(rows.db()).await?;
        let quota = |quota: quota::Model| {
            let (tenant, used) = (quota.tenant_id, used.remove(&quota.tenant_id));
            quota_of(TenantId::from_uuid(tenant), Some(quota), used)
        };
        quotas.into_iter().map(quota).collect()
    }

    /// Sets the bounds of a tenant; the operator only. With `expected`, only where the quota has this version.
    pub async fn set_quota(
        &self,
        scope: TenantScope,
        tenant: TenantId,
        bounds: QuotaBounds,
        expected: Option<i32>,
    ) -> Result<Quota> {
        if scope != TenantScope::Operator {
            return Err(Error::OperatorOnly { what: "change a quota" });
        }
        let rows = self.write(scope).await?;
        let found = rows.select::<quota::Entity>().filter(quota::Column::TenantId.eq(tenant.as_uuid()));
        let version = found.one(rows.db()).await?.map_or(0, |row| row.version);
        let stale = || Error::Stale { what: WHAT, id: tenant.to_string() };
        if expected.is_some_and(|expected| expected != version) {
            return Err(stale());
        }
        let row = row(tenant, bounds, version + 1);
        if version == 0 {
            row.into_active_model().insert(rows.db()).await.map_err(|e| {
                match Error::from_write(e, "tenant", tenant) {
                    Error::Conflict { .. } => stale(),
                    other => other,
                }
            })?;
        } else {
            let update = rows
                .update::<quota::Entity>()
                .col_expr(quota::Column::ConcurrentSessions, Expr::value(row.concurrent_sessions))
                .col_expr(quota::Column::StorageBytes, Expr::value(row.storage_bytes))
                .col_expr(quota::Column::RequestsPerMinute, Expr::value(row.requests_per_minute))
                .col_expr(quota::Column::Version, Expr::value(row.version))
                .col_expr(quota::Column::ChangedAt, Expr::value(row.changed_at))
                .filter(quota::Column::TenantId.eq(tenant.as_uuid()))
                .filter(quota::Column::Version.eq(version));
            if update.exec(rows.db()).await?.rows_affected == 0 {
                return Err(stale());
            }
        }
        rows.commit().await?;
        self.quota(scope, tenant).await
    }
}

/// SQL knows signed numbers only; a bound beyond them is none.
fn row(tenant: TenantId, bounds: QuotaBounds, version: i32) -> quota::Model {
    quota::Model {
        tenant_id: tenant.as_uuid(),
        concurrent_sessions: bounds.concurrent_sessions.and_then(|n| n.try_into().ok()),
        storage_bytes: bounds.storage_bytes.and_then(|n| n.try_into().ok()),
        requests_per_minute: bounds.requests_per_minute.and_then(|n| n.try_into().ok()),
        version,
        changed_at: now().as_micros(),
    }
}

fn quota_of(tenant: TenantId, quota: Option<quota::Model>, used: Option<tenant_usage::Model>) -> Result<Quota> {
    let count = |what, stored: i64| u64::try_from(stored).map_err(|_| Error::damaged(what, tenant, stored));
    let bound = |what, stored: Option<i32>| {
        stored.map(|n| u32::try_from(n).map_err(|_| Error::damaged(what, tenant, n))).transpose()
    };
    let bounds = match &quota {
        None => QuotaBounds::default(),
        Some(row) => QuotaBounds {
            concurrent_sessions: bound("concurrent_sessions", row.concurrent_sessions)?,
            storage_bytes: row.storage_bytes.map(|n| count("storage_bytes", n)).transpose()?,
            requests_per_minute: bound("requests_per_minute", row.requests_per_minute)?,
        },
    };
    Ok(Quota {
        tenant,
        bounds,
        version: quota.as_ref().map_or(0, |row| row.version),
        changed_at: quota.map(|row| Timestamp::from_micros(row.changed_at)),
        recordings: count("recordings", used.as_ref().map_or(0, |used| used.recordings))?,
        stored_bytes: count("recorded_bytes", used.map_or(0, |used| used.recorded_bytes))?,
    })
}
