//! Call sessions as they are read: lists, one in detail, and those that a dead node left open.
//!
//! They are written as [`Change`](crate::Change)s.

use aimg_core::{
    CallDirection, CallEvent, CallState, LegRow, NodeId, PbxId, SessionId, SessionRow, TenantId, TenantScope,
    Timestamp, Uniqueid,
};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, Condition, Order, QueryFilter, QueryOrder, QuerySelect, Select};
use serde::Serialize;
use uuid::Uuid;

use crate::entity::{call_event, call_leg, call_session, recording};
use crate::error::{Error, Result};
use crate::recordings::{self, RecordingRow};
use crate::scope::Rows;
use crate::store::Store;

/// The most sessions that one list gives.
pub const SESSIONS_LIMIT_MAX: u64 = 1_000;

/// Digits of a Uniqueid's time, of which there are ten, that a prefix needs to be one's beginning.
const UNIQUEID_DIGITS_MIN: usize = 7;
/// Digits of a session's id that are the time of its beginning, in milliseconds (RFC 9562, section 5.7).
const ID_TIME_DIGITS: usize = 12;

/// A session as it is stored, with the last word about its flows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoredSession {
    /// The session.
    #[serde(flatten)]
    pub row: SessionRow,
    /// Both ledgers as they were last seen while the capture ran.
    pub live: Option<serde_json::Value>,
}

/// Which sessions a list shows: those that fit every field that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionFilter {
    /// Only calls that are not over.
    pub active: bool,
    /// Of this tenant; for an operator, who sees all.
    pub tenant: Option<TenantId>,
    /// On this PBX.
    pub pbx: Option<PbxId>,
    /// In this state.
    pub state: Option<CallState>,
    /// In this direction.
    pub call_direction: Option<CallDirection>,
    /// From this number.
    pub caller_number: Option<String>,
    /// To this number.
    pub dialled_number: Option<String>,
    /// Captured, or not.
    pub captured: Option<bool>,
    /// With a caller's or dialled number, an id, or an Asterisk Uniqueid that begins so; the last from the seventh digit of its
    /// time on.
    pub begins_with: Option<String>,
    /// One of these.
    pub ids: Option<Vec<SessionId>>,
    /// Begun at this time or later.
    pub started_from: Option<Timestamp>,
    /// Begun before this time.
    pub started_before: Option<Timestamp>,
    /// Only what comes after this place in the list.
    pub after: Option<SessionPlace>,
    /// The oldest first, rather than the newest.
    pub oldest_first: bool,
    /// At most so many, and [`SESSIONS_LIMIT_MAX`] at the very most; that many where it is not set.
    pub limit: Option<u64>,
}

/// A session's place in a list: where the next page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionPlace {
    /// When it began.
    pub started_at: Timestamp,
    /// Its id, which decides between two that began together.
    pub id: SessionId,
}

/// All that is known of a session.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SessionDetail {
    /// The session.
    pub session: StoredSession,
    /// Its channels, in the order in which they joined.
    pub legs: Vec<LegRow>,
    /// What happened, in order.
    pub events: Vec<CallEvent>,
    /// Its recordings, by part.
    pub recordings: Vec<RecordingRow>,
}

impl Store {
    /// The sessions in reach that `filter` asks for.
    pub async fn sessions(&self, scope: TenantScope, filter: SessionFilter) -> Result<Vec<StoredSession>> {
        let rows = self.read(scope).await?;
        let mut found = Vec::new();
        // One query for each column that a prefix is looked for in: for a union the database would sort all that fits, for
        // each of these it finds the first ones in an index.
        for part in filter.parts() {
            let query = filter.apply(rows.select::<call_session::Entity>());
            found.extend(query.filter(part).all(rows.db()).await?);
        }
        filter.merge(&mut found);
        found.into_iter().map(StoredSession::try_from).collect()
    }

    /// One session with all that belongs to it, as it was at one moment.
    pub async fn session(&self, scope: TenantScope, id: SessionId) -> Result<SessionDetail> {
        let rows = self.read(scope).await?;
        let session = rows
            .select::<call_session::Entity>()
            .filter(call_session::Column::Id.eq(id.as_uuid()))
            .one(rows.db())
            .await?
            .ok_or_else(|| Error::not_found("session", id))?;
        let session = StoredSession::try_from(session)?;
        Ok(SessionDetail {
            legs: legs(&rows, id).await?,
            events: events(&rows, &session.row).await?,
            recordings: recordings::of_session(&rows, id).await?,
            session,
        })
    }

