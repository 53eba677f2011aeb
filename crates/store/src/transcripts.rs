//! Transcripts of recordings and of running calls, and their segments, as they are read. They are written as
//! [`Change`](crate::Change)s, also while the call goes on.

use aimg_core::{CallDirection, Direction, NodeId, SessionId, TenantId, TenantScope, Timestamp, TranscriptId};
use sea_orm::sea_query::{Expr, ExprTrait, SelectStatement};
use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait};
use serde::Serialize;

use crate::entity::{call_session, segment, transcript};
use crate::error::{Error, Result};
use crate::purge::purge;
use crate::scope::Rows;
use crate::search;
use crate::store::Store;

/// The most transcripts or hits that one list gives.
pub const TRANSCRIPTS_LIMIT_MAX: u64 = 1_000;
/// The most segments of a transcript that are read: more than a day of talk.
const SEGMENTS_MAX: u64 = 100_000;

/// Where a transcript stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TranscriptState {
    /// Segments come as the call goes on, or as its recording is read.
    Running,
    /// All of it is there.
    Done,
    /// It broke off.
    Failed,
}

impl TranscriptState {
    const ALL: [Self; 3] = [Self::Running, Self::Done, Self::Failed];

    /// The word, as in JSON and the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

/// The text of one part of a session's capture, as one recogniser heard it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TranscriptRow {
    /// Its id.
    pub id: TranscriptId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Which call.
    pub session: SessionId,
    /// The part of the session's capture.
    pub part: u16,
    /// Who recognised it.
    pub provider: String,
    /// With which model, where the provider has several.
    pub model: Option<String>,
    /// In which language (BCP 47), where it is known.
    pub language: Option<String>,
    /// Where it stands.
    pub state: TranscriptState,
    /// Why it broke off.
    pub failure: Option<String>,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When it was done, or broke off.
    pub finished_at: Option<Timestamp>,
}

/// One utterance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SegmentRow {
    /// Whose it is.
    pub tenant: TenantId,
    /// Which call.
    pub session: SessionId,
    /// Of which transcript.
    pub transcript: TranscriptId,
    /// Its number within the transcript, from 0. What comes later under the same number replaces it, unless it is final.
    pub number: u32,
    /// Who speaks.
    pub speaker: Direction,
    /// When it begins.
    pub at: Timestamp,
    /// When it begins, counted from the session's start.
    pub start_ms: u64,
    /// When it ends, counted from the session's start.
    pub end_ms: u64,
    /// What is said.
    pub text: String,
    /// How sure the recogniser is, from 0 to 1.
    pub confidence: Option<f64>,
    /// Its words with their times, as the recogniser tells them.
    pub words: Option<serde_json::Value>,
    /// Whether it stays as it is; an interim one may change.
    pub is_final: bool,
}

/// A transcript with all of its segments.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TranscriptDetail {
    /// The transcript.
    pub transcript: TranscriptRow,
    /// In the order in which they begin.
    pub segments: Vec<SegmentRow>,
}

/// Which transcripts, or segments of which, a list shows: those that fit every field that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TranscriptFilter {
    /// Of this tenant; for an operator, who sees all.
    pub tenant: Option<TenantId>,
    /// Of this call.
    pub session: Option<SessionId>,
    /// Of calls to this number.
    pub dialled_number: Option<String>,
    /// Of calls in this direction.
    pub call_direction: Option<CallDirection>,
    /// Begun, or spoken, at this time or later.
    pub from: Option<Timestamp>,
    /// Begun, or spoken, before this time.
    pub before: Option<Timestamp>,
    /// At most so many, and [`TRANSCRIPTS_LIMIT_MAX`] at the very most; that many where it is not set.
    pub limit: Option<u64>,
}

/// A transcript's place in a list: where the next page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TranscriptPlace {
    /// When it was begun.
    pub created_at: Timestamp,
    /// Its id, which decides between two that were begun together.
    pub id: TranscriptId,
}

