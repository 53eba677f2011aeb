//! `/api/v1/auth`: log in, go on, log out; the first user of an installation.

use aimg_accounts::{LoggedIn, Who};
use aimg_core::{Permission, Role, TenantScope};
use aimg_store::NewAuditEntry;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Response};
use cookie::{Cookie, SameSite};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::body::Json;
use crate::caller::{self, CSRF_HEADER, Caller, SESSION_COOKIE};
use crate::clock::now;
use crate::guard::{account, public};
use crate::limits::ClientAddress;
use crate::problem::{Code, Problem};
use crate::schema::{PermissionSchema, RoleSchema, Time};
use crate::server::Desk;
use crate::users::User;

const TAG: &str = "auth";
/// The cookie with a browser's refresh token; it goes to log-in paths only.
const REFRESH_COOKIE: &str = "aimg_refresh";
const REFRESH_PATH: &str = "/api/v1/auth";
/// The cookie from which a page reads the CSRF token; also what a refresh is checked with.
const CSRF_COOKIE: &str = "aimg_csrf";

pub(crate) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new()
        .routes(public(routes!(log_in)))
        .routes(public(routes!(refresh)))
        .routes(public(routes!(log_out)))
        .routes(public(routes!(set_up)))
        .routes(account(routes!(me)))
        .routes(account(routes!(change_password)))
}

/// A user's name and password.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LogIn {
    /// The user's name.
    #[schema(max_length = 150)]
    name: String,
    /// The password.
    #[schema(value_type = String, format = Password)]
    password: SecretString,
    /// Whether the tokens come as cookies, which no script can read: for browsers.
    #[serde(default)]
    cookie: bool,
}

/// What a log-in gives.
#[derive(Debug, Serialize, ToSchema)]
struct Tokens {
    /// To be sent as `Authorization: Bearer …`; absent where it came as a cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<String>,
    /// Always `Bearer`.
    token_type: &'static str,
    /// Until when the access token is good.
    access_expires_at: Time,
    /// For the next pair of tokens, once; absent where it came as a cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    /// Until when the refresh token is good.
    refresh_expires_at: Time,
    /// What a browser sends as `X-CSRF-Token` with each request that changes something.
    csrf_token: String,
    /// Who logged in.
    user: User,
}

/// A refresh token; nothing where it is in the cookie.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Refresh {
    /// The refresh token of the last log-in or refresh.
    #[schema(value_type = Option<String>, format = Password)]
    refresh_token: Option<SecretString>,
}

/// The first user of an installation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SetUp {
    /// What the one-time link holds.
    #[schema(value_type = String, format = Password)]
    token: SecretString,
    /// The user's name.
    #[schema(max_length = 150)]
    name: String,
    /// Its password.
    #[schema(value_type = String, format = Password, min_length = 10)]
    password: SecretString,
}

/// Another password for oneself.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordChange {
    /// The password as it is.
    #[schema(value_type = String, format = Password)]
    old_password: SecretString,
    /// The password as it is to be.
    #[schema(value_type = String, format = Password, min_length = 10)]
    new_password: SecretString,
}

/// Who asks, and what that one may.
#[derive(Debug, Serialize, ToSchema)]
struct Me {
    /// The user's name, or the key's prefix.
    name: String,
    /// The user's id; absent for an API key.
    user: Option<Uuid>,
    /// The tenant; absent for an account of the installation.
    tenant: Option<Uuid>,
    /// The role.
    #[schema(value_type = RoleSchema)]
    role: Role,
    /// All that it may do.
    #[schema(value_type = Vec<PermissionSchema>)]
    permissions: Vec<Permission>,
}

