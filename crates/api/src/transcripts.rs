//! `/api/v1/transcripts` and a call's own: what was said, and where a word was.

use aimg_core::{CallDirection, Direction, SessionId, TenantId, Timestamp, TranscriptId};
use aimg_speech::subtitles::{self, Line};
use aimg_store::{
    SearchHit, SearchQuery, SegmentPlace, SegmentRow, TRANSCRIPTS_LIMIT_MAX, TranscriptFilter, TranscriptPlace,
    TranscriptRow,
};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::body::{Json, Path, Query};
use crate::caller::Caller;
use crate::guard::needs;
use crate::problem::Problem;
use crate::schema::Time;
use crate::server::Desk;

const TAG: &str = "transcripts";
const LIMIT_DEFAULT: u64 = 100;

pub(crate) fn routes() -> OpenApiRouter<Desk> {
    use aimg_core::Permission::RecordingsListen;
    OpenApiRouter::new()
        .routes(needs(RecordingsListen, routes!(list_transcripts)))
        .routes(needs(RecordingsListen, routes!(search_transcripts)))
        .routes(needs(RecordingsListen, routes!(transcript)))
        .routes(needs(RecordingsListen, routes!(session_transcript)))
}

/// Which transcripts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Of this tenant; for a super admin.
    tenant: Option<Uuid>,
    /// Of this call.
    session: Option<Uuid>,
    /// Of calls to this number.
    #[param(max_length = 80)]
    dialled_number: Option<String>,
    /// Of calls in this direction.
    direction: Option<CallWay>,
    /// Begun at this time or later.
    from: Option<Time>,
    /// Begun before this time.
    before: Option<Time>,
    /// What the page before gave as `next`.
    #[param(max_length = 100)]
    after: Option<String>,
    /// At most so many; 100 where it is absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u64>,
}

/// What is looked for, and where.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// Words, of which all must be in an utterance: `"several words"` in a row, `word*` for what begins so, `OR` between
    /// alternatives. Case does not matter, and neither does anything but letters and digits.
    #[param(min_length = 1, max_length = 500)]
    q: String,
    /// Said by this side alone.
    speaker: Option<Speaker>,
    /// Of this tenant; for a super admin.
    tenant: Option<Uuid>,
    /// In this call.
    session: Option<Uuid>,
    /// In calls to this number.
    #[param(max_length = 80)]
    dialled_number: Option<String>,
    /// In calls in this direction.
    direction: Option<CallWay>,
    /// Said at this time or later.
    from: Option<Time>,
    /// Said before this time.
    before: Option<Time>,
    /// What the page before gave as `next`.
    #[param(max_length = 100)]
    after: Option<String>,
    /// At most so many; 100 where it is absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u64>,
}

/// How a call's transcript is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Written {
    /// As data with everything known (`json`, where it is absent), or what is final as lines of text or subtitles.
    format: Option<Format>,
}

/// How a transcript is written.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = TranscriptFormat)]
enum Format {
    Json,
    Txt,
    Srt,
    Vtt,
}

/// Whether a call came in or went out.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum CallWay {
    Inbound,
    Outbound,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Speaker {
    Caller,
    Callee,
}

/// Where a transcript stands.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum TranscriptState {
    Running,
    Done,
    Failed,
}

/// The text of one part of a call's capture, as one recogniser heard it.
#[derive(Debug, Serialize, ToSchema)]
struct Transcript {
    /// Its id.
    id: Uuid,
    /// Whose it is.
    tenant: Uuid,
    /// Which call.
    session: Uuid,
    /// The part of the call's capture.
    part: u16,
    /// Who recognised it.
    provider: String,
    /// With which model.
    model: Option<String>,
    /// In which language (BCP 47).
    language: Option<String>,
    /// Where it stands.
    state: TranscriptState,
    /// Why it broke off.
    failure: Option<String>,
    /// When it was begun.
    created_at: Time,
    /// When it was done, or broke off.
    finished_at: Option<Time>,
}

/// One utterance.
#[derive(Debug, Serialize, ToSchema)]
struct Segment {
    /// Its number within the transcript.
    number: u32,
    /// Who speaks.
    speaker: Speaker,
    /// When it begins.
    at: Time,
    /// When it begins, in milliseconds from the call's start.
    start_ms: u64,
    /// When it ends, in milliseconds from the call's start.
    end_ms: u64,
    /// What is said.
    text: String,
    /// How sure the recogniser is, from 0 to 1.
    confidence: Option<f64>,
    /// Its words with their times, as the recogniser tells them.
    words: Option<Value>,
    /// Whether it stays as it is.
    is_final: bool,
}

/// A transcript with all that was said.
#[derive(Debug, Serialize, ToSchema)]
struct TranscriptDetail {
    /// The transcript.
    transcript: Transcript,
    /// What was said, in order.
    segments: Vec<Segment>,
}

/// A page of transcripts.
#[derive(Debug, Serialize, ToSchema)]
struct Transcripts {
    /// The newest first.
    items: Vec<Transcript>,
    /// For `after`, to get the next page; absent at the end.
    next: Option<String>,
}

