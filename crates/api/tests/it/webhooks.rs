//! Webhooks over REST: made, tried, told, shown, told again, and nobody else's business.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aimg_core::{Role, TenantScope, Timestamp, WebhookEvent};
use aimg_store::{Announcement, AuditFilter};
use aimg_webhooks::Dispatcher;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode as Answer};
use axum::routing::any;
use reqwest::{Method, StatusCode};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::fixture::{Account, Service, courier};

const WEBHOOKS: &str = "/api/v1/webhooks";

/// What a receiver got: headers and body.
type Received = Arc<Mutex<Vec<(HeaderMap, String)>>>;

/// Somebody who is told things, on loopback, and answers with this status.
async fn receiver(status: u16) -> (String, Received) {
    let received = Received::default();
    let answer = move |State(received): State<Received>, headers: HeaderMap, body: String| async move {
        received.lock().unwrap().push((headers, body));
        (Answer::from_u16(status).unwrap(), "thanks")
    };
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let router = Router::new().fallback(any(answer)).with_state(received.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, received)
}

async fn make(admin: &Account<'_>, url: &str) -> (String, SecretString) {
    let body = json!({ "url": url, "events": ["call.ended", "pbx.down"], "description": "the CRM" });
    let (status, made) = admin.json(Method::POST, WEBHOOKS, Some(body)).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_"), "{made}");
    (format!("{WEBHOOKS}/{}", made["webhook"]["id"].as_str().unwrap()), secret.into())
}

fn announcement(service: &Service, of: usize, id: &str) -> Announcement {
    Announcement {
        tenant: service.tenants[of],
        event: WebhookEvent::PbxDown,
        id: id.to_owned(),
        at: Timestamp::from_micros(1),
        session: None,
        data: json!({ "pbx": "office" }),
    }
}

async fn actions(service: &Service, of: usize) -> Vec<String> {
    let log = service.store.audit_log(TenantScope::Tenant(service.tenants[of]), AuditFilter::default()).await.unwrap();
    let of_webhooks = log.into_iter().map(|entry| entry.action).filter(|action| action.starts_with("webhook."));
    let mut actions: Vec<String> = of_webhooks.collect();
    actions.reverse();
    actions
}

#[tokio::test]
async fn webhooks_are_made_changed_tried_and_removed() {
    let service = Service::start().await;
    let admin = service.account(Role::TenantAdmin, 0).await;
    let (url, received) = receiver(202).await;
    let (path, secret) = make(&admin, &url).await;
    let shown = admin.ask(Method::GET, &path).send().await.unwrap();
    assert_eq!(shown.headers()["etag"], "\"1\"");
    let shown: Value = shown.json().await.unwrap();
    assert_eq!((&shown["events"], shown["enabled"].as_bool()), (&json!(["call.ended", "pbx.down"]), Some(true)));
    assert!(!shown.to_string().contains("whsec_"), "the secret is shown once: {shown}");

    let (status, tried) = admin.json(Method::POST, &format!("{path}/test"), None).await;
    assert_eq!(
        (status, &tried["delivered"], &tried["status"], &tried["body"]),
        (StatusCode::OK, &json!(true), &json!(202), &json!("thanks"))
    );
    let (headers, body) = received.lock().unwrap()[0].clone();
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["type"], "ping");
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let at = Timestamp::from_micros(header("webhook-timestamp").parse::<i64>().unwrap() * 1_000_000);
    let signed =
        |secret: &SecretString| aimg_webhooks::sign(std::slice::from_ref(secret), &header("webhook-id"), at, &body);
    assert_eq!(signed(&secret).unwrap(), header("webhook-signature"));

    let patch = |version: &'static str, body: Value| {
        admin.ask(Method::PATCH, &path).header("if-match", version).json(&body).send()
    };
    let changed = patch("\"1\"", json!({ "events": ["call.ended", "call.ended"], "enabled": false })).await.unwrap();
    assert_eq!((changed.status(), changed.headers()["etag"].to_str().unwrap()), (StatusCode::OK, "\"2\""));
    assert_eq!(changed.json::<Value>().await.unwrap()["events"], json!(["call.ended"]));
    assert_eq!(patch("\"1\"", json!({ "enabled": true })).await.unwrap().status(), StatusCode::PRECONDITION_FAILED);
    let (status, rotated) = admin.json(Method::POST, &format!("{path}/rotate-secret"), None).await;
    assert_eq!(status, StatusCode::OK);
    assert!(
        rotated["secret"].as_str().unwrap().starts_with("whsec_") && rotated["webhook"]["old_secret_until"].is_string()
    );
    admin.json(Method::POST, &format!("{path}/test"), None).await;
    let both = received.lock().unwrap()[1].0["webhook-signature"].to_str().unwrap().to_owned();
    assert_eq!(both.split(' ').count(), 2, "{both}");

    assert_eq!(admin.json(Method::DELETE, &path, None).await.0, StatusCode::NO_CONTENT);
    assert_eq!(admin.json(Method::GET, &path, None).await.0, StatusCode::NOT_FOUND);
    let expected = ["add", "test", "change", "rotate_secret", "test", "remove"].map(|what| format!("webhook.{what}"));
    assert_eq!(actions(&service, 0).await, expected);
    service.end().await;
}

