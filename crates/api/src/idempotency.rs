//! `Idempotency-Key`: a POST that is sent twice is done once, and answered alike both times.

use aimg_accounts::Who;
use aimg_store::{IdempotencyKey, Idempotent, KeptResponse};
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, ETAG, LOCATION};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::caller::Caller;
use crate::clock::now;
use crate::problem::{Code, Problem};
use crate::server::Desk;

/// The header with the key, as Stripe and the IETF's draft have it.
pub(crate) const KEY_HEADER: &str = "idempotency-key";
/// Says that an answer is the one of the first request.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Characters of a key at most.
const KEY_CHARS_MAX: usize = 255;
/// Bytes of an answer that is kept. A larger one is given once, and a repetition is done again.
const KEPT_BYTES_MAX: usize = 1 << 20;
/// The headers that belong to an answer.
const KEPT_HEADERS: [HeaderName; 3] = [CONTENT_TYPE, LOCATION, ETAG];

/// Runs an operation, or answers as it did before for the same key.
pub(crate) async fn once(desk: &Desk, caller: &Caller, request: Request, next: Next) -> Response {
    if request.method() != Method::POST || !request.headers().contains_key(KEY_HEADER) {
        return next.run(request).await;
    }
    keyed(desk, caller, request, next).await.unwrap_or_else(IntoResponse::into_response)
}

async fn keyed(desk: &Desk, caller: &Caller, request: Request, next: Next) -> Result<Response, Problem> {
    let key = IdempotencyKey {
        tenant: caller.principal.tenant,
        account: match caller.principal.who {
            Who::User(id) => format!("user/{id}"),
            Who::Key(id) => format!("key/{id}"),
            Who::CommandLine => "command line".to_owned(),
        },
        key: named(request.headers())?,
    };
    let (parts, body) = request.into_parts();
    let too_large =
        |_| Problem::new(Code::TooLarge, "the body is larger than a request with an idempotency key may be");
    let body = to_bytes(body, desk.config.body_bytes_max).await.map_err(too_large)?;
    let target = parts.uri.path_and_query().map_or(parts.uri.path(), |target| target.as_str());
    let mut fingerprint = Sha256::new_with_prefix(target);
    fingerprint.update([0]);
    fingerprint.update(&body);
    let begun_at = now();
    match desk.store.begin_idempotent(&key, &fingerprint.finalize(), begun_at).await? {
        Idempotent::Started => {}
        Idempotent::Done(kept) => return Ok(replay(kept)),
        Idempotent::InProgress => {
            return Err(Problem::new(Code::InProgress, "the request with this idempotency key is still under way"));
        }
        Idempotent::Mismatch => {
            let why = "this idempotency key was used for another request; take a new one for each request";
            return Err(Problem::new(Code::IdempotencyMismatch, why).at("Idempotency-Key"));
        }
    }
    // From here on in a task of its own: who goes away in the middle must not leave it half done and half noted.
    let (store, request) = (desk.store.clone(), Request::from_parts(parts, Body::from(body)));
    let run = tokio::spawn(async move {
        let response = next.run(request).await;
        let (parts, body) = response.into_parts();
        let Ok(bytes) = to_bytes(body, KEPT_BYTES_MAX).await else {
            let _ = store.abandon_idempotent(&key, begun_at).await;
            return Problem::new(Code::TooLarge, "the answer is too large to be kept: ask without an idempotency key")
                .into_response();
        };
        let noted = match std::str::from_utf8(&bytes) {
            Ok(body) if is_kept(parts.status) => {
                store.finish_idempotent(&key, begun_at, kept(parts.status, &parts.headers, body)).await
            }
            _ => store.abandon_idempotent(&key, begun_at).await,
        };
        if let Err(error) = noted {
            tracing::warn!(%error, "the answer to an idempotency key could not be kept");
        }
        Response::from_parts(parts, Body::from(bytes))
    });
    run.await.map_err(|_| Problem::new(Code::Defect, "the gateway's log says more"))
}

/// The key that a request names.
fn named(headers: &HeaderMap) -> Result<String, Problem> {
    let key = headers.get(KEY_HEADER).and_then(|v| v.to_str().ok()).unwrap_or_default().trim();
    if key.is_empty() || key.len() > KEY_CHARS_MAX {
        let why = "an idempotency key is 1 to 255 visible characters, such as a UUID";
        return Err(Problem::new(Code::BadRequest, why).at("Idempotency-Key"));
    }
    Ok(key.to_owned())
}

/// Whether a repetition gets the same answer: not when the first one failed by no fault of its own.
fn is_kept(status: StatusCode) -> bool {
    !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS && status != StatusCode::REQUEST_TIMEOUT
}

fn kept(status: StatusCode, headers: &HeaderMap, body: &str) -> KeptResponse {
    let headers = KEPT_HEADERS.iter().filter_map(|name| {
        let value = headers.get(name)?.to_str().ok()?;
        Some((name.to_string(), value.to_owned()))
    });
    KeptResponse { status: status.as_u16(), headers: headers.collect(), body: body.to_owned() }
}

fn replay(kept: KeptResponse) -> Response {
    let mut response = Response::new(Body::from(kept.body));
    *response.status_mut() = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
    for (name, value) in kept.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
