//! `/setup`: the page behind the one-time link, on which the first user is made.

use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use axum::response::{Html, IntoResponse};

const PAGE: &str = include_str!("setup_page.html");

pub(crate) async fn setup_page() -> impl IntoResponse {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
        form-action 'none'; frame-ancestors 'none'";
    // The link holds a secret behind its `#`, which no server and no log sees.
    let headers = [(CONTENT_SECURITY_POLICY, policy), (REFERRER_POLICY, "no-referrer"), (CACHE_CONTROL, "no-store")];
    (headers, Html(PAGE))
}