#[tokio::test]
async fn what_is_not_allowed_names_its_field() {
    let service = Service::start().await;
    let (admin, root) = (service.account(Role::TenantAdmin, 0).await, service.account(Role::SuperAdmin, 0).await);
    let request = |url: &str, events: Value| json!({ "url": url, "events": events });
    let good = json!(["call.ended"]);
    for (body, field) in [
        (request("https://10.0.0.1/", good.clone()), "url"),
        (request("https://[::1]/", good.clone()), "url"),
        (request("ftp://example.org/", good.clone()), "url"),
        (request("https://ada:pw@example.org/", good.clone()), "url"),
        (request("hook", good.clone()), "url"),
        (request("https://example.org/", json!([])), "events"),
        (request("https://example.org/", json!(["ping"])), "events"),
        (request("https://example.org/", json!(["call.lost"])), "events[0]"),
        (json!({ "url": "https://example.org/", "events": good, "description": "x".repeat(501) }), "description"),
        (json!({ "url": "https://example.org/", "events": good, "secret": "mine" }), "secret"),
    ] {
        let (status, problem) = admin.json(Method::POST, WEBHOOKS, Some(body)).await;
        assert_eq!((status, problem["field"].as_str()), (StatusCode::UNPROCESSABLE_ENTITY, Some(field)), "{problem}");
    }
    let unnamed = root.json(Method::POST, WEBHOOKS, Some(request("https://example.org/", good.clone()))).await;
    assert_eq!((unnamed.0, unnamed.1["field"].as_str()), (StatusCode::UNPROCESSABLE_ENTITY, Some("tenant")));
    for wrong in ["limit=0", "limit=1001", "after=x", "what=1"] {
        let (status, problem) = admin.json(Method::GET, &format!("{WEBHOOKS}?{wrong}"), None).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}: {problem}");
    }
    for _ in 0..20 {
        make(&admin, "https://example.org/").await;
    }
    let one_more = admin.json(Method::POST, WEBHOOKS, Some(request("https://example.org/", good))).await;
    assert_eq!((one_more.0, one_more.1["code"].as_str()), (StatusCode::CONFLICT, Some("conflict")));
    let (_, page) = admin.json(Method::GET, &format!("{WEBHOOKS}?limit=15"), None).await;
    let next = page["next"].as_str().unwrap();
    let (_, rest) = admin.json(Method::GET, &format!("{WEBHOOKS}?limit=15&after={next}"), None).await;
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["next"]), (5, &Value::Null));
    service.end().await;
}

