//! The audit log: who did what to what, from where, and how that ended. Entries are added and never changed.

use aimg_core::{TenantId, TenantScope, Timestamp};
use sea_orm::{ActiveModelTrait, ActiveValue, ColumnTrait, Condition, QueryFilter, QueryOrder, QuerySelect};
use serde::Serialize;

use crate::entity::audit_entry;
use crate::error::Result;
use crate::purge::purge;
use crate::scope::Rows;
use crate::store::{Store, now};

/// The most entries that one list gives.
const ENTRIES_LIMIT_MAX: u64 = 1_000;

/// One thing that somebody did, or tried to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    /// Grows with time; the place in the list.
    pub id: i64,
    /// In whose rows; nobody's where it was the installation.
    pub tenant: Option<TenantId>,
    /// When.
    pub at: Timestamp,
    /// Who: a user's name, or a key's prefix.
    pub actor: String,
    /// From which address.
    pub address: Option<String>,
    /// What, such as `user.change`.
    pub action: String,
    /// To what: an id or a name.
    pub target: String,
    /// `done`, or the stable code of the refusal.
    pub outcome: String,
    /// What else is worth knowing; never a secret.
    pub detail: serde_json::Value,
}

/// An entry to be added; the fields are those of [`AuditEntry`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are documented at AuditEntry")]
pub struct NewAuditEntry {
    pub tenant: Option<TenantId>,
    pub actor: String,
    pub address: Option<String>,
    pub action: String,
    pub target: String,
    pub outcome: String,
    pub detail: serde_json::Value,
}

impl Store {
    /// Adds an entry.
    pub async fn audit(&self, new: NewAuditEntry) -> Result<()> {
        let rows = self.write(TenantScope::Operator).await?;
        insert(&rows, new).await?;
        rows.commit().await
    }

    /// Removes at most `rows_max` entries about a tenant, or about the installation, from before `before`; gives how many.
    pub async fn purge_audit_log(&self, of: Option<TenantId>, before: Timestamp, rows_max: u64) -> Result<u64> {
        use audit_entry::Column as C;
        let rows = self.write(of.map_or(TenantScope::Operator, TenantScope::Tenant)).await?;
        let whose = of.map_or_else(|| C::TenantId.is_null(), |tenant| C::TenantId.eq(tenant.as_uuid()));
        let old = Condition::all().add(whose).add(C::At.lt(before.as_micros()));
        let removed = purge::<audit_entry::Entity>(&rows, &[C::Id], old, rows_max).await?;
        rows.commit().await?;
        Ok(removed)
    }

    /// The entries in reach, newest first: those older than the one with id `before`, at most `limit`.
    pub async fn audit_log(&self, scope: TenantScope, before: Option<i64>, limit: u64) -> Result<Vec<AuditEntry>> {
        let rows = self.read(scope).await?;
        let mut query = rows.select::<audit_entry::Entity>().order_by_desc(audit_entry::Column::Id);
        if let Some(before) = before {
            query = query.filter(audit_entry::Column::Id.lt(before));
        }
        let found = query.limit(limit.min(ENTRIES_LIMIT_MAX)).all(rows.db()).await?;
        Ok(found.into_iter().map(AuditEntry::from).collect())
    }
}

/// Adds an entry within the transaction of what it is about.
pub(crate) async fn insert(rows: &Rows, new: NewAuditEntry) -> Result<()> {
    let row = audit_entry::ActiveModel {
        id: ActiveValue::NotSet,
        tenant_id: ActiveValue::Set(new.tenant.map(TenantId::as_uuid)),
        at: ActiveValue::Set(now().as_micros()),
        actor: ActiveValue::Set(new.actor),
        address: ActiveValue::Set(new.address),
        action: ActiveValue::Set(new.action),
        target: ActiveValue::Set(new.target),
        outcome: ActiveValue::Set(new.outcome),
        detail: ActiveValue::Set(new.detail),
    };
    row.insert(rows.db()).await?;
    Ok(())
}

impl From<audit_entry::Model> for AuditEntry {
    fn from(row: audit_entry::Model) -> Self {
        Self {
            id: row.id,
            tenant: row.tenant_id.map(TenantId::from_uuid),
            at: Timestamp::from_micros(row.at),
            actor: row.actor,
            address: row.address,
            action: row.action,
            target: row.target,
            outcome: row.outcome,
            detail: row.detail,
        }
    }
}
