//! Figures of a tenant's calls and recordings, by day (UTC).

use aimg_core::{TenantId, TenantScope, Timestamp};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect};

use crate::entity::{call_session, recording};
use crate::error::Result;
use crate::store::Store;

/// The most days that are looked at together: the figures are read from the rows of that time.
pub const STATS_DAYS_MAX: u32 = 31;

const DAY_US: i64 = 86_400_000_000;

/// What a tenant had in some days.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantStats {
    /// Its calls, by the day on which they began and their state.
    pub calls: Vec<CallDay>,
    /// Its recordings, by the day on which they were finished.
    pub recordings: Vec<RecordingDay>,
}

/// The calls of one day that are in one state.
#[derive(Clone, Debug, PartialEq, Eq, FromQueryResult)]
pub struct CallDay {
    /// The day, since 1970-01-01.
    pub day: i64,
    /// The state.
    pub state: String,
    /// How many.
    pub calls: i64,
    /// How many of them were answered.
    pub answered: i64,
    /// How many of them were to be captured.
    pub captured: i64,
}

/// The recordings of one day that are complete, or those that are not.
#[derive(Clone, Debug, PartialEq, Eq, FromQueryResult)]
pub struct RecordingDay {
    /// The day, since 1970-01-01.
    pub day: i64,
    /// Whether nothing at all is missing from them.
    pub complete: bool,
    /// How many.
    pub recordings: i64,
    /// How long they play, in milliseconds.
    pub duration_ms: i64,
    /// The size of their files.
    pub bytes: i64,
}

impl Store {
    /// What a tenant had in `days` days from the one of `from` on; at most [`STATS_DAYS_MAX`] of them.
    pub async fn tenant_stats(
        &self,
        scope: TenantScope,
        tenant: TenantId,
        from: Timestamp,
        days: u32,
    ) -> Result<TenantStats> {
        let begin = from.as_micros().div_euclid(DAY_US) * DAY_US;
        let end = begin + DAY_US * i64::from(days.min(STATS_DAYS_MAX));
        let rows = self.read(scope).await?;
        let calls = {
            use call_session::Column as C;
            rows.select::<call_session::Entity>()
                .filter(C::TenantId.eq(tenant.as_uuid()))
                .filter(C::StartedAt.gte(begin))
                .filter(C::StartedAt.lt(end))
                .select_only()
                .column_as(Expr::cust(format!("started_at / {DAY_US}")), "day")
                .column(C::State)
                .column_as(Expr::cust("COUNT(*)"), "calls")
                .column_as(Expr::cust("COUNT(answered_at)"), "answered")
                .column_as(Expr::cust("SUM(CASE WHEN captured THEN 1 ELSE 0 END)"), "captured")
                .group_by(Expr::col("day"))
                .group_by(C::State)
                .order_by_asc(Expr::col("day"))
                .order_by_asc(C::State)
                .into_model::<CallDay>()
                .all(rows.db())
                .await?
        };
        let recordings = {
            use recording::Column as C;
            rows.select::<recording::Entity>()
                .filter(C::TenantId.eq(tenant.as_uuid()))
                .filter(C::CreatedAt.gte(begin))
                .filter(C::CreatedAt.lt(end))
                .select_only()
                .column_as(Expr::cust(format!("created_at / {DAY_US}")), "day")
                .column(C::Complete)
                .column_as(Expr::cust("COUNT(*)"), "recordings")
                // PostgreSQL adds up to a number without bounds.
                .column_as(Expr::cust("CAST(SUM(duration_ms) AS BIGINT)"), "duration_ms")
                .column_as(Expr::cust("CAST(SUM(bytes) AS BIGINT)"), "bytes")
                .group_by(Expr::col("day"))
                .group_by(C::Complete)
                .order_by_asc(Expr::col("day"))
                .order_by_asc(C::Complete)
                .into_model::<RecordingDay>()
                .all(rows.db())
                .await?
        };
        Ok(TenantStats { calls, recordings })
    }
}