impl Store {
    /// The transcripts in reach that `filter` asks for, newest first; only what comes after `after`.
    pub async fn transcripts(
        &self,
        scope: TenantScope,
        filter: &TranscriptFilter,
        after: Option<TranscriptPlace>,
    ) -> Result<Vec<TranscriptRow>> {
        use transcript::Column as C;
        let rows = self.read(scope).await?;
        let mut query = rows.select::<transcript::Entity>();
        let equal = [
            filter.tenant.map(|tenant| C::TenantId.eq(tenant.as_uuid())),
            filter.session.map(|session| C::SessionId.eq(session.as_uuid())),
            filter.calls(&rows).map(|calls| C::SessionId.in_subquery(calls)),
            filter.from.map(|at| C::CreatedAt.gte(at.as_micros())),
            filter.before.map(|at| C::CreatedAt.lt(at.as_micros())),
        ];
        query = equal.into_iter().flatten().fold(query, QueryFilter::filter);
        if let Some(place) = after {
            let columns = Expr::tuple([Expr::col(C::CreatedAt), Expr::col(C::Id)]);
            let last = Expr::tuple([Expr::value(place.created_at.as_micros()), Expr::value(place.id.as_uuid())]);
            query = query.filter(columns.lt(last));
        }
        let query = query.order_by_desc(C::CreatedAt).order_by_desc(C::Id).limit(filter.limit());
        query.all(rows.db()).await?.into_iter().map(TranscriptRow::try_from).collect()
    }

    /// One transcript with its segments.
    pub async fn transcript(&self, scope: TenantScope, id: TranscriptId) -> Result<TranscriptDetail> {
        let rows = self.read(scope).await?;
        let found = rows.select::<transcript::Entity>().filter(transcript::Column::Id.eq(id.as_uuid()));
        let found = found.one(rows.db()).await?.ok_or_else(|| Error::not_found("transcript", id))?;
        detail(&rows, found).await
    }

    /// The transcripts of a session by part, with their segments: of each part the newest one that is done, or else the newest.
    /// None where nobody transcribed it; a session out of reach is [`Error::NotFound`].
    pub async fn session_transcripts(&self, scope: TenantScope, session: SessionId) -> Result<Vec<TranscriptDetail>> {
        let rows = self.read(scope).await?;
        let call = rows.select::<call_session::Entity>().filter(call_session::Column::Id.eq(session.as_uuid()));
        if call.one(rows.db()).await?.is_none() {
            return Err(Error::not_found("session", session));
        }
        let found = rows
            .select::<transcript::Entity>()
            .filter(transcript::Column::SessionId.eq(session.as_uuid()))
            .order_by_asc(transcript::Column::Part)
            .order_by_desc(transcript::Column::CreatedAt)
            .order_by_desc(transcript::Column::Id);
        let mut found = found.all(rows.db()).await?;
        // One that is being made again is no better than what there is.
        found.sort_by_key(|transcript| (transcript.part, transcript.state != TranscriptState::Done.name()));
        found.dedup_by_key(|transcript| transcript.part);
        let mut details = Vec::with_capacity(found.len());
        for transcript in found {
            details.push(detail(&rows, transcript).await?);
        }
        Ok(details)
    }

    /// Transcripts of this node's sessions that are not done, oldest first, at most so many.
    pub async fn unfinished_transcripts(
        &self,
        scope: TenantScope,
        node: &NodeId,
        rows_max: u64,
    ) -> Result<Vec<TranscriptRow>> {
        let rows = self.read(scope).await?;
        let sessions = rows.select::<call_session::Entity>().filter(call_session::Column::Node.eq(node.as_str()));
        let sessions = sessions.select_only().column(call_session::Column::Id).into_query();
        let query = rows
            .select::<transcript::Entity>()
            .filter(Expr::col(transcript::Column::State).eq(Expr::cust("'running'")))
            .filter(transcript::Column::SessionId.in_subquery(sessions))
            .order_by_asc(transcript::Column::CreatedAt)
            .limit(rows_max);
        query.all(rows.db()).await?.into_iter().map(TranscriptRow::try_from).collect()
    }

    /// Removes at most `rows_max` transcripts of a tenant that were begun before `before`, with their segments; gives how
    /// many.
    pub async fn purge_transcripts(&self, tenant: TenantId, before: Timestamp, rows_max: u64) -> Result<u64> {
        let rows = self.write(TenantScope::Tenant(tenant)).await?;
        let old = transcript::Column::CreatedAt.lt(before.as_micros());
        let removed = purge::<transcript::Entity>(&rows, &[transcript::Column::Id], old, rows_max).await?;
        rows.commit().await?;
        Ok(removed)
    }
}

impl TranscriptFilter {
    pub(crate) fn limit(&self) -> u64 {
        Ord::min(self.limit.unwrap_or(TRANSCRIPTS_LIMIT_MAX), TRANSCRIPTS_LIMIT_MAX)
    }

