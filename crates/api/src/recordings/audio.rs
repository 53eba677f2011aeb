//! The audio of a recording: the file as it is, or parts of it, read as it is sent.

use std::collections::VecDeque;
use std::io::{self, SeekFrom};
use std::ops::Range;

use aimg_store::RecordingRow;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, IF_RANGE, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::ranges::{Wanted, wanted};
use super::{RecordingId, TAG, defect, row};
use crate::body::Path;
use crate::caller::Caller;
use crate::problem::{Code, Problem};
use crate::server::Desk;

/// What is read at once, and all that is in memory of a file that is being sent.
const CHUNK_BYTES: u64 = 128 << 10;
const AUDIO: &str = "audio/wav";

/// Hear a recording
///
/// The WAV file, or parts of it by `Range`. Several parts come as `multipart/byteranges`.
#[utoipa::path(get, path = "/recordings/{id}/audio", tag = TAG, operation_id = "hear_recording",
    params(
        ("id" = String, Path, description = "The recording"),
        ("Range" = Option<String>, Header, description = "Which bytes (RFC 9110 section 14)"),
        ("If-Range" = Option<String>, Header, description = "Only if the file is still this one: its `ETag`"),
        ("If-None-Match" = Option<String>, Header, description = "Only if the file is another one"),
    ),
    responses(
    (status = 200, description = "The file", body = Vec<u8>, content_type = "audio/wav"),
    (status = 206, description = "Parts of it", content((Vec<u8> = "audio/wav"), (Vec<u8> = "multipart/byteranges"))),
    (status = 304, description = "The file is the one that is known"),
    (status = 404, description = "There is no such recording for this account, or its file is not here", body = Problem, content_type = "application/problem+json"),
    (status = 416, description = "The file ends before the range begins", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn audio(
    State(desk): State<Desk>,
    caller: Caller,
    Path(id): Path<RecordingId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let row = row(&desk, &caller, id).await?;
    let (archive, path) = (desk.archive.clone(), row.path.clone());
    let opened = tokio::task::spawn_blocking(move || archive.open(&path)).await.map_err(defect)??;
    let Some(file) = opened else {
        let why = format!("the file of recording `{id}` is not on the disk of node {}", desk.archive.node());
        return Err(Problem::new(Code::NotFound, why));
    };
    let file = File::from_std(file);
    let bytes = file.metadata().await.map_err(unreadable)?.len();
    Ok(answer(file, bytes, id, &entity_tag(&row), &headers))
}

/// The file's hash, so that a copy somewhere else is known for the same.
fn entity_tag(row: &RecordingRow) -> String {
    match row.certificate["sha256"].as_str() {
        Some(hash) if hash.bytes().all(|b| b.is_ascii_alphanumeric()) => format!("\"{hash}\""),
        _ => format!("\"{}-{}\"", row.created_at.as_micros(), row.bytes),
    }
}

fn answer(file: File, bytes: u64, id: RecordingId, tag: &str, headers: &HeaderMap) -> Response {
    let shown = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let common = [
        (ACCEPT_RANGES, "bytes".to_owned()),
        (ETAG, tag.to_owned()),
        (CACHE_CONTROL, "private, no-cache".to_owned()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        // Of our own ids only, so that no name needs to be escaped.
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{id}.wav\"")),
    ];
    let is_known =
        |known: &str| known.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag);
    if shown(IF_NONE_MATCH).is_some_and(is_known) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    let is_same = shown(IF_RANGE).is_none_or(|condition| condition.trim() == tag);
    let length = |bytes: u64| (CONTENT_LENGTH, bytes.to_string());
    let kind = (CONTENT_TYPE, AUDIO.to_owned());
    match wanted(shown(RANGE).filter(|_| is_same), bytes) {
        Wanted::Whole => (common, [kind, length(bytes)], body(file, [Piece::File(0..bytes)])).into_response(),
        Wanted::Nothing => {
            let problem = Problem::new(Code::BadRange, format!("the file has {bytes} bytes"));
            ([(CONTENT_RANGE, format!("bytes */{bytes}")), (ACCEPT_RANGES, "bytes".to_owned())], problem)
                .into_response()
        }
        Wanted::Parts(ranges) => match <[Range<u64>; 1]>::try_from(ranges) {
            Ok([range]) => {
                let place = (CONTENT_RANGE, content_range(&range, bytes));
                let headers = [kind, length(range.end - range.start), place];
                (StatusCode::PARTIAL_CONTENT, common, headers, body(file, [Piece::File(range)])).into_response()
            }
            Err(ranges) => {
                let (pieces, boundary) = multipart(ranges, bytes, id);
                let kind = (CONTENT_TYPE, format!("multipart/byteranges; boundary={boundary}"));
                let sum = pieces.iter().map(Piece::bytes).sum();
                (StatusCode::PARTIAL_CONTENT, common, [kind, length(sum)], body(file, pieces)).into_response()
            }
        },
    }
}

fn content_range(range: &Range<u64>, bytes: u64) -> String {
    format!("bytes {}-{}/{bytes}", range.start, range.end - 1)
}

/// Several ranges with what stands between them (RFC 9110 section 14.6).
fn multipart(ranges: Vec<Range<u64>>, bytes: u64, id: RecordingId) -> (Vec<Piece>, String) {
    // An id in random bytes: no audio holds it by chance.
    let boundary = format!("aimg-{}", id.session.as_uuid().simple());
    let mut pieces = Vec::with_capacity(2 * ranges.len() + 1);
    for range in ranges {
        let place = content_range(&range, bytes);
        let head = format!("\r\n--{boundary}\r\nContent-Type: {AUDIO}\r\nContent-Range: {place}\r\n\r\n");
        pieces.extend([Piece::Text(head), Piece::File(range)]);
    }
    pieces.push(Piece::Text(format!("\r\n--{boundary}--\r\n")));
    (pieces, boundary)
}

/// Something to be sent.
enum Piece {
    Text(String),
    File(Range<u64>),
}

impl Piece {
    fn bytes(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::File(range) => range.end - range.start,
        }
    }
}

/// Reads a chunk when the connection has room for it.
fn body(file: File, pieces: impl IntoIterator<Item = Piece>) -> Body {
    let pieces: VecDeque<Piece> = pieces.into_iter().collect();
    Body::from_stream(stream::try_unfold((file, pieces), async |(mut file, mut pieces)| {
        let chunk = match pieces.pop_front() {
            None => return Ok::<_, io::Error>(None),
            Some(Piece::Text(text)) => text.into_bytes(),
            Some(Piece::File(Range { start, end })) => {
                let next = end.min(start + CHUNK_BYTES);
                if next < end {
                    pieces.push_front(Piece::File(next..end));
                }
                let mut chunk = vec![0; usize::try_from(next - start).expect("a chunk fits into memory")];
                file.seek(SeekFrom::Start(start)).await?;
                file.read_exact(&mut chunk).await?;
                chunk
            }
        };
        Ok(Some((chunk, (file, pieces))))
    }))
}

fn unreadable(error: io::Error) -> Problem {
    tracing::error!(%error, "a recording's file cannot be read");
    Problem::new(Code::Defect, "the recording's file cannot be read; the gateway's log says why")
}
