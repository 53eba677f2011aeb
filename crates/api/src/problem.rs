//! Refusals, as every operation gives them: `application/problem+json` (RFC 9457) with a stable code.

use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// How soon to come back when the database is away or busy.
const DATABASE_RETRY: Duration = Duration::from_secs(2);

/// What kind of refusal it is. Programs decide by it: a code never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Code {
    /// The request cannot be read: no JSON, a header or parameter that is malformed.
    BadRequest,
    /// A value that is not allowed; `field` names it.
    Invalid,
    /// No credentials, or ones that are not good (any more).
    NotAuthenticated,
    /// User name or password is wrong.
    WrongCredentials,
    /// This refresh token was used before: all tokens of its log-in are revoked.
    TokenReused,
    /// A cookie without the CSRF token that goes with it, or from a page of somebody else's.
    Csrf,
    /// The account is known, and may not.
    NotAllowed,
    /// There is nothing of this id for this account.
    NotFound,
    /// The path is there, the method is not.
    MethodNotAllowed,
    /// It stands against something that is there.
    Conflict,
    /// Not possible in the state in which it is.
    WrongState,
    /// A request with the same idempotency key is still under way.
    InProgress,
    /// Somebody else changed it since `If-Match`.
    Stale,
    /// The body is too large.
    TooLarge,
    /// The body is not `application/json`.
    UnsupportedMediaType,
    /// The idempotency key was used for another request.
    IdempotencyMismatch,
    /// The range is outside of the file.
    BadRange,
    /// Too many requests; come back after `Retry-After`.
    TooManyRequests,
    /// Too many wrong passwords for this user; come back after `Retry-After`.
    LockedOut,
    /// The tenant's quota is used up.
    QuotaExceeded,
    /// Asterisk refused; `detail` has its words.
    PbxRefused,
    /// Asterisk is not connected, or did not answer.
    PbxAway,
    /// The database is away or busy; come back after `Retry-After`.
    DatabaseAway,
    /// The answer took too long.
    Timeout,
    /// What it takes is not set up here.
    NotAvailable,
    /// A defect of the gateway; its log has more.
    Defect,
}

impl Code {
    fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Invalid | Self::IdempotencyMismatch => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotAuthenticated | Self::WrongCredentials | Self::TokenReused => StatusCode::UNAUTHORIZED,
            Self::Csrf | Self::NotAllowed => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict | Self::WrongState | Self::InProgress | Self::PbxRefused => StatusCode::CONFLICT,
            Self::Stale => StatusCode::PRECONDITION_FAILED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BadRange => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::TooManyRequests | Self::LockedOut | Self::QuotaExceeded => StatusCode::TOO_MANY_REQUESTS,
            Self::PbxAway | Self::DatabaseAway | Self::Timeout | Self::NotAvailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Defect => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::BadRequest => "the request cannot be read",
            Self::Invalid => "a value is not allowed",
            Self::NotAuthenticated => "credentials are needed",
            Self::WrongCredentials => "user name or password is wrong",
            Self::TokenReused => "a refresh token was used twice",
            Self::Csrf => "the request does not come from our own page",
            Self::NotAllowed => "this account may not",
            Self::NotFound => "there is no such thing",
            Self::MethodNotAllowed => "not with this method",
            Self::Conflict => "it stands against something that is there",
            Self::WrongState => "not possible in this state",
            Self::InProgress => "the same request is still under way",
            Self::Stale => "it was changed meanwhile",
            Self::TooLarge => "the body is too large",
            Self::UnsupportedMediaType => "the body is not JSON",
            Self::IdempotencyMismatch => "the idempotency key belongs to another request",
            Self::BadRange => "the range is outside of the file",
            Self::TooManyRequests => "too many requests",
            Self::LockedOut => "too many wrong passwords",
            Self::QuotaExceeded => "the quota is used up",
            Self::PbxRefused => "the PBX refused",
            Self::PbxAway => "the PBX is away",
            Self::DatabaseAway => "the database is away",
            Self::Timeout => "the answer took too long",
            Self::NotAvailable => "this is not set up here",
            Self::Defect => "a defect of the gateway",
        }
    }
}

/// The body of every refusal (RFC 9457).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// `urn:aimg:problem:` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// The code in words; the same for all problems of one code.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What kind of refusal it is.
    code: Code,
    /// What is wrong here, and what to do about it.
    detail: String,
    /// The field or parameter at fault, dotted where it lies deeper.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(skip)]
    retry_after: Option<Duration>,
}

impl Problem {
    /// A refusal with one sentence that names the thing and the cure.
    pub(crate) fn new(code: Code, detail: impl ToString) -> Self {
        Self {
            kind: format!("urn:aimg:problem:{}", serde_json::json!(code).as_str().unwrap_or_default()),
            title: code.title(),
            status: code.status().as_u16(),
            code,
            detail: detail.to_string(),
            field: None,
            retry_after: None,
        }
    }