    /// The ids of the calls that it asks for, where it asks for some of them by what is known of the call.
    pub(crate) fn calls(&self, rows: &Rows) -> Option<SelectStatement> {
        use call_session::Column as C;
        let equal = [
            self.dialled_number.as_ref().map(|number| C::DialledNumber.eq(number)),
            self.call_direction.map(|direction| C::CallDirection.eq(direction.name())),
        ];
        let mut equal = equal.into_iter().flatten().peekable();
        equal.peek()?;
        let query = rows.select::<call_session::Entity>().select_only().column(C::Id);
        Some(equal.fold(query, QueryFilter::filter).into_query())
    }
}

async fn detail(rows: &Rows, found: transcript::Model) -> Result<TranscriptDetail> {
    let segments = rows
        .select::<segment::Entity>()
        .filter(segment::Column::TranscriptId.eq(found.id))
        .order_by_asc(segment::Column::StartMs)
        .order_by_asc(segment::Column::Number)
        .limit(SEGMENTS_MAX);
    let segments = segments.all(rows.db()).await?.into_iter().map(SegmentRow::try_from).collect::<Result<_>>()?;
    Ok(TranscriptDetail { transcript: found.try_into()?, segments })
}

impl From<&TranscriptRow> for transcript::Model {
    fn from(t: &TranscriptRow) -> Self {
        Self {
            id: t.id.as_uuid(),
            tenant_id: t.tenant.as_uuid(),
            session_id: t.session.as_uuid(),
            part: t.part.into(),
            provider: t.provider.clone(),
            model: t.model.clone(),
            language: t.language.clone(),
            state: t.state.name().to_owned(),
            failure: t.failure.clone(),
            created_at: t.created_at.as_micros(),
            finished_at: t.finished_at.map(Timestamp::as_micros),
        }
    }
}

impl TryFrom<transcript::Model> for TranscriptRow {
    type Error = Error;

    fn try_from(row: transcript::Model) -> Result<Self> {
        let id = TranscriptId::from_uuid(row.id);
        let state = TranscriptState::ALL.into_iter().find(|state| state.name() == row.state);
        Ok(Self {
            id,
            tenant: TenantId::from_uuid(row.tenant_id),
            session: SessionId::from_uuid(row.session_id),
            part: u16::try_from(row.part).map_err(|_| Error::damaged("part", id, row.part))?,
            provider: row.provider,
            model: row.model,
            language: row.language,
            state: state.ok_or_else(|| Error::damaged("state", id, row.state))?,
            failure: row.failure,
            created_at: Timestamp::from_micros(row.created_at),
            finished_at: row.finished_at.map(Timestamp::from_micros),
        })
    }
}

impl SegmentRow {
    /// The row to be written; the database gives its id.
    pub(crate) fn to_active_model(&self) -> segment::ActiveModel {
        use sea_orm::ActiveValue::{NotSet, Set};
        // SQL knows signed numbers only; nothing real comes near the limit.
        let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        segment::ActiveModel {
            id: NotSet,
            transcript_id: Set(self.transcript.as_uuid()),
            number: Set(i32::try_from(self.number).unwrap_or(i32::MAX)),
            session_id: Set(self.session.as_uuid()),
            tenant_id: Set(self.tenant.as_uuid()),
            speaker: Set(self.speaker.name().to_owned()),
            at: Set(self.at.as_micros()),
            start_ms: Set(signed(self.start_ms)),
            end_ms: Set(signed(self.end_ms)),
            terms: Set(search::terms(&self.text)),
            // PostgreSQL's texts know no NUL.
            text: Set(self.text.replace('\0', " ")),
            confidence: Set(self.confidence),
            words: Set(self.words.clone()),
            is_final: Set(self.is_final),
        }
    }
}

impl TryFrom<segment::Model> for SegmentRow {
    type Error = Error;

    fn try_from(row: segment::Model) -> Result<Self> {
        let speaker = Direction::BOTH.into_iter().find(|direction| direction.name() == row.speaker);
        let ms = |what, stored: i64| u64::try_from(stored).map_err(|_| Error::damaged(what, row.id, stored));
        Ok(Self {
            tenant: TenantId::from_uuid(row.tenant_id),
            session: SessionId::from_uuid(row.session_id),
            transcript: TranscriptId::from_uuid(row.transcript_id),
            number: u32::try_from(row.number).map_err(|_| Error::damaged("number", row.id, row.number))?,
            speaker: speaker.ok_or_else(|| Error::damaged("speaker", row.id, &row.speaker))?,
            at: Timestamp::from_micros(row.at),
            start_ms: ms("start_ms", row.start_ms)?,
            end_ms: ms("end_ms", row.end_ms)?,
            text: row.text,
            confidence: row.confidence,
            words: row.words,
            is_final: row.is_final,
        })
    }
}