    /// Deletes a session that is over, with its legs, events and recordings' rows; the recordings' files are the caller's
    /// to delete before. [`Error::StillGoingOn`] when it is not over.
    pub async fn delete_session(&self, scope: TenantScope, id: SessionId) -> Result<()> {
        let rows = self.write(scope).await?;
        let key = id.as_uuid();
        let db = rows.db();
        let session = rows.select::<call_session::Entity>().filter(call_session::Column::Id.eq(key)).one(db).await?;
        let session = session.ok_or_else(|| Error::not_found("session", id))?;
        if !StoredSession::try_from(session)?.row.state.is_over() {
            return Err(Error::StillGoingOn { id: id.to_string() });
        }
        rows.delete::<recording::Entity>().filter(recording::Column::SessionId.eq(key)).exec(db).await?;
        rows.delete::<call_event::Entity>().filter(call_event::Column::SessionId.eq(key)).exec(db).await?;
        rows.delete::<call_leg::Entity>().filter(call_leg::Column::SessionId.eq(key)).exec(db).await?;
        rows.delete::<call_session::Entity>().filter(call_session::Column::Id.eq(key)).exec(db).await?;
        rows.commit().await
    }

    /// The sessions of `node` that are not over, oldest first: after a restart they are adopted, or ended.
    pub async fn unfinished(&self, scope: TenantScope, node: &NodeId) -> Result<Vec<SessionRow>> {
        let rows = self.read(scope).await?;
        let query = unfinished(rows.select::<call_session::Entity>())
            .filter(call_session::Column::Node.eq(node.as_str()))
            .order_by_asc(call_session::Column::StartedAt);
        query.all(rows.db()).await?.into_iter().map(|row| Ok(StoredSession::try_from(row)?.row)).collect()
    }
}

impl SessionFilter {
    fn apply(&self, query: Select<call_session::Entity>) -> Select<call_session::Entity> {
        use call_session::Column as C;
        let equal = [
            self.tenant.map(|tenant| C::TenantId.eq(tenant.as_uuid())),
            self.pbx.map(|pbx| C::PbxId.eq(pbx.as_uuid())),
            self.state.map(|state| C::State.eq(state.name())),
            self.call_direction.map(|direction| C::CallDirection.eq(direction.name())),
            self.caller_number.as_deref().map(|number| C::CallerNumber.eq(number)),
            self.dialled_number.as_deref().map(|number| C::DialledNumber.eq(number)),
            self.captured.map(|captured| C::Captured.eq(captured)),
            self.started_from.map(|at| C::StartedAt.gte(at.as_micros())),
            self.started_before.map(|at| C::StartedAt.lt(at.as_micros())),
        ];
        let mut query = equal.into_iter().flatten().fold(query, QueryFilter::filter);
        if self.active {
            query = unfinished(query);
        }
        if let Some(ids) = &self.ids {
            query = query.filter(C::Id.is_in(ids.iter().map(|id| id.as_uuid())));
        }
        let order = if self.oldest_first { Order::Asc } else { Order::Desc };
        if let Some(place) = self.after {
            // A row comparison, so that the place is found in the index.
            let columns = Expr::tuple([Expr::col(C::StartedAt), Expr::col(C::Id)]);
            let last = Expr::tuple([Expr::value(place.started_at.as_micros()), Expr::value(place.id.as_uuid())]);
            query = query.filter(if self.oldest_first { columns.gt(last) } else { columns.lt(last) });
        }
        query.order_by(C::StartedAt, order.clone()).order_by(C::Id, order).limit(self.rows_max())
    }

    fn rows_max(&self) -> u64 {
        Ord::min(self.limit.unwrap_or(SESSIONS_LIMIT_MAX), SESSIONS_LIMIT_MAX)
    }

    /// What the sessions of the list fit beside all else, at least one of these.
    fn parts(&self) -> Vec<Condition> {
        self.begins_with.as_deref().map_or_else(|| vec![Condition::all()], begins_with)
    }