/// Log in
///
/// With user name and password. After five wrong passwords nobody looks at another one for a while, which grows.
#[utoipa::path(post, path = "/auth/login", tag = TAG, request_body = LogIn, responses(
    (status = 200, description = "Tokens", body = Tokens),
    (status = 401, description = "User name or password is wrong", body = Problem, content_type = "application/problem+json"),
))]
async fn log_in(
    State(desk): State<Desk>,
    ClientAddress(address): ClientAddress,
    headers: HeaderMap,
    Json(LogIn { name, password, cookie }): Json<LogIn>,
) -> Result<Response, Problem> {
    if cookie {
        caller::check_origin(&headers)?;
    }
    let outcome = desk.accounts.log_in(&name, password, now()).await;
    let done = match &outcome {
        Ok(_) => "done",
        Err(aimg_accounts::Error::LockedOut { .. }) => "locked_out",
        Err(aimg_accounts::Error::WrongCredentials) => "wrong_credentials",
        Err(_) => "failed",
    };
    let tenant = outcome.as_ref().ok().and_then(|logged_in| logged_in.user.tenant);
    // A name that somebody typed may be a password: it is not kept unless it is a user's.
    let actor = outcome.as_ref().map_or_else(|_| "?".to_owned(), |logged_in| logged_in.user.name.clone());
    let entry = NewAuditEntry {
        tenant,
        target: actor.clone(),
        actor,
        address: Some(address.to_string()),
        action: "auth.log_in".to_owned(),
        outcome: done.to_owned(),
        detail: serde_json::Value::Null,
    };
    desk.store.audit(entry).await?;
    Ok(answer(&desk, outcome?, cookie))
}

/// Go on
///
/// Takes a refresh token for the next pair of tokens. One that was used before tells of a thief: all tokens of its log-in
/// are revoked then.
#[utoipa::path(post, path = "/auth/refresh", tag = TAG, request_body = Refresh, responses(
    (status = 200, description = "Tokens", body = Tokens),
    (status = 401, description = "The token is not good, or was used before", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "The cookie came without its CSRF token", body = Problem, content_type = "application/problem+json"),
))]
async fn refresh(
    State(desk): State<Desk>,
    headers: HeaderMap,
    Json(Refresh { refresh_token }): Json<Refresh>,
) -> Result<Response, Problem> {
    let (token, cookie) = shown(refresh_token, &headers)?;
    Ok(answer(&desk, desk.accounts.refresh(&token, now()).await?, cookie))
}

/// Log out
///
/// The refresh token, and all that came before or may come after it, are worthless from here on. The access token ends by
/// itself within the hour.
#[utoipa::path(post, path = "/auth/logout", tag = TAG, request_body = Refresh, responses(
    (status = 204, description = "Logged out"),
    (status = 401, description = "No refresh token", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "The cookie came without its CSRF token", body = Problem, content_type = "application/problem+json"),
))]
async fn log_out(
    State(desk): State<Desk>,
    headers: HeaderMap,
    Json(Refresh { refresh_token }): Json<Refresh>,
) -> Result<Response, Problem> {
    let (token, cookie) = shown(refresh_token, &headers)?;
    desk.accounts.log_out(&token).await?;
    if !cookie {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let gone = [(SESSION_COOKIE, "/"), (REFRESH_COOKIE, REFRESH_PATH), (CSRF_COOKIE, "/")]
        .map(|(name, path)| Cookie::build((name, "")).path(path).max_age(cookie::time::Duration::ZERO).build());
    Ok((StatusCode::NO_CONTENT, set_cookies(gone)).into_response())
}

/// Make the first user
///
/// With the one-time link that the gateway prints while there is no user. The user is a super admin.
#[utoipa::path(post, path = "/auth/setup", tag = TAG, request_body = SetUp, responses(
    (status = 201, description = "The user", body = User),
    (status = 401, description = "The link is not this gateway's, or there is a user already", body = Problem, content_type = "application/problem+json"),
))]
async fn set_up(
    State(desk): State<Desk>,
    ClientAddress(address): ClientAddress,
    Json(SetUp { token, name, password }): Json<SetUp>,
) -> Result<Response, Problem> {
    let user = desk.accounts.set_up(&token, &name, password).await?;
    let entry = NewAuditEntry {
        tenant: None,
        actor: user.name.clone(),
        address: Some(address.to_string()),
        action: "auth.set_up".to_owned(),
        target: user.id.to_string(),
        outcome: "done".to_owned(),
        detail: serde_json::Value::Null,
    };
    desk.store.audit(entry).await?;
    Ok((StatusCode::CREATED, Json(User::from(user))).into_response())
}

