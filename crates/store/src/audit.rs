//! The audit log: who did what to what, from where, and how that ended. Entries are added and never changed.

use aimg_core::{TenantId, TenantScope, Timestamp};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ActiveModelTrait, ActiveValue, ColumnTrait, Condition, QueryFilter, QueryOrder, QuerySelect, Select};
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
    /// Grows with time.
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

/// Which entries a list shows: those that fit every field that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of this tenant; for an operator, who sees all.
    pub tenant: Option<TenantId>,
    /// Of this user or key.
    pub actor: Option<String>,
    /// Of this kind.
    pub action: Option<String>,
    /// Done to this.
    pub target: Option<String>,
    /// Done at this time or later.
    pub from: Option<Timestamp>,
    /// Done before this time.
    pub before: Option<Timestamp>,
    /// Only what comes after this place in the list.
    pub after: Option<AuditPlace>,
    /// At most so many, and 1,000 at the very most; that many where it is not set.
    pub limit: Option<u64>,
}

/// An entry's place in the list: where the next page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditPlace {
    /// When it was.
    pub at: Timestamp,
    /// Its id, which decides between two of one moment.
    pub id: i64,
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

    /// The entries in reach that `filter` asks for, newest first.
    pub async fn audit_log(&self, scope: TenantScope, filter: AuditFilter) -> Result<Vec<AuditEntry>> {
        let rows = self.read(scope).await?;
        let query = filter.apply(rows.select::<audit_entry::Entity>());
        Ok(query.all(rows.db()).await?.into_iter().map(AuditEntry::from).collect())
    }
}

impl AuditFilter {
    fn apply(self, query: Select<audit_entry::Entity>) -> Select<audit_entry::Entity> {
        use audit_entry::Column as C;
        let equal = [
            self.tenant.map(|tenant| C::TenantId.eq(tenant.as_uuid())),
            self.actor.map(|actor| C::Actor.eq(actor)),
            self.action.map(|action| C::Action.eq(action)),
            self.target.map(|target| C::Target.eq(target)),
            self.from.map(|at| C::At.gte(at.as_micros())),
            self.before.map(|at| C::At.lt(at.as_micros())),
        ];
        let mut query = equal.into_iter().flatten().fold(query, QueryFilter::filter);
        if let Some(place) = self.after {
            // A row comparison, so that the place is found in the index.
            let columns = Expr::tuple([Expr::col(C::At), Expr::col(C::Id)]);
            query = query.filter(columns.lt(Expr::tuple([Expr::value(place.at.as_micros()), Expr::value(place.id)])));
        }
        let limit = Ord::min(self.limit.unwrap_or(ENTRIES_LIMIT_MAX), ENTRIES_LIMIT_MAX);
        query.order_by_desc(C::At).order_by_desc(C::Id).limit(limit)
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