    /// Makes one list of those of all parts.
    fn merge(&self, found: &mut Vec<call_session::Model>) {
        found.sort_by(|a, b| {
            let order = (a.started_at, a.id).cmp(&(b.started_at, b.id));
            if self.oldest_first { order } else { order.reverse() }
        });
        found.dedup_by_key(|row| row.id);
        found.truncate(usize::try_from(self.rows_max()).unwrap_or(usize::MAX));
    }
}

/// What fits a prefix, for each column that it may be the beginning of.
///
/// Ranges rather than LIKE: the server looks for them in an index also behind the wall between tenants, which no operator
/// may pass that could tell something about a row out of reach, and LIKE is not known for certain to tell nothing.
fn begins_with(prefix: &str) -> Vec<Condition> {
    use call_session::Column as C;
    let end = format!("{prefix}{}", char::MAX);
    let range = |column: C| Condition::all().add(column.gte(prefix)).add(column.lt(end.as_str()));
    let mut parts = vec![range(C::CallerNumber), range(C::DialledNumber)];
    if is_dated(prefix) {
        parts.push(range(C::Uniqueid));
    }
    if let Some((first, last)) = ids_beginning_with(prefix) {
        parts.push(if prefix.replace('-', "").len() <= ID_TIME_DIGITS {
            // What it is the beginning of is the time, which the list is in the order of.
            let us = |id: Uuid| i64::try_from(id.as_u128() >> 80).unwrap_or(i64::MAX).saturating_mul(1_000);
            Condition::all().add(C::StartedAt.gte(us(first))).add(C::StartedAt.lt(us(last).saturating_add(1_000)))
        } else {
            Condition::all().add(C::Id.gte(first)).add(C::Id.lte(last))
        });
    }
    parts
}

/// Whether it has so much of a Uniqueid (`1790000000.1`, or that behind the system's name and a dash) that it fits the calls
/// of a quarter of an hour at most. Shorter ones would fit very many, of any time, and are the beginnings of phone numbers.
fn is_dated(prefix: &str) -> bool {
    let time = prefix.rsplit('-').next().unwrap_or_default();
    time.bytes().take_while(u8::is_ascii_digit).count() >= UNIQUEID_DIGITS_MIN
}

/// The first and the last UUID that are written with this beginning, if any are.
fn ids_beginning_with(prefix: &str) -> Option<(Uuid, Uuid)> {
    const WRITTEN: &str = "00000000-0000-0000-0000-000000000000";
    let rest = WRITTEN.get(prefix.len()..)?;
    let [first, last] = ["0", "f"].map(|digit| Uuid::try_parse(&format!("{prefix}{}", rest.replace('0', digit))));
    Some((first.ok()?, last.ok()?))
}

fn unfinished(query: Select<call_session::Entity>) -> Select<call_session::Entity> {
    let over = CallState::ALL.into_iter().filter(|s| s.is_over()).map(CallState::name);
    query.filter(call_session::Column::State.is_not_in(over))
}

async fn legs(rows: &Rows, session: SessionId) -> Result<Vec<LegRow>> {
    let query = rows
        .select::<call_leg::Entity>()
        .filter(call_leg::Column::SessionId.eq(session.as_uuid()))
        .order_by_asc(call_leg::Column::JoinedAt)
        .order_by_asc(call_leg::Column::Uniqueid);
    query.all(rows.db()).await?.into_iter().map(LegRow::try_from).collect()
}

async fn events(rows: &Rows, session: &SessionRow) -> Result<Vec<CallEvent>> {
    let query = rows
        .select::<call_event::Entity>()
        .filter(call_event::Column::SessionId.eq(session.id.as_uuid()))
        .order_by_asc(call_event::Column::At)
        .order_by_asc(call_event::Column::Id);
    let event = |row: call_event::Model| {
        Ok(CallEvent {
            tenant: session.tenant,
            pbx: session.pbx,
            session: session.id,
            at: Timestamp::from_micros(row.at),
            kind: serde_json::from_str(&row.data).map_err(|_| Error::damaged("event", row.id, &row.data))?,
        })
    };
    query.all(rows.db()).await?.into_iter().map(event).collect()
}

