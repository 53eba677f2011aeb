//! The one place from which rows of a tenant are selected or updated, so that none is reached without a scope.
//!
//! `clippy.toml` of this crate forbids SeaORM's own ways in everywhere else.

use aimg_core::TenantScope;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Select, UpdateMany};

/// A table whose rows belong to tenants.
pub(crate) trait TenantRows: EntityTrait {
    /// The column that names the tenant.
    const TENANT: Self::Column;
}

/// The rows in reach of `scope`.
#[expect(clippy::disallowed_methods, reason = "the filter is applied right here")]
pub(crate) fn scoped<E: TenantRows>(scope: TenantScope) -> Select<E> {
    filtered::<E, _>(E::find(), scope)
}

/// An update of the rows in reach of `scope`.
#[expect(clippy::disallowed_methods, reason = "the filter is applied right here")]
pub(crate) fn scoped_update<E: TenantRows>(scope: TenantScope) -> UpdateMany<E> {
    filtered::<E, _>(E::update_many(), scope)
}

fn filtered<E: TenantRows, Q: QueryFilter>(query: Q, scope: TenantScope) -> Q {
    match scope.tenant() {
        Some(tenant) => query.filter(E::TENANT.eq(tenant.as_uuid())),
        None => query,
    }
}
