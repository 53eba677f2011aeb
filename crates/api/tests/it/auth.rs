//! Log-ins, tokens, cookies, CSRF, brute force.

use std::num::NonZeroU32;

use aimg_core::{Role, TenantScope};
use reqwest::header::{COOKIE, ORIGIN, RETRY_AFTER, SET_COOKIE};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::fixture::{PASSWORD, Service, read};

const ME: &str = "/api/v1/auth/me";
const REFRESH: &str = "/api/v1/auth/refresh";

#[tokio::test]
async fn a_log_in_tells_who_one_is_and_what_one_may() {
    let service = Service::start().await;
    let viewer = service.account(Role::Viewer, 0).await;
    let (status, me) = viewer.get(ME).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((me["role"].as_str(), me["name"].as_str()), (Some("viewer"), Some(viewer.name.as_str())));
    assert_eq!(me["tenant"], json!(service.tenants[0]));
    assert_eq!(me["permissions"], json!(["calls_monitor", "recordings_listen", "analytics_read"]));
    let (status, problem) = read(service.ask(Method::GET, ME).send().await.unwrap()).await;
    assert_eq!((status, problem["code"].as_str()), (StatusCode::UNAUTHORIZED, Some("not_authenticated")));
    service.end().await;
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_its_second_use_ends_the_log_in() {
    let service = Service::start().await;
    let viewer = service.account(Role::Viewer, 0).await;
    let refresh = |token: Value| {
        let request = service.ask(Method::POST, REFRESH).json(&json!({ "refresh_token": token }));
        async { read(request.send().await.unwrap()).await }
    };
    let first = viewer.tokens["refresh_token"].clone();
    let (status, second) = refresh(first.clone()).await;
    assert_eq!(status, StatusCode::OK);
    let (status, problem) = refresh(first).await;
    assert_eq!((status, problem["code"].as_str()), (StatusCode::UNAUTHORIZED, Some("token_reused")));
    let (status, _) = refresh(second["refresh_token"].clone()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "the thief's successor, or the owner's, is worthless too");
}

#[tokio::test]
async fn a_log_out_ends_the_refresh_token() {
    let service = Service::start().await;
    let viewer = service.account(Role::Viewer, 0).await;
    let body = json!({ "refresh_token": viewer.tokens["refresh_token"] });
    for (path, expected) in [("/api/v1/auth/logout", StatusCode::NO_CONTENT), (REFRESH, StatusCode::UNAUTHORIZED)] {
        let answer = service.ask(Method::POST, path).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), expected, "{path}");
    }
}