impl From<&SessionRow> for call_session::Model {
    fn from(s: &SessionRow) -> Self {
        Self {
            id: s.id.as_uuid(),
            tenant_id: s.tenant.as_uuid(),
            pbx_id: s.pbx.as_uuid(),
            uniqueid: s.uniqueid.to_string(),
            linkedid: s.linkedid.to_string(),
            state: s.state.to_string(),
            call_direction: s.call_direction.name().to_owned(),
            caller_number: s.caller_number.clone(),
            dialled_number: s.dialled_number.clone(),
            context: s.context.clone(),
            started_at: s.started_at.as_micros(),
            answered_at: s.answered_at.map(Timestamp::as_micros),
            ended_at: s.ended_at.map(Timestamp::as_micros),
            hangup_cause: s.hangup_cause.map(i32::from),
            node: s.node.to_string(),
            captured: s.captured,
            live: None,
        }
    }
}

impl TryFrom<call_session::Model> for StoredSession {
    type Error = Error;

    fn try_from(row: call_session::Model) -> Result<Self> {
        let id = SessionId::from_uuid(row.id);
        let session = SessionRow {
            id,
            tenant: TenantId::from_uuid(row.tenant_id),
            pbx: PbxId::from_uuid(row.pbx_id),
            uniqueid: Uniqueid::new(row.uniqueid),
            linkedid: Uniqueid::new(row.linkedid),
            state: row.state.parse().map_err(|()| Error::damaged("state", id, row.state))?,
            call_direction: row
                .call_direction
                .parse()
                .map_err(|()| Error::damaged("call_direction", id, row.call_direction))?,
            caller_number: row.caller_number,
            dialled_number: row.dialled_number,
            context: row.context,
            started_at: Timestamp::from_micros(row.started_at),
            answered_at: row.answered_at.map(Timestamp::from_micros),
            ended_at: row.ended_at.map(Timestamp::from_micros),
            hangup_cause: hangup_cause(row.hangup_cause, id)?,
            node: row.node.parse().map_err(|_| Error::damaged("node", id, row.node))?,
            captured: row.captured,
        };
        Ok(Self { row: session, live: row.live })
    }
}

impl From<&LegRow> for call_leg::Model {
    fn from(l: &LegRow) -> Self {
        Self {
            session_id: l.session.as_uuid(),
            tenant_id: l.tenant.as_uuid(),
            uniqueid: l.uniqueid.to_string(),
            name: l.name.clone(),
            caller_number: l.caller_number.clone(),
            joined_at: l.joined_at.as_micros(),
            left_at: l.left_at.map(Timestamp::as_micros),
            hangup_cause: l.hangup_cause.map(i32::from),
        }
    }
}

impl TryFrom<call_leg::Model> for LegRow {
    type Error = Error;

    fn try_from(row: call_leg::Model) -> Result<Self> {
        let session = SessionId::from_uuid(row.session_id);
        Ok(Self {
            tenant: TenantId::from_uuid(row.tenant_id),
            session,
            uniqueid: Uniqueid::new(row.uniqueid),
            name: row.name,
            caller_number: row.caller_number,
            joined_at: Timestamp::from_micros(row.joined_at),
            left_at: row.left_at.map(Timestamp::from_micros),
            hangup_cause: hangup_cause(row.hangup_cause, session)?,
        })
    }
}

fn hangup_cause(stored: Option<i32>, session: SessionId) -> Result<Option<u16>> {
    stored.map(|c| u16::try_from(c).map_err(|_| Error::damaged("hangup_cause", session, c))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uniqueid_is_looked_for_by_its_time() {
        for (prefix, expected) in [
            ("1790000", true),
            ("1790000000.12", true),
            ("pbx-1-1790000", true),
            ("179000", false),
            ("pbx-1-179000", false),
            ("pbx1790000", false),
            ("+4930123456", false),
            ("", false),
        ] {
            assert_eq!(is_dated(prefix), expected, "{prefix}");
        }
    }

    #[test]
    fn the_beginning_of_an_id_is_a_range_of_ids() {
        let id = "0198c1de-1111-7000-8000-000000000000";
        let uuid: Uuid = id.parse().unwrap();
        for length in 0..=id.len() {
            let (first, last) = ids_beginning_with(&id[..length]).unwrap();
            assert!(first <= uuid && uuid <= last, "{length}");
            assert!(first.to_string().starts_with(&id[..length]) && last.to_string().starts_with(&id[..length]));
        }
        for not in ["g", "0198c1de1", "0198c1de-1111-7000-8000-0000000000000", "é", "+49"] {
            assert_eq!(ids_beginning_with(not), None, "{not}");
        }
    }
}