#[tokio::test]
async fn deliveries_are_shown_and_told_again() {
    let service = Service::start().await;
    let admin = service.account(Role::TenantAdmin, 0).await;
    let (url, received) = receiver(204).await;
    let (path, _) = make(&admin, &url).await;
    let _dispatcher = Dispatcher::start(aimg_webhooks::Config::default(), service.store.clone(), courier());
    for id in ["one", "two"] {
        service.store.announce(TenantScope::Operator, &announcement(&service, 0, id)).await.unwrap();
    }
    let list = async |query: &str| -> Vec<Value> {
        let (status, page) = admin.json(Method::GET, &format!("{path}/deliveries{query}"), None).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        page["items"].as_array().unwrap().clone()
    };
    let delivered = async |count: usize| {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            let found = list("?state=delivered").await;
            if found.len() == 2 && received.lock().unwrap().len() == count {
                return found;
            }
            assert!(tokio::time::Instant::now() < deadline, "{found:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let [two, one] = &delivered(2).await[..] else { panic!("two") };
    assert_eq!((&one["event_id"], &two["event_id"], &one["last_status"]), (&json!("one"), &json!("two"), &json!(204)));
    assert_eq!(one["body"], Value::Null, "lists are without the messages");
    assert_eq!(list("?event=call.ended").await, [] as [Value; 0]);
    assert_eq!(list("?state=gave_up").await, [] as [Value; 0]);
    assert_eq!(list("?limit=1").await[0]["event_id"], "two");

    let one = format!("{path}/deliveries/{}", one["id"].as_str().unwrap());
    let (_, shown) = admin.json(Method::GET, &one, None).await;
    assert_eq!(shown["body"]["data"], json!({ "pbx": "office" }));
    let (status, again) = admin.json(Method::POST, &format!("{one}/replay"), None).await;
    assert_eq!((status, &again["state"], &again["attempts"]), (StatusCode::OK, &json!("pending"), &json!(0)));
    delivered(3).await;
    let replay_path = format!("{path}/replay");
    let replay = |body: Value| admin.json(Method::POST, &replay_path, Some(body));
    let (_, nothing) = replay(json!({ "since": "2020-01-01T00:00:00Z" })).await;
    assert_eq!(nothing["replayed"], 0, "nothing was given up");
    let (_, all) = replay(json!({ "since": "2020-01-01T00:00:00Z", "delivered": true })).await;
    assert_eq!(all["replayed"], 2);
    delivered(5).await;
    let ids: Vec<String> = received
        .lock()
        .unwrap()
        .iter()
        .map(|(headers, _)| headers["webhook-id"].to_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids.iter().filter(|id| *id == "one").count(), 3, "{ids:?}");
    assert_eq!(actions(&service, 0).await, ["webhook.add", "webhook.replay", "webhook.replay", "webhook.replay"]);
    service.end().await;
}

#[tokio::test]
async fn webhooks_are_nobody_elses_and_no_operators_business() {
    let service = Service::start().await;
    let admin = service.account(Role::TenantAdmin, 0).await;
    let (path, _) = make(&admin, "https://example.org/").await;
    service.store.announce(TenantScope::Operator, &announcement(&service, 0, "one")).await.unwrap();
    let (_, page) = admin.json(Method::GET, &format!("{path}/deliveries"), None).await;
    let delivery = format!("{path}/deliveries/{}", page["items"][0]["id"].as_str().unwrap());
    let since = json!({ "since": "2020-01-01T00:00:00Z" });
    let operations = [
        (Method::GET, path.clone(), None),
        (Method::PATCH, path.clone(), Some(json!({ "enabled": false }))),
        (Method::POST, format!("{path}/rotate-secret"), None),
        (Method::POST, format!("{path}/test"), None),
        (Method::GET, format!("{path}/deliveries"), None),
        (Method::GET, delivery.clone(), None),
        (Method::POST, format!("{delivery}/replay"), None),
        (Method::POST, format!("{path}/replay"), Some(since)),
        (Method::DELETE, path.clone(), None),
    ];
    let (stranger, operator) = (service.account(Role::TenantAdmin, 1).await, service.account(Role::Operator, 0).await);
    for (method, path, body) in operations {
        let theirs = stranger.json(method.clone(), &path, body.clone()).await;
        assert_eq!(theirs.0, StatusCode::NOT_FOUND, "{method} {path}: {}", theirs.1);
        let not_allowed = operator.json(method.clone(), &path, body).await;
        assert_eq!(not_allowed.0, StatusCode::FORBIDDEN, "{method} {path}: {}", not_allowed.1);
    }
    let foreign = json!({ "tenant": service.tenants[0], "url": "https://example.org/", "events": ["pbx.up"] });
    assert_eq!(stranger.json(Method::POST, WEBHOOKS, Some(foreign.clone())).await.0, StatusCode::NOT_FOUND);
    assert_eq!(operator.json(Method::POST, WEBHOOKS, Some(foreign.clone())).await.0, StatusCode::FORBIDDEN);
    assert_eq!(stranger.json(Method::GET, WEBHOOKS, None).await.1["items"], json!([]));
    assert_eq!(operator.json(Method::GET, WEBHOOKS, None).await.0, StatusCode::FORBIDDEN);
    let root = service.account(Role::SuperAdmin, 0).await;
    assert_eq!(root.json(Method::POST, WEBHOOKS, Some(foreign)).await.0, StatusCode::CREATED);
    let of_other = format!("{WEBHOOKS}?tenant={}", service.tenants[1]);
    assert_eq!(root.json(Method::GET, &of_other, None).await.1["items"], json!([]));
    assert_eq!(root.json(Method::GET, WEBHOOKS, None).await.1["items"].as_array().unwrap().len(), 2);
    assert_eq!(actions(&service, 0).await, ["webhook.add", "webhook.add"], "the tenant sees who did what");
    service.end().await;
}
