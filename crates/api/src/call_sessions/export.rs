//! Lists of calls as files: CSV, read and sent page by page, and workbooks, which exist as a whole only and have a bound.

use std::borrow::Cow;

use aimg_core::{SessionId, TenantScope};
use aimg_store::{SESSIONS_LIMIT_MAX, SessionFilter, SessionPlace, Store, StoredSession};
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use rust_xlsxwriter::{Workbook, XlsxError};
use serde::Deserialize;
use tokio::sync::Semaphore;
use utoipa::ToSchema;
use uuid::Uuid;

use super::bulk::check_count;
use super::filter::ExportQuery;
use super::{CallSession, TAG};
use crate::body::{Json, Query};
use crate::caller::Caller;
use crate::problem::{Code, Problem};
use crate::server::Desk;

/// Workbooks that are made at once; the next one waits.
static WORKBOOKS: Semaphore = Semaphore::const_new(2);

/// What kind of file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Format {
    /// Text with commas (RFC 4180), however many calls there are. A cell that a spreadsheet would take for a formula begins
    /// with an apostrophe.
    #[default]
    Csv,
    /// A workbook, which holds a bounded number of calls.
    Xlsx,
}

/// Calls for a file.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportByIds {
    /// What kind of file.
    format: Format,
    /// Which calls; those that are not there are left out.
    #[schema(min_items = 1, max_items = 500)]
    ids: Vec<Uuid>,
}

/// The columns, in their order.
const COLUMNS: [&str; 16] = [
    "id",
    "tenant",
    "pbx",
    "state",
    "direction",
    "caller_number",
    "dialled_number",
    "context",
    "started_at",
    "answered_at",
    "ended_at",
    "duration_ms",
    "talk_ms",
    "hangup_cause",
    "captured",
    "uniqueid",
];

/// A cell.
enum Cell {
    /// From outside: a caller may choose his number.
    Text(String),
    Number(u64),
    Nothing,
}

/// Take a list of calls away
///
/// All calls that fit, the newest first. The file comes as it is read: when the database fails in the middle, the
/// connection breaks.
#[utoipa::path(get, path = "/call-sessions/export", tag = TAG, operation_id = "export_call_sessions", params(ExportQuery), responses(
    (status = 200, description = "The file", content((String = "text/csv"), (Vec<u8> = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"))),
    (status = 422, description = "A parameter is not allowed, or more calls fit than a workbook holds; `field` names it", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn by_filter(
    State(desk): State<Desk>,
    caller: Caller,
    Query(query): Query<ExportQuery>,
) -> Result<Response, Problem> {
    let filter = query.filter()?;
    file(&desk, &caller, filter, query.format).await
}

/// Take some calls away
#[utoipa::path(post, path = "/call-sessions/export", tag = TAG, operation_id = "export_some_call_sessions", request_body = ExportByIds, responses(
    (status = 200, description = "The file", content((String = "text/csv"), (Vec<u8> = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"))),
))]
pub(super) async fn by_ids(
    State(desk): State<Desk>,
    caller: Caller,
    Json(ExportByIds { format, ids }): Json<ExportByIds>,
) -> Result<Response, Problem> {
    check_count(&ids)?;
    let ids = Some(ids.into_iter().map(SessionId::from_uuid).collect());
    file(&desk, &caller, SessionFilter { ids, ..SessionFilter::default() }, format).await
}

async fn file(desk: &Desk, caller: &Caller, filter: SessionFilter, format: Format) -> Result<Response, Problem> {
    let pages = Pages::begin(desk.store.clone(), caller.scope(), filter).await?;
    let (kind, name, body) = match format {
        Format::Csv => ("text/csv; charset=utf-8", "calls.csv", pages.into_csv()),
        Format::Xlsx => {
            let kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
            (kind, "calls.xlsx", Body::from(workbook(pages, desk.config.workbook_calls_max).await?))
        }
    };
    desk.store.audit(caller.did("call_session.export", name)).await?;
    let headers = [(CONTENT_TYPE, kind.to_owned()), (CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\""))];
    Ok((headers, body).into_response())
}

/// Calls, a page at a time: as many are in memory.
struct Pages {
    store: Store,
    scope: TenantScope,
    filter: SessionFilter,
    next: Option<Vec<StoredSession>>,
    is_first: bool,
}

impl Pages {
    /// Reads the first page, so that what fails is told before the file begins.
    async fn begin(store: Store, scope: TenantScope, filter: SessionFilter) -> Result<Self, Problem> {
        let filter = SessionFilter { limit: Some(SESSIONS_LIMIT_MAX), ..filter };
        let next = Some(store.sessions(scope, filter.clone()).await?);
        Ok(Self { store, scope, filter, next, is_first: true })
    }

    /// The page that was read last; reads the one after it.
    async fn next(&mut self) -> aimg_store::Result<Option<Vec<StoredSession>>> {
        let Some(page) = self.next.take() else { return Ok(None) };
        if page.len() as u64 == SESSIONS_LIMIT_MAX
            && let Some(last) = page.last()
        {
            self.filter.after = Some(SessionPlace { started_at: last.row.started_at, id: last.row.id });
            self.next = Some(self.store.sessions(self.scope, self.filter.clone()).await?);
        }
        Ok(Some(page))
    }

    fn into_csv(self) -> Body {
        Body::from_stream(stream::try_unfold(self, async |mut pages| {
            let Some(page) = pages.next().await? else { return Ok::<_, aimg_store::Error>(None) };
            let head = std::mem::take(&mut pages.is_first);
            Ok(Some((csv_of(page, head), pages)))
        }))
    }
}

fn csv_of(page: Vec<StoredSession>, head: bool) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let head = head.then_some(COLUMNS.map(str::to_owned));
    let rows = page.into_iter().map(|session| {
        cells(session.into()).map(|cell| match cell {
            Cell::Text(text) => harmless(&text).into_owned(),
            Cell::Number(number) => number.to_string(),
            Cell::Nothing => String::new(),
        })
    });
    for row in head.into_iter().chain(rows) {
        writer.write_record(row).expect("memory takes every record, and all have as many cells");
    }
    writer.into_inner().expect("memory takes every record")
}

/// A text that no spreadsheet takes for a formula (CSV injection, CWE-1236).
fn harmless(text: &str) -> Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}").into() } else { text.into() }
}

