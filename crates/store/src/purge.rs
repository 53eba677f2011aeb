//! Removal of what has expired, a bounded number of rows at a time, so that no other writer waits long.

use sea_orm::sea_query::{Expr, ExprTrait, IntoCondition};
use sea_orm::{QueryFilter, QuerySelect, QueryTrait};

use crate::error::Result;
use crate::scope::{Rows, TenantRows};

/// Removes at most `rows_max` of the rows in reach that fit `which`; gives how many it removed. `key` is the primary key.
pub(crate) async fn purge<E: TenantRows>(
    rows: &Rows,
    key: &[E::Column],
    which: impl IntoCondition,
    rows_max: u64,
) -> Result<u64> {
    let old = rows.select::<E>().select_only().columns(key.iter().copied()).filter(which.into_condition());
    let old = old.limit(rows_max).into_query();
    let key = Expr::tuple(key.iter().map(|column| Expr::col(*column)));
    Ok(rows.delete::<E>().filter(key.in_subquery(old)).exec(rows.db()).await?.rows_affected)
}