/// A call's transcripts.
#[derive(Debug, Serialize, ToSchema)]
struct SessionTranscripts {
    /// Of each part of the call's capture the newest that is done, or else the newest.
    items: Vec<TranscriptDetail>,
}

/// An utterance that was found.
#[derive(Debug, Serialize, ToSchema)]
struct Hit {
    /// Of which transcript.
    transcript: Uuid,
    /// In which call.
    session: Uuid,
    /// Whose call.
    tenant: Uuid,
    /// The utterance.
    segment: Segment,
    /// Its text, cut to what is around the first hit.
    snippet: Vec<Piece>,
}

/// A piece of a snippet.
#[derive(Debug, Serialize, ToSchema)]
struct Piece {
    /// The text.
    text: String,
    /// Whether it was asked for.
    is_hit: bool,
}

/// A page of what was found.
#[derive(Debug, Serialize, ToSchema)]
struct Hits {
    /// The newest first.
    items: Vec<Hit>,
    /// For `after`, to get the next page; absent at the end.
    next: Option<String>,
}

/// Transcripts, the newest first.
#[utoipa::path(get, path = "/transcripts", tag = TAG, params(Wanted), responses(
    (status = 200, description = "A page of transcripts", body = Transcripts),
    (status = 422, description = "A parameter is not allowed", body = Problem, content_type = "application/problem+json"),
))]
async fn list_transcripts(
    State(desk): State<Desk>,
    caller: Caller,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Transcripts>, Problem> {
    let Wanted { tenant, session, dialled_number, direction, from, before, after, limit } = wanted;
    let filter = filter(tenant, session, dialled_number, direction, [from, before], limit)?;
    let after = after.map(|text| place::<Uuid>(&text)).transpose()?;
    let after = after.map(|(created_at, id)| TranscriptPlace { created_at, id: TranscriptId::from_uuid(id) });
    let found = desk.store.transcripts(caller.scope(), &filter, after).await?;
    let is_full = found.len() as u64 == filter.limit.unwrap_or_default();
    let next = found.last().filter(|_| is_full).map(|last| format!("{}_{}", last.created_at.as_micros(), last.id));
    Ok(Json(Transcripts { items: found.into_iter().map(Transcript::from).collect(), next }))
}

/// Looks for words in what was said, the newest first. Only what is final is found.
#[utoipa::path(get, path = "/transcripts/search", tag = TAG, params(Asked), responses(
    (status = 200, description = "A page of utterances", body = Hits),
    (status = 422, description = "A parameter is not allowed, or `q` has no word", body = Problem,
        content_type = "application/problem+json"),
))]
async fn search_transcripts(
    State(desk): State<Desk>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> Result<Json<Hits>, Problem> {
    let Asked { q, speaker, tenant, session, dialled_number, direction, from, before, after, limit } = asked;
    let query = SearchQuery::parse(&q).map_err(|e| Problem::invalid("q", e))?;
    let filter = filter(tenant, session, dialled_number, direction, [from, before], limit)?;
    let speaker = speaker.map(|speaker| match speaker {
        Speaker::Caller => Direction::Caller,
        Speaker::Callee => Direction::Callee,
    });
    let after = after.map(|text| place::<i64>(&text)).transpose()?.map(|(at, id)| SegmentPlace { at, id });
    let found = desk.store.search_segments(caller.scope(), &query, speaker, &filter, after).await?;
    let is_full = found.len() as u64 == filter.limit.unwrap_or_default();
    let last = found.last().filter(|_| is_full).map(|hit| hit.place);
    let next = last.map(|place| format!("{}_{}", place.at.as_micros(), place.id));
    Ok(Json(Hits { items: found.into_iter().map(Hit::from).collect(), next }))
}

/// One transcript with all that was said.
#[utoipa::path(get, path = "/transcripts/{id}", tag = TAG, params(("id" = Uuid, Path, description = "The transcript")), responses(
    (status = 200, description = "The transcript", body = TranscriptDetail),
    (status = 404, description = "There is no such transcript", body = Problem, content_type = "application/problem+json"),
))]
async fn transcript(
    State(desk): State<Desk>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Json<TranscriptDetail>, Problem> {
    Ok(Json(desk.store.transcript(caller.scope(), TranscriptId::from_uuid(id)).await?.into()))
}

/// What was said in a call: of each part of its capture the newest transcript that is done, or else the newest.
#[utoipa::path(get, path = "/call-sessions/{id}/transcript", tag = TAG,
    params(Written, ("id" = Uuid, Path, description = "The call session")), responses(
    (status = 200, description = "What was said", content(
        (SessionTranscripts = "application/json"),
        (String = "text/plain"),
        (String = "application/x-subrip"),
        (String = "text/vtt"),
    )),
    (status = 404, description = "There is no such call, or nobody transcribed it", body = Problem,
        content_type = "application/problem+json"),
    (status = 422, description = "A parameter is not allowed", body = Problem, content_type = "application/problem+json"),
))]
async fn session_transcript(
    State(desk): State<Desk>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Query(written): Query<Written>,
) -> Result<Response, Problem> {
    let found = desk.store.session_transcripts(caller.scope(), SessionId::from_uuid(id)).await?;
    if found.is_empty() {
        return Err(Problem::not_found("transcript of the session", id));
    }
    let format = written.format.unwrap_or(Format::Json);
    if let Format::Json = format {
        let items = found.into_iter().map(TranscriptDetail::from).collect();
        return Ok(Json(SessionTranscripts { items }).into_response());
    }
    let mut said: Vec<SegmentRow> = found.into_iter().flat_map(|t| t.segments).filter(|s| s.is_final).collect();
    said.sort_by_key(|segment| (segment.start_ms, segment.end_ms));
    let said = said.iter().map(|segment| Line {
        start_ms: segment.start_ms,
        end_ms: segment.end_ms,
        speaker: Some(segment.speaker.name()),
        text: &segment.text,
    });
    let (content_type, text) = match format {
        Format::Srt => ("application/x-subrip; charset=utf-8", subtitles::srt(said)),
        Format::Vtt => ("text/vtt; charset=utf-8", subtitles::vtt(said)),
        Format::Txt | Format::Json => ("text/plain; charset=utf-8", subtitles::lines(said)),
    };
    Ok(([(CONTENT_TYPE, content_type)], text).into_response())
}

