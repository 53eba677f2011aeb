//! Who asks: what a request shows, and who that is.

use std::net::{IpAddr, SocketAddr};

use aimg_accounts::Principal;
use aimg_core::{Permission, Role, TenantId, TenantScope};
use aimg_store::NewAuditEntry;
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use cookie::Cookie;
use secrecy::SecretString;

use crate::access::bearer;
use crate::clock::now;
use crate::problem::{Code, Problem};
use crate::server::Desk;

/// The cookie with a browser's access token.
pub(crate) const SESSION_COOKIE: &str = "aimg_session";
/// The header with an API key, for those who cannot set `Authorization`.
pub(crate) const KEY_HEADER: &str = "x-api-key";
/// The header that goes with the session cookie when a request changes something.
pub(crate) const CSRF_HEADER: &str = "x-csrf-token";
/// Addresses that proxies say a request came by; more than these are not looked at.
const FORWARDED_MAX: usize = 16;

/// Whoever makes a request. A handler takes it as an argument; `guard` has put it there.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Who it is.
    pub(crate) principal: Principal,
    /// Where it is.
    pub(crate) address: IpAddr,
}

impl Caller {
    /// The rows in its reach.
    pub(crate) fn scope(&self) -> TenantScope {
        self.principal.scope()
    }

    /// An audit entry of what it did to `target`, in the rows of its own tenant.
    pub(crate) fn did(&self, action: &str, target: impl ToString) -> NewAuditEntry {
        NewAuditEntry {
            tenant: self.principal.tenant,
            actor: self.principal.name.clone(),
            address: Some(self.address.to_string()),
            action: action.to_owned(),
            target: target.to_string(),
            outcome: "done".to_owned(),
            detail: serde_json::Value::Null,
        }
    }
}

impl Caller {
    /// An audit entry of what it did to `target` in the rows of `tenant`, or of the installation.
    pub(crate) fn did_in(
        &self,
        tenant: Option<TenantId>,
        action: &str,
        target: impl ToString,
        detail: serde_json::Value,
    ) -> NewAuditEntry {
        NewAuditEntry { tenant, detail, ..self.did(action, target) }
    }

    /// Fails unless it may do all that a role may: nobody lifts anybody above themselves.
    pub(crate) fn require_all_of(&self, role: Role) -> Result<(), Problem> {
        let above = Permission::ALL.into_iter().any(|p| role.may(p) && !self.principal.may(p));
        if !above {
            return Ok(());
        }
        let why = format!("a {role} may do more than this account may, which can neither make nor change one");
        Err(Problem::new(Code::NotAllowed, why))
    }
}

impl FromRequestParts<Desk> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Desk) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            tracing::error!(path = parts.uri.path(), "an operation without a guard asks who called");
            Problem::new(Code::Defect, "this operation has no guard")
        })
    }
}

/// Finds out who makes a request: by `Authorization`, by `X-API-Key`, or by the session cookie.
pub(crate) async fn authenticate(desk: &Desk, method: &Method, headers: &HeaderMap) -> Result<Principal, Problem> {
    let shown = headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(bearer);
    let shown = shown.or_else(|| headers.get(KEY_HEADER).and_then(|v| v.to_str().ok()));
    if let Some(shown) = shown {
        return Ok(desk.accounts.authenticate(&SecretString::from(shown), now()).await?);
    }
    let Some(token) = cookie(headers, SESSION_COOKIE) else {
        let how = "send `Authorization: Bearer <access token or API key>`; POST /api/v1/auth/login gives a token";
        return Err(Problem::new(Code::NotAuthenticated, how));
    };
    let changes = !method.is_safe();
    let csrf = headers.get(CSRF_HEADER).and_then(|v| v.to_str().ok());
    if changes {
        check_origin(headers)?;
        if csrf.is_none() {
            return Err(Problem::new(Code::Csrf, "send the log-in's `csrf_token` as `X-CSRF-Token`"));
        }
    }
    Ok(desk.accounts.authenticate_cookie(&token.into(), csrf, changes, now()).await?)
}

/// Refuses what a page of somebody else's makes a browser send. Programs that are no browsers send no origin.
pub(crate) fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let own = headers.get(HOST).and_then(|h| h.to_str().ok());
    let origin = origin.to_str().ok().and_then(|o| o.split_once("://")).map(|(_, host)| host);
    if origin.is_some() && origin == own {
        return Ok(());
    }
    Err(Problem::new(Code::Csrf, "the page is of another origin than this service"))
}

/// The value of a cookie.
pub(crate) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let sent = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut cookies = sent.flat_map(Cookie::split_parse).flatten();
    cookies.find(|cookie| cookie.name() == name).map(|cookie| cookie.value().to_owned())
}

/// Where a client is: its connection's address, or what trusted proxies say of it.
pub(crate) fn address(desk: &Desk, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
    let mut address = peer.ip().to_canonical();
    let forwarded = headers.get_all("x-forwarded-for").iter().filter_map(|v| v.to_str().ok());
    let hops: Vec<&str> = forwarded.flat_map(|v| v.split(',')).map(str::trim).collect();
    for hop in hops.into_iter().rev().take(FORWARDED_MAX) {
        if !desk.config.trusted_proxies.contains(&address) {
            break;
        }
        let Ok(named) = hop.parse::<IpAddr>() else { break };
        address = named.to_canonical();
    }
    address
}

/// The address of a connection, which the server puts into every request.
pub(crate) fn peer(parts: &axum::http::Extensions) -> SocketAddr {
    parts.get::<ConnectInfo<SocketAddr>>().map_or_else(|| ([0, 0, 0, 0], 0).into(), |ConnectInfo(peer)| *peer)
}
