//! What the gateway writes about calls: batches of changes, each batch whole or not at all.
//!
//! Every change can be applied again without harm, so a batch whose outcome is unknown is simply repeated.

use aimg_core::{CallEvent, LegRow, SessionId, SessionRow, TenantId, TenantScope};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{
    ActiveValue, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter, TryInsertResult,
};

use crate::entity::{call_event, call_leg, call_session, recording, segment, transcript};
use crate::error::{Error, Result};
use crate::outbox::{Announcement, Subscriptions};
use crate::recordings::RecordingRow;
use crate::scope::{Rows, TenantRows};
use crate::store::Store;
use crate::transcripts::{SegmentRow, TranscriptRow};

/// One thing to be written about a call. A session comes before what belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The session as it is. Its tenant, PBX, uniqueid and start are fixed by the first write.
    Session(Box<SessionRow>),
    /// A channel as it is.
    Leg(LegRow),
    /// Something happened; the same event at the same microsecond is the same event.
    Event(CallEvent),
    /// Both ledgers as they stand while the capture runs.
    Live {
        /// Whose call it is.
        tenant: TenantId,
        /// The session.
        session: SessionId,
        /// The ledgers.
        ledgers: serde_json::Value,
    },
    /// A recording is finished.
    Recording(RecordingRow),
    /// A transcript as it is; it comes before its segments.
    Transcript(Box<TranscriptRow>),
    /// An utterance as it is. An interim one that comes after the final one of its number changes nothing.
    Segment(Box<SegmentRow>),
    /// Webhooks are told of something that is no event of a call; those of calls are told with the event's row.
    Announcement(Box<Announcement>),
}

impl Change {
    /// Whose row it writes.
    pub fn tenant(&self) -> TenantId {
        match self {
            Self::Session(row) => row.tenant,
            Self::Leg(row) => row.tenant,
            Self::Event(event) => event.tenant,
            Self::Live { tenant, .. } => *tenant,
            Self::Recording(row) => row.tenant,
            Self::Transcript(row) => row.tenant,
            Self::Segment(row) => row.tenant,
            Self::Announcement(told) => told.tenant,
        }
    }

    /// The session it writes about, if it is about one.
    pub fn session(&self) -> Option<SessionId> {
        match self {
            Self::Session(row) => Some(row.id),
            Self::Leg(row) => Some(row.session),
            Self::Event(event) => Some(event.session),
            Self::Live { session, .. } => Some(*session),
            Self::Recording(row) => Some(row.session),
            Self::Transcript(row) => Some(row.session),
            Self::Segment(row) => Some(row.session),
            Self::Announcement(told) => told.session,
        }
    }

    /// What it writes about is not there for its tenant.
    fn absent(&self) -> Error {
        match self.session() {
            Some(session) => Error::not_found("session", session),
            None => Error::not_found("tenant", self.tenant()),
        }
    }

    /// Why the database refused it, in terms of what is missing or taken.
    fn refused(&self, e: DbErr) -> Error {
        match (Error::from_write(e, "session", self.session().map_or_else(String::new, |id| id.to_string())), self) {
            (Error::NotFound { .. }, Self::Session(row)) => {
                Error::not_found("tenant or PBX", format!("{} or {}", row.tenant, row.pbx))
            }
            (Error::NotFound { .. }, _) => self.absent(),
            (Error::Conflict { .. }, Self::Session(row)) => {
                Error::Conflict { what: "a live session with uniqueid", id: row.uniqueid.to_string() }
            }
            (other, _) => other,
        }
    }
}

/// What a later write of a session may change.
const SESSION_FIELDS: [call_session::Column; 11] = {
    use call_session::Column::{
        AnsweredAt, CallDirection, CallerNumber, Captured, Context, DialledNumber, EndedAt, HangupCause, Linkedid,
        Node, State,
    };
    [
        Linkedid,
        State,
        CallDirection,
        CallerNumber,
        DialledNumber,
        Context,
        AnsweredAt,
        EndedAt,
        HangupCause,
        Node,
        Captured,
    ]
};