    /// A value that is not allowed.
    pub(crate) fn invalid(field: impl ToString, detail: impl ToString) -> Self {
        Self::new(Code::Invalid, detail).at(field)
    }

    /// There is no `what` with this id for whoever asks.
    pub(crate) fn not_found(what: &str, id: impl ToString) -> Self {
        Self::new(Code::NotFound, format!("there is no {what} `{}`", id.to_string()))
    }

    /// Names the field at fault.
    pub(crate) fn at(self, field: impl ToString) -> Self {
        Self { field: Some(field.to_string()), ..self }
    }

    /// Tells when to come back.
    pub(crate) fn retry_after(self, after: Duration) -> Self {
        Self { retry_after: Some(after), ..self }
    }

    /// Code, detail and field: for who is no HTTP client.
    pub(crate) fn into_parts(self) -> (Code, String, Option<String>) {
        (self.code, self.detail, self.field)
    }

    /// Its code.
    pub(crate) fn code(&self) -> Code {
        self.code
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (self.code.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.code.status() == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(after) = self.retry_after {
            // Whole seconds, and never too early.
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_millis().div_ceil(1_000).max(1) as u64));
        }
        response
    }
}

impl From<aimg_store::Error> for Problem {
    fn from(e: aimg_store::Error) -> Self {
        use aimg_store::Error as E;
        let code = match &e {
            E::NotFound { .. } => Code::NotFound,
            E::Conflict { .. } | E::TooMany { .. } | E::InUse { .. } | E::LastSuperAdmin { .. } => Code::Conflict,
            E::RuleTaken { .. } | E::TooManyRules(_) => Code::Conflict,
            E::NotShared { .. } => Code::WrongState,
            E::Stale { .. } => Code::Stale,
            E::StillGoingOn { .. } => Code::WrongState,
            E::BadUserName(_) | E::BadName(_) => return Self::invalid("name", e),
            E::RoleAndTenant => return Self::invalid("role", e),
            E::BadSetting(_) => return Self::invalid("value", e),
            E::OperatorOnly { .. } => Code::NotAllowed,
            E::Busy | E::Away { .. } => return Self::new(Code::DatabaseAway, e).retry_after(DATABASE_RETRY),
            _ => {
                tracing::error!(error = %e, "the store failed under a request");
                return Self::new(Code::Defect, "the database failed; the gateway's log says how");
            }
        };
        Self::new(code, e)
    }
}

impl From<aimg_recording::Error> for Problem {
    fn from(e: aimg_recording::Error) -> Self {
        tracing::error!(error = %e, "a recording's file failed under a request");
        Self::new(Code::Defect, "the recording's file cannot be used; the gateway's log says why")
    }
}

impl From<aimg_accounts::Error> for Problem {
    fn from(e: aimg_accounts::Error) -> Self {
        use aimg_accounts::Error as E;
        match e {
            E::WrongCredentials => Self::new(Code::WrongCredentials, e),
            E::LockedOut { until } => Self::new(Code::LockedOut, e).retry_after(until.since(crate::clock::now())),
            E::NotValid => Self::new(Code::NotAuthenticated, e),
            E::Reused => Self::new(Code::TokenReused, e),
            E::NotAllowed(_) => Self::new(Code::NotAllowed, e),
            E::WeakPassword(_) => Self::invalid("password", e),
            E::Store(e) => e.into(),
            e => {
                tracing::error!(error = %e, "accounts failed under a request");
                Self::new(Code::Defect, "the gateway's log says more")
            }
        }
    }
}

/// The gateway's answer to a path that it does not have.
pub(crate) async fn no_such_path(uri: axum::http::Uri) -> Problem {
    Problem::new(Code::NotFound, format!("there is nothing at {}; the API is described at /api/docs", uri.path()))
}

/// The gateway's answer to a method that a path does not have.
pub(crate) async fn no_such_method(method: axum::http::Method, uri: axum::http::Uri) -> Problem {
    Problem::new(Code::MethodNotAllowed, format!("{method} is not possible at {}", uri.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_its_code_and_field_and_when_to_come_back() {
        let problem = Problem::invalid("name", "`A` is not a name").retry_after(Duration::from_millis(1_200));
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(json["type"], "urn:aimg:problem:invalid");
        assert_eq!((json["status"].as_u64(), json["field"].as_str()), (Some(422), Some("name")));
        let response = problem.into_response();
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
    }

    #[test]
    fn what_is_locked_says_for_how_long() {
        let until = crate::clock::now() + Duration::from_secs(30);
        let response = Problem::from(aimg_accounts::Error::LockedOut { until }).into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        let seconds: u64 = response.headers()[RETRY_AFTER].to_str().unwrap().parse().unwrap();
        assert!((29..=30).contains(&seconds), "{seconds}");
    }
}