/// Who am I
///
/// The account of the credentials that were sent, and what it may do.
#[utoipa::path(get, path = "/auth/me", tag = TAG, responses((status = 200, description = "The account", body = Me)))]
async fn me(caller: Caller) -> Json<Me> {
    let principal = &caller.principal;
    Json(Me {
        name: principal.name.clone(),
        user: match principal.who {
            Who::User(id) => Some(id.as_uuid()),
            Who::Key(_) | Who::CommandLine => None,
        },
        tenant: principal.tenant.map(|tenant| tenant.as_uuid()),
        role: principal.role,
        permissions: principal.permissions(),
    })
}

/// Change one's own password
///
/// All log-ins of the user end, this one too.
#[utoipa::path(post, path = "/auth/password", tag = TAG, request_body = PasswordChange, responses(
    (status = 204, description = "Changed"),
))]
async fn change_password(
    State(desk): State<Desk>,
    caller: Caller,
    Json(PasswordChange { old_password, new_password }): Json<PasswordChange>,
) -> Result<StatusCode, Problem> {
    let Who::User(id) = caller.principal.who else {
        return Err(Problem::new(Code::NotAllowed, "an API key has no password"));
    };
    desk.accounts.log_in(&caller.principal.name, old_password, now()).await?;
    desk.accounts.set_password(TenantScope::Operator, id, new_password).await.map_err(|e| match Problem::from(e) {
        weak if weak.code() == Code::Invalid => weak.at("new_password"),
        other => other,
    })?;
    desk.store.audit(caller.did("user.password", id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The refresh token that came in the body, or as a cookie with its CSRF token; and whether it was a cookie.
fn shown(in_body: Option<SecretString>, headers: &HeaderMap) -> Result<(SecretString, bool), Problem> {
    if let Some(token) = in_body {
        return Ok((token, false));
    }
    let none = || Problem::new(Code::NotAuthenticated, "send the refresh token").at("refresh_token");
    let token = caller::cookie(headers, REFRESH_COOKIE).ok_or_else(none)?;
    caller::check_origin(headers)?;
    let csrf = headers.get(CSRF_HEADER).and_then(|v| v.to_str().ok()).map(str::to_owned);
    // What is compared came from the same browser: a page of somebody else's can neither read the cookie nor set the header.
    if csrf.is_none() || csrf != caller::cookie(headers, CSRF_COOKIE) {
        return Err(Problem::new(Code::Csrf, "send the log-in's `csrf_token` as `X-CSRF-Token`"));
    }
    Ok((token.into(), true))
}

fn answer(desk: &Desk, logged_in: LoggedIn, cookie: bool) -> Response {
    let LoggedIn { user, access, access_expires_at, refresh, refresh_expires_at, csrf } = logged_in;
    let shown = |secret: &SecretString| (!cookie).then(|| secret.expose_secret().to_owned());
    let tokens = Tokens {
        access_token: shown(&access),
        token_type: "Bearer",
        access_expires_at: access_expires_at.into(),
        refresh_token: shown(&refresh),
        refresh_expires_at: refresh_expires_at.into(),
        csrf_token: csrf.clone(),
        user: user.into(),
    };
    if !cookie {
        return Json(tokens).into_response();
    }
    let seconds = |until| i64::try_from(aimg_core::Timestamp::since(until, now()).as_secs()).unwrap_or(i64::MAX);
    let build = |name: &'static str, value: String, path: &'static str, until, hidden: bool| {
        Cookie::build((name, value))
            .path(path)
            .http_only(hidden)
            .secure(desk.config.secure_cookies)
            .same_site(SameSite::Strict)
            .max_age(cookie::time::Duration::seconds(seconds(until)))
            .build()
    };
    let cookies = [
        build(SESSION_COOKIE, access.expose_secret().to_owned(), "/", access_expires_at, true),
        build(REFRESH_COOKIE, refresh.expose_secret().to_owned(), REFRESH_PATH, refresh_expires_at, true),
        build(CSRF_COOKIE, csrf, "/", refresh_expires_at, false),
    ];
    (set_cookies(cookies), Json(tokens)).into_response()
}

fn set_cookies<const N: usize>(
    cookies: [Cookie<'static>; N],
) -> AppendHeaders<[(axum::http::HeaderName, HeaderValue); N]> {
    AppendHeaders(cookies.map(|cookie| {
        let value = HeaderValue::try_from(cookie.to_string()).expect("tokens are hexadecimal or base64url");
        (SET_COOKIE, value)
    }))
}