fn cookies(answer: &Response) -> Vec<String> {
    answer.headers().get_all(SET_COOKIE).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_browsers_cookies_need_the_csrf_token_and_our_own_page() {
    let service = Service::start().await;
    let viewer = service.account(Role::Viewer, 0).await;
    let body = json!({ "name": viewer.name, "password": PASSWORD, "cookie": true });
    let answer = service.ask(Method::POST, "/api/v1/auth/login").json(&body).send().await.unwrap();
    let set = cookies(&answer);
    for (name, flags) in [
        ("aimg_session=", "; HttpOnly; SameSite=Strict; Path=/;"),
        ("aimg_refresh=", "; HttpOnly; SameSite=Strict; Path=/api/v1/auth;"),
        ("aimg_csrf=", "; SameSite=Strict; Path=/;"),
    ] {
        assert!(set.iter().any(|c| c.starts_with(name) && c.contains(flags)), "{name} in {set:#?}");
    }
    let (_, tokens) = read(answer).await;
    assert!(tokens.get("access_token").is_none() && tokens.get("refresh_token").is_none(), "no script sees them");
    let csrf = tokens["csrf_token"].as_str().unwrap();
    let jar = set.iter().map(|c| c.split(';').next().unwrap()).collect::<Vec<_>>().join("; ");
    let own = service.url("");

    let change = |csrf: Option<&str>, origin: Option<&str>| {
        let body = json!({ "old_password": "wrong", "new_password": "another fine one" });
        let mut request = service.ask(Method::POST, "/api/v1/auth/password").header(COOKIE, &jar).json(&body);
        request = csrf.into_iter().fold(request, |r, csrf| r.header("x-csrf-token", csrf));
        request = origin.into_iter().fold(request, |r, origin| r.header(ORIGIN, origin));
        async { read(request.send().await.unwrap()).await.1["code"].as_str().unwrap().to_owned() }
    };
    assert_eq!(service.ask(Method::GET, ME).header(COOKIE, &jar).send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(change(None, None).await, "csrf");
    assert_eq!(change(Some("guessed"), None).await, "not_authenticated");
    assert_eq!(change(Some(csrf), Some("http://evil.test")).await, "csrf");
    // It got as far as the password.
    assert_eq!(change(Some(csrf), Some(&own)).await, "wrong_credentials");

    let refresh = service.ask(Method::POST, REFRESH).header(COOKIE, &jar).json(&json!({}));
    assert_eq!(refresh.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    let refresh = service.ask(Method::POST, REFRESH).header(COOKIE, &jar).header("x-csrf-token", csrf).json(&json!({}));
    let answer = refresh.send().await.unwrap();
    assert_eq!((answer.status(), cookies(&answer).len()), (StatusCode::OK, 3));
}

#[tokio::test]
async fn wrong_passwords_lock_the_user_and_tell_nothing_about_who_exists() {
    let service = Service::start().await;
    let viewer = service.account(Role::Viewer, 0).await;
    let (_, unknown) = read(service.log_in("nobody", "wrong password").await).await;
    for _ in 0..5 {
        let (status, problem) = read(service.log_in(&viewer.name, "wrong password").await).await;
        assert_eq!((status, &problem), (StatusCode::UNAUTHORIZED, &unknown));
    }
    let answer = service.log_in(&viewer.name, PASSWORD).await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS, "the right one is not looked at either");
    let seconds: u64 = answer.headers()[RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((25..=30).contains(&seconds), "{seconds}");
    assert_eq!(viewer.get(ME).await.0, StatusCode::OK, "who is in stays in");
}

#[tokio::test]
async fn an_address_and_an_account_have_limits() {
    let one = NonZeroU32::new(1).unwrap();
    let service = Service::with(|config| aimg_api::Config { account_requests_a_second: one, ..config }).await;
    let [viewer, neighbour] = [service.account(Role::Viewer, 0).await, service.account(Role::Viewer, 1).await];
    let mut refused = 0;
    for _ in 0..8 {
        refused += usize::from(viewer.get(ME).await.0 == StatusCode::TOO_MANY_REQUESTS);
    }
    assert!((3..=4).contains(&refused), "four at once are fine: {refused}");
    assert_eq!(neighbour.get(ME).await.0, StatusCode::OK, "another tenant's account is not hurt");
    let mut statuses = Vec::new();
    for _ in 0..65 {
        statuses.push(service.ask(Method::POST, REFRESH).json(&json!({})).send().await.unwrap().status());
    }
    assert_eq!(statuses[0], StatusCode::UNAUTHORIZED);
    assert_eq!(statuses.last(), Some(&StatusCode::TOO_MANY_REQUESTS), "strangers have fewer tries");
}

#[tokio::test]
async fn the_first_user_is_made_once_by_the_link() {
    let service = Service::start().await;
    let token = service.accounts.set_up_token().await.unwrap().expect("there is no user");
    let set_up = |token: &str, password: &str| {
        let body = json!({ "token": token, "name": "root", "password": password });
        let request = service.ask(Method::POST, "/api/v1/auth/setup").json(&body);
        async { read(request.send().await.unwrap()).await }
    };
    use secrecy::ExposeSecret;
    let token = token.expose_secret();
    assert_eq!(set_up("guessed", PASSWORD).await.0, StatusCode::UNAUTHORIZED);
    let (status, problem) = set_up(token, "short").await;
    assert_eq!((status, problem["field"].as_str()), (StatusCode::UNPROCESSABLE_ENTITY, Some("password")));
    let (status, user) = set_up(token, PASSWORD).await;
    assert_eq!((status, user["role"].as_str()), (StatusCode::CREATED, Some("super_admin")));
    assert_eq!(set_up(token, PASSWORD).await.0, StatusCode::UNAUTHORIZED, "it works once");
    assert!(service.accounts.set_up_token().await.unwrap().is_none());
    assert_eq!(service.log_in("root", PASSWORD).await.status(), StatusCode::OK);
    let page = service.ask(Method::GET, "/setup").send().await.unwrap();
    assert!(page.headers()["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    let log = service.store.audit_log(TenantScope::Operator, aimg_store::AuditFilter::default()).await.unwrap();
    assert!(log.iter().any(|entry| entry.action == "auth.set_up"), "{log:?}");
}

#[tokio::test]
async fn a_body_that_drips_ends_in_time() {
    use std::time::{Duration, Instant};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let limit = Duration::from_millis(400);
    let service = Service::with(|config| aimg_api::Config { request_timeout: limit, ..config }).await;
    let address = service.url("").trim_start_matches("http://").to_owned();
    let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "POST /api/v1/auth/login HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let drip = tokio::spawn(async move {
        while writer.write_all(b" ").await.is_ok() {
            tokio::time::sleep(limit / 8).await;
        }
    });
    let began = Instant::now();
    let mut answer = [0; 12];
    tokio::time::timeout(Duration::from_secs(20), reader.read_exact(&mut answer)).await.expect("in time").unwrap();
    assert_eq!(&answer, b"HTTP/1.1 503");
    assert!(began.elapsed() >= limit / 2, "{:?}", began.elapsed());
    drip.abort();
}
