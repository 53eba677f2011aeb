//! Recordings: where the file of each part of a session's capture is, and the certificate that says how complete it is.

use aimg_core::{NodeId, PbxId, SessionId, TenantId, TenantScope, Timestamp};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, Order, QueryFilter, QueryOrder, QuerySelect, QueryTrait, Select};
use serde::Serialize;

use crate::entity::{call_session, recording};
use crate::error::{Error, Result};
use crate::scope::Rows;
use crate::store::Store;

/// The most recordings that one list gives.
pub const RECORDINGS_LIMIT_MAX: u64 = 1_000;

/// The recording of one part of a session's capture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecordingRow {
    /// Whose it is.
    pub tenant: TenantId,
    /// Where the call was.
    pub pbx: PbxId,
    /// Whose call it is.
    pub session: SessionId,
    /// The part of the session's capture.
    pub part: u16,
    /// The file.
    pub path: String,
    /// The capture certificate: both ledgers and the head gap.
    pub certificate: serde_json::Value,
    /// Whether nothing at all is missing.
    pub complete: bool,
    /// How long it plays.
    pub duration_ms: u64,
    /// The file's size.
    pub bytes: u64,
    /// When it was finished.
    pub created_at: Timestamp,
}

/// Which recordings a list shows: those that fit every field that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordingFilter {
    /// Of this tenant; for an operator, who sees all.
    pub tenant: Option<TenantId>,
    /// Of calls on this PBX.
    pub pbx: Option<PbxId>,
    /// Of this session.
    pub session: Option<SessionId>,
    /// Those from which nothing is missing, or the others.
    pub complete: Option<bool>,
    /// Finished at this time or later.
    pub created_from: Option<Timestamp>,
    /// Finished before this time.
    pub created_before: Option<Timestamp>,
    /// Only what comes after this place in the list.
    pub after: Option<RecordingPlace>,
    /// The oldest first, rather than the newest.
    pub oldest_first: bool,
    /// At most so many, and [`RECORDINGS_LIMIT_MAX`] at the very most; that many where it is not set.
    pub limit: Option<u64>,
}

/// A recording's place in a list: where the next page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordingPlace {
    /// When it was finished.
    pub created_at: Timestamp,
    /// Its session and part, which decide between two that were finished together.
    pub session: SessionId,
    /// The part.
    pub part: u16,
}

impl RecordingFilter {
    fn apply(self, query: Select<recording::Entity>) -> Select<recording::Entity> {
        use recording::Column as C;
        let equal = [
            self.tenant.map(|tenant| C::TenantId.eq(tenant.as_uuid())),
            self.pbx.map(|pbx| C::PbxId.eq(pbx.as_uuid())),
            self.session.map(|session| C::SessionId.eq(session.as_uuid())),
            self.complete.map(|complete| C::Complete.eq(complete)),
            self.created_from.map(|at| C::CreatedAt.gte(at.as_micros())),
            self.created_before.map(|at| C::CreatedAt.lt(at.as_micros())),
        ];
        let mut query = equal.into_iter().flatten().fold(query, QueryFilter::filter);
        if let Some(place) = self.after {
            // A row comparison, so that the place is found in the index.
            let columns = Expr::tuple([Expr::col(C::CreatedAt), Expr::col(C::SessionId), Expr::col(C::Part)]);
            let RecordingPlace { created_at, session, part } = place;
            let last = Expr::tuple([
                Expr::value(created_at.as_micros()),
                Expr::value(session.as_uuid()),
                Expr::value(i32::from(part)),
            ]);
            query = query.filter(if self.oldest_first { columns.gt(last) } else { columns.lt(last) });
        }
        let order = if self.oldest_first { Order::Asc } else { Order::Desc };
        query
            .order_by(C::CreatedAt, order.clone())
            .order_by(C::SessionId, order.clone())
            .order_by(C::Part, order)
            .limit(Ord::min(self.limit.unwrap_or(RECORDINGS_LIMIT_MAX), RECORDINGS_LIMIT_MAX))
    }
}

impl Store {
    /// The recordings in reach that `filter` asks for.
    pub async fn recordings(&self, scope: TenantScope, filter: RecordingFilter) -> Result<Vec<RecordingRow>> {
        let rows = self.read(scope).await?;
        let query = filter.apply(rows.select::<recording::Entity>());
        query.all(rows.db()).await?.into_iter().map(RecordingRow::try_from).collect()
    }