fn filter(
    tenant: Option<Uuid>,
    session: Option<Uuid>,
    dialled_number: Option<String>,
    direction: Option<CallWay>,
    [from, before]: [Option<Time>; 2],
    limit: Option<u64>,
) -> Result<TranscriptFilter, Problem> {
    let limit = limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=TRANSCRIPTS_LIMIT_MAX).contains(&limit) {
        return Err(Problem::invalid("limit", format!("it is from 1 to {TRANSCRIPTS_LIMIT_MAX}")));
    }
    // PostgreSQL's texts know no NUL.
    if dialled_number.as_ref().is_some_and(|number| number.contains('\0')) {
        return Err(Problem::invalid("dialled_number", "it is no number"));
    }
    Ok(TranscriptFilter {
        tenant: tenant.map(TenantId::from_uuid),
        session: session.map(SessionId::from_uuid),
        dialled_number,
        call_direction: direction.map(|direction| match direction {
            CallWay::Inbound => CallDirection::Inbound,
            CallWay::Outbound => CallDirection::Outbound,
        }),
        from: from.map(|time| time.0),
        before: before.map(|time| time.0),
        limit: Some(limit),
    })
}

/// A place in a list as `next` tells it: when, and which.
fn place<T: std::str::FromStr>(text: &str) -> Result<(Timestamp, T), Problem> {
    let read = text.split_once('_').and_then(|(at, id)| Some((at.parse().ok()?, id.parse().ok()?)));
    let (at, id) = read.ok_or_else(|| Problem::invalid("after", "send what the page before gave as `next`"))?;
    Ok((Timestamp::from_micros(at), id))
}

impl From<Direction> for Speaker {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Caller => Self::Caller,
            Direction::Callee => Self::Callee,
        }
    }
}

impl From<TranscriptRow> for Transcript {
    fn from(row: TranscriptRow) -> Self {
        Self {
            id: row.id.as_uuid(),
            tenant: row.tenant.as_uuid(),
            session: row.session.as_uuid(),
            part: row.part,
            provider: row.provider,
            model: row.model,
            language: row.language,
            state: match row.state {
                aimg_store::TranscriptState::Running => TranscriptState::Running,
                aimg_store::TranscriptState::Done => TranscriptState::Done,
                aimg_store::TranscriptState::Failed => TranscriptState::Failed,
            },
            failure: row.failure,
            created_at: Time(row.created_at),
            finished_at: row.finished_at.map(Time),
        }
    }
}

impl From<SegmentRow> for Segment {
    fn from(row: SegmentRow) -> Self {
        Self {
            number: row.number,
            speaker: row.speaker.into(),
            at: Time(row.at),
            start_ms: row.start_ms,
            end_ms: row.end_ms,
            text: row.text,
            confidence: row.confidence,
            words: row.words,
            is_final: row.is_final,
        }
    }
}

impl From<aimg_store::TranscriptDetail> for TranscriptDetail {
    fn from(detail: aimg_store::TranscriptDetail) -> Self {
        Self {
            transcript: detail.transcript.into(),
            segments: detail.segments.into_iter().map(Segment::from).collect(),
        }
    }
}

impl From<SearchHit> for Hit {
    fn from(hit: SearchHit) -> Self {
        Self {
            transcript: hit.segment.transcript.as_uuid(),
            session: hit.segment.session.as_uuid(),
            tenant: hit.segment.tenant.as_uuid(),
            segment: hit.segment.into(),
            snippet: hit.snippet.into_iter().map(|p| Piece { text: p.text, is_hit: p.is_hit }).collect(),
        }
    }
}
