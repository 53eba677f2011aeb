//! `/api/v1/ws`: what happens, live. What is said over it is in `message`, what can be subscribed to in `topic`, one
//! connection in `connection`; the AsyncAPI document is made of them in `asyncapi`.
//!
//! A client is let in by `Authorization`, by its session cookie, or by its first message; never by its address, which ends
//! up in logs. A browser says which page opens the connection (`Origin`): only our own may, and with a cookie one has to be
//! named.

pub(crate) mod asyncapi;
pub(crate) mod audio;
mod commands;
mod connection;
pub(crate) mod limits;
mod message;
mod topic;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{ConnectInfo, State};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, ORIGIN};
use axum::response::Response;

use self::connection::{Account, Credential};
use crate::access::bearer;
use crate::caller::{self, SESSION_COOKIE};
use crate::connections::count;
use crate::problem::{Code, Problem};
use crate::server::Desk;

/// What a connection reads at once. An idle one keeps it.
const READ_BUFFER_BYTES: usize = 4 << 10;
/// What is gathered before it is written. It grows only as much as is sent at once.
const WRITE_BUFFER_BYTES: usize = 32 << 10;
/// What a socket that takes nothing may hold up; its connection waits then.
const WRITE_BUFFER_BYTES_MAX: usize = 1 << 20;

/// Opens a WebSocket.
pub(crate) async fn open(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let address = caller::address(&desk, peer, &headers);
    let opened = async {
        let upgrade = upgrade.map_err(|e| Problem::new(Code::BadRequest, format!("this is for WebSockets: {e}")))?;
        desk.limits.address(address)?;
        caller::check_origin(&headers)?;
        let settings = &desk.config.websockets;
        let mut place = desk.sockets.enter(settings.sockets_max).ok_or_else(|| too_many("of this service"))?;
        let account = account(&desk, &headers).await?;
        if let Some(account) = &account {
            place.of(&account.principal, settings.account_sockets_max).map_err(|_| too_many("of this account"))?;
        }
        Ok((upgrade, account, place))
    };
    let (upgrade, account, place) = opened.await.inspect_err(|_: &Problem| count(&desk.sockets.refused))?;
    let message_bytes_max = desk.config.websockets.message_bytes_max;
    let upgrade = upgrade
        .max_message_size(message_bytes_max)
        .max_frame_size(message_bytes_max)
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX);
    let desk = Arc::new(desk);
    Ok(upgrade.on_upgrade(move |socket| connection::serve(desk, socket, account, address, place)))
}

fn too_many(whose: &str) -> Problem {
    Problem::new(Code::TooManyRequests, format!("there are too many connections {whose}; close some"))
}

/// Who asks, where the request shows it; otherwise the first message has to.
async fn account(desk: &Desk, headers: &HeaderMap) -> Result<Option<Account>, Problem> {
    let shown = headers.get(AUTHORIZATION).map(|value| value.to_str().ok().and_then(bearer).unwrap_or_default());
    let shown = shown.or_else(|| headers.get(caller::KEY_HEADER).map(|value| value.to_str().unwrap_or_default()));
    let credential = if let Some(shown) = shown {
        Credential::Shown(shown.into())
    } else if let Some(token) = caller::cookie(headers, SESSION_COOKIE) {
        // A browser always names the page; whoever does not is none, and has no business with cookies.
        if !headers.contains_key(ORIGIN) {
            return Err(Problem::new(Code::Csrf, "a session cookie is for pages of this service; use a token"));
        }
        Credential::Cookie(token.into())
    } else {
        return Ok(None);
    };
    let principal = credential.check(desk).await?;
    Ok(Some(Account { principal, credential }))
}