    /// Recordings of a tenant that are from before `before` and of calls of `node`, on whose disk they are; the oldest first,
    /// at most `limit`.
    pub async fn expired_recordings(
        &self,
        tenant: TenantId,
        node: &NodeId,
        before: Timestamp,
        limit: u64,
    ) -> Result<Vec<RecordingRow>> {
        let rows = self.read(TenantScope::Tenant(tenant)).await?;
        let calls = rows.select::<call_session::Entity>().select_only().column(call_session::Column::Id);
        let calls = calls.filter(call_session::Column::Node.eq(node.as_str())).into_query();
        let query = rows
            .select::<recording::Entity>()
            .filter(recording::Column::CreatedAt.lt(before.as_micros()))
            .filter(recording::Column::SessionId.in_subquery(calls))
            .order_by_asc(recording::Column::CreatedAt)
            .limit(limit);
        query.all(rows.db()).await?.into_iter().map(RecordingRow::try_from).collect()
    }

    /// Forgets recordings whose files are gone, by session and part, all of them at once.
    pub async fn forget_recordings(&self, scope: TenantScope, which: &[(SessionId, u16)]) -> Result<()> {
        let rows = self.write(scope).await?;
        for (session, part) in which {
            let delete = rows.delete::<recording::Entity>().filter(recording::Column::SessionId.eq(session.as_uuid()));
            delete.filter(recording::Column::Part.eq(i32::from(*part))).exec(rows.db()).await?;
        }
        rows.commit().await
    }

    /// The recording of one part of a session.
    pub async fn recording(&self, scope: TenantScope, session: SessionId, part: u16) -> Result<RecordingRow> {
        let rows = self.read(scope).await?;
        let query = rows
            .select::<recording::Entity>()
            .filter(recording::Column::SessionId.eq(session.as_uuid()))
            .filter(recording::Column::Part.eq(i32::from(part)));
        query
            .one(rows.db())
            .await?
            .ok_or_else(|| Error::not_found("recording", format!("{session}.{part}")))?
            .try_into()
    }
}

/// The recordings of a session, by part.
pub(crate) async fn of_session(rows: &Rows, session: SessionId) -> Result<Vec<RecordingRow>> {
    let query = rows
        .select::<recording::Entity>()
        .filter(recording::Column::SessionId.eq(session.as_uuid()))
        .order_by_asc(recording::Column::Part);
    query.all(rows.db()).await?.into_iter().map(RecordingRow::try_from).collect()
}

impl From<&RecordingRow> for recording::Model {
    fn from(r: &RecordingRow) -> Self {
        Self {
            session_id: r.session.as_uuid(),
            part: r.part.into(),
            tenant_id: r.tenant.as_uuid(),
            pbx_id: Some(r.pbx.as_uuid()),
            path: r.path.clone(),
            certificate: r.certificate.clone(),
            complete: r.complete,
            // SQL knows signed numbers only; nothing real comes near the limit.
            duration_ms: i64::try_from(r.duration_ms).unwrap_or(i64::MAX),
            bytes: i64::try_from(r.bytes).unwrap_or(i64::MAX),
            created_at: r.created_at.as_micros(),
        }
    }
}

impl TryFrom<recording::Model> for RecordingRow {
    type Error = Error;

    fn try_from(row: recording::Model) -> Result<Self> {
        let session = SessionId::from_uuid(row.session_id);
        Ok(Self {
            tenant: TenantId::from_uuid(row.tenant_id),
            pbx: row.pbx_id.map(PbxId::from_uuid).ok_or_else(|| Error::damaged("pbx_id", session, "nothing"))?,
            session,
            part: u16::try_from(row.part).map_err(|_| Error::damaged("part", session, row.part))?,
            path: row.path,
            certificate: row.certificate,
            complete: row.complete,
            duration_ms: u64::try_from(row.duration_ms)
                .map_err(|_| Error::damaged("duration_ms", session, row.duration_ms))?,
            bytes: u64::try_from(row.bytes).map_err(|_| Error::damaged("bytes", session, row.bytes))?,
            created_at: Timestamp::from_micros(row.created_at),
        })
    }
}