/// What a later write of a leg may change.
const LEG_FIELDS: [call_leg::Column; 4] = {
    use call_leg::Column::{CallerNumber, HangupCause, LeftAt, Name};
    [Name, CallerNumber, LeftAt, HangupCause]
};

/// What a later write of a recording may change.
const RECORDING_FIELDS: [recording::Column; 6] = {
    use recording::Column::{Bytes, Certificate, Complete, CreatedAt, DurationMs, Path};
    [Path, Certificate, Complete, DurationMs, Bytes, CreatedAt]
};

/// What a later write of a transcript may change.
const TRANSCRIPT_FIELDS: [transcript::Column; 5] = {
    use transcript::Column::{Failure, FinishedAt, Language, Model, State};
    [Model, Language, State, Failure, FinishedAt]
};

/// What a later write of a segment may change.
const SEGMENT_FIELDS: [segment::Column; 9] = {
    use segment::Column::{At, Confidence, EndMs, IsFinal, Speaker, StartMs, Terms, Text, Words};
    [Speaker, At, StartMs, EndMs, Text, Terms, Confidence, Words, IsFinal]
};

impl Store {
    /// Writes all of `changes` in one transaction, in their order.
    ///
    /// When one fails, none is written: [`Error::NotFound`] names the session that is not there for the change's tenant,
    /// [`Error::Conflict`] a new session whose uniqueid a live session of the same PBX holds. [`Error::Busy`] and
    /// [`Error::DiskFull`] are worth another try.
    pub async fn apply(&self, scope: TenantScope, changes: &[Change]) -> Result<()> {
        if let Some(foreign) = changes.iter().find(|c| !scope.reaches(c.tenant())) {
            return Err(foreign.absent());
        }
        if changes.is_empty() {
            return Ok(());
        }
        let rows = self.write(scope).await?;
        let webhooks = Subscriptions::of(&rows, changes).await?;
        let mut told = 0;
        for change in changes {
            told += write(&rows, &webhooks, change).await?;
        }
        rows.commit().await?;
        if told > 0 {
            self.ring();
        }
        Ok(())
    }
}

/// Writes a change, and what webhooks are told of it; gives how many are.
async fn write(rows: &Rows, webhooks: &Subscriptions, change: &Change) -> Result<u64> {
    let db = rows.db();
    let written = match change {
        Change::Session(row) => {
            let fields = SESSION_FIELDS;
            upsert::<call_session::Entity>(db, row.as_ref().into(), row.tenant, [call_session::Column::Id], fields)
                .await
        }
        Change::Leg(row) => {
            let key = [call_leg::Column::SessionId, call_leg::Column::Uniqueid];
            upsert::<call_leg::Entity>(db, row.into(), row.tenant, key, LEG_FIELDS).await
        }
        Change::Recording(row) => {
            let key = [recording::Column::SessionId, recording::Column::Part];
            upsert::<recording::Entity>(db, row.into(), row.tenant, key, RECORDING_FIELDS).await
        }
        Change::Live { tenant, session, ledgers } => write_live(rows, *tenant, *session, ledgers).await,
        Change::Transcript(row) => {
            let key = [transcript::Column::Id];
            upsert::<transcript::Entity>(db, row.as_ref().into(), row.tenant, key, TRANSCRIPT_FIELDS).await
        }
        Change::Segment(row) => write_segment(rows, row).await,
        Change::Event(event) => match insert_once(db, event).await {
            // What is there already was told when it came.
            Ok(Inserted(false)) => return Ok(0),
            Ok(Inserted(true)) => return webhooks.tell_of_call(rows, event).await,
            Err(e) => Err(e),
        },
        Change::Announcement(told) => return webhooks.tell(rows, told).await,
    };
    match written {
        Ok(Written::Here) => Ok(0),
        Ok(Written::OutOfReach) => Err(change.absent()),
        Err(e) => Err(change.refused(e)),
    }
}