async fn workbook(mut pages: Pages, calls_max: usize) -> Result<Vec<u8>, Problem> {
    let _place = WORKBOOKS.acquire().await.expect("the semaphore is never closed");
    let mut calls = Vec::new();
    while let Some(page) = pages.next().await? {
        calls.extend(page);
        if calls.len() > calls_max {
            let why =
                format!("more than {calls_max} calls fit, which is what a workbook holds: take csv, or fewer calls");
            return Err(Problem::invalid("format", why));
        }
    }
    let made = tokio::task::spawn_blocking(|| workbook_of(calls)).await;
    made.map_err(|e| e.to_string()).and_then(|made| made.map_err(|e| e.to_string())).map_err(|error| {
        tracing::error!(error, "a workbook could not be made");
        Problem::new(Code::Defect, "the workbook could not be made; the gateway's log says why")
    })
}

fn workbook_of(calls: Vec<StoredSession>) -> Result<Vec<u8>, XlsxError> {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet().set_name("calls")?;
    for (column, name) in (0..).zip(COLUMNS) {
        sheet.write_string(0, column, name)?;
    }
    for (row, call) in (1..).zip(calls) {
        for (column, cell) in (0..).zip(cells(call.into())) {
            match cell {
                // A cell of the kind text is never a formula, whatever it begins with.
                Cell::Text(text) => sheet.write_string(row, column, text).map(drop)?,
                Cell::Number(number) => sheet.write_number(row, column, number as f64).map(drop)?,
                Cell::Nothing => {}
            }
        }
    }
    book.save_to_buffer()
}

fn cells(call: CallSession) -> [Cell; COLUMNS.len()] {
    let text = |text: Option<String>| text.map_or(Cell::Nothing, Cell::Text);
    let number = |number: Option<u64>| number.map_or(Cell::Nothing, Cell::Number);
    let time = |at: Option<crate::schema::Time>| text(at.map(|at| at.0.to_string()));
    [
        Cell::Text(call.id.to_string()),
        Cell::Text(call.tenant.to_string()),
        Cell::Text(call.pbx.to_string()),
        Cell::Text(call.state.to_string()),
        Cell::Text(call.direction.name().to_owned()),
        text(call.caller_number),
        text(call.dialled_number),
        text(call.context),
        time(Some(call.started_at)),
        time(call.answered_at),
        time(call.ended_at),
        number(call.duration_ms),
        number(call.talk_ms),
        number(call.hangup_cause.map(u64::from)),
        Cell::Text(if call.captured { "yes" } else { "no" }.to_owned()),
        Cell::Text(call.uniqueid),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_formula_is_made_harmless() {
        for (text, expected) in [
            ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
            ("+4930", "'+4930"),
            ("-1", "'-1"),
            ("@SUM(1)", "'@SUM(1)"),
            ("\t=1", "'\t=1"),
            ("\r=1", "'\r=1"),
            ("100", "100"),
            ("", ""),
            ("a=b", "a=b"),
        ] {
            assert_eq!(harmless(text), expected);
        }
    }
}
