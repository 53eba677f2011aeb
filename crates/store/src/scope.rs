//! The one place from which rows of a tenant are reached, so that none is reached without a scope.
//!
//! `clippy.toml` of this crate forbids SeaORM's own ways in everywhere else.

use aimg_core::TenantScope;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseBackend, DatabaseTransaction, DeleteMany, EntityTrait, QueryFilter, Select,
    UpdateMany,
};

use crate::error::Result;

/// A table whose rows belong to tenants.
pub(crate) trait TenantRows: EntityTrait {
    /// The column that names the tenant.
    const TENANT: Self::Column;
}

/// A transaction about the rows in reach of one scope: each query made here is filtered, and on PostgreSQL the server knows
/// the scope too.
pub(crate) struct Rows {
    scope: TenantScope,
    transaction: DatabaseTransaction,
}

impl Rows {
    pub(crate) fn new(scope: TenantScope, transaction: DatabaseTransaction) -> Self {
        Self { scope, transaction }
    }

    /// The rows in reach.
    #[expect(clippy::disallowed_methods, reason = "the filter is applied right here")]
    pub(crate) fn select<E: TenantRows>(&self) -> Select<E> {
        filtered::<E, _>(E::find(), self.scope)
    }

    /// An update of the rows in reach.
    pub(crate) fn update<E: TenantRows>(&self) -> UpdateMany<E> {
        self.update_as(self.scope)
    }

    /// An update of the rows in reach of `scope`, which is no wider than this one's.
    #[expect(clippy::disallowed_methods, reason = "the filter is applied right here")]
    pub(crate) fn update_as<E: TenantRows>(&self, scope: TenantScope) -> UpdateMany<E> {
        filtered::<E, _>(E::update_many(), scope)
    }

    /// A removal of the rows in reach.
    #[expect(clippy::disallowed_methods, reason = "the filter is applied right here")]
    pub(crate) fn delete<E: TenantRows>(&self) -> DeleteMany<E> {
        filtered::<E, _>(E::delete_many(), self.scope)
    }

    /// The kind of database, for the few queries that are written differently.
    pub(crate) fn backend(&self) -> DatabaseBackend {
        self.transaction.get_database_backend()
    }

    /// What executes the queries made here.
    pub(crate) fn db(&self) -> &DatabaseTransaction {
        &self.transaction
    }

    /// Makes what was written last. Without it nothing was.
    pub(crate) async fn commit(self) -> Result<()> {
        Ok(self.transaction.commit().await?)
    }
}

fn filtered<E: TenantRows, Q: QueryFilter>(query: Q, scope: TenantScope) -> Q {
    match scope.tenant() {
        Some(tenant) => query.filter(E::TENANT.eq(tenant.as_uuid())),
        None => query,
    }
}