/// What became of a write that the database accepted.
enum Written {
    /// The row is as it should be.
    Here,
    /// There is no such row for this tenant.
    OutOfReach,
}

impl Written {
    fn from_rows(rows: u64) -> Self {
        if rows == 0 { Self::OutOfReach } else { Self::Here }
    }
}

/// Inserts `row`, or updates `fields` of the one with the same `key` if it is of the same tenant.
async fn upsert<E: TenantRows>(
    db: &impl ConnectionTrait,
    row: E::Model,
    tenant: TenantId,
    key: impl IntoIterator<Item = E::Column>,
    fields: impl IntoIterator<Item = E::Column>,
) -> Result<Written, DbErr>
where
    E::Model: IntoActiveModel<E::ActiveModel>,
{
    let on_conflict =
        OnConflict::columns(key).update_columns(fields).action_and_where(E::TENANT.eq(tenant.as_uuid())).to_owned();
    E::insert(row.into_active_model()).on_conflict(on_conflict).exec_without_returning(db).await.map(Written::from_rows)
}

async fn write_live(
    rows: &Rows,
    tenant: TenantId,
    session: SessionId,
    ledgers: &serde_json::Value,
) -> Result<Written, DbErr> {
    let update = rows
        .update_as::<call_session::Entity>(TenantScope::Tenant(tenant))
        .col_expr(call_session::Column::Live, Expr::value(ledgers.clone()))
        .filter(call_session::Column::Id.eq(session.as_uuid()));
    update.exec(rows.db()).await.map(|done| Written::from_rows(done.rows_affected))
}

/// Inserts the segment, or replaces the interim one of its number.
async fn write_segment(rows: &Rows, row: &SegmentRow) -> Result<Written, DbErr> {
    use segment::Column as C;
    let tenant = row.tenant.as_uuid();
    let replaceable = Expr::col((segment::Entity, C::IsFinal)).eq(false).or(Expr::value(row.is_final));
    let on_conflict = OnConflict::columns([C::TranscriptId, C::Number])
        .update_columns(SEGMENT_FIELDS)
        .action_and_where(Expr::col((segment::Entity, C::TenantId)).eq(tenant).and(replaceable))
        .to_owned();
    let insert = segment::Entity::insert(row.to_active_model()).on_conflict(on_conflict);
    if insert.exec_without_returning(rows.db()).await? > 0 {
        return Ok(Written::Here);
    }
    let same = rows
        .select::<segment::Entity>()
        .filter(C::TenantId.eq(tenant))
        .filter(C::TranscriptId.eq(row.transcript.as_uuid()))
        .filter(C::Number.eq(row.number));
    Ok(same.one(rows.db()).await?.map_or(Written::OutOfReach, |_| Written::Here))
}

/// Whether a row was not there before.
struct Inserted(bool);

/// Inserts the event unless it is there.
async fn insert_once(db: &impl ConnectionTrait, event: &CallEvent) -> Result<Inserted, DbErr> {
    let row = call_event::ActiveModel {
        id: ActiveValue::NotSet,
        session_id: ActiveValue::Set(event.session.as_uuid()),
        tenant_id: ActiveValue::Set(event.tenant.as_uuid()),
        at: ActiveValue::Set(event.at.as_micros()),
        name: ActiveValue::Set(event.kind.name().to_owned()),
        data: ActiveValue::Set(serde_json::to_string(&event.kind).map_err(|e| DbErr::Json(e.to_string()))?),
    };
    use call_event::Column::{At, Data, Name, SessionId, TenantId};
    let insert = call_event::Entity::insert(row).on_conflict_do_nothing_on([SessionId, TenantId, At, Name, Data]);
    let inserted = insert.exec_without_returning(db).await?;
    Ok(Inserted(matches!(inserted, TryInsertResult::Inserted(1..))))
}
