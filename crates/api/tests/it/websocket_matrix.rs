//! The isolation matrix of the WebSocket, made from the AsyncAPI document itself: every topic × strangers, keys that lack the
//! permission, lower roles and other tenants; and those who are let in and then are not good any more.
//!
//! A topic that nobody has thought of here fails the tests: what stands in its holes must be in [`filled`], what it brings in
//! [`news_of`].

use std::time::{Duration, Instant};

use aimg_accounts::{Accounts, KeyRequest, Policy, Principal};
use aimg_api::WebSocketConfig;
use aimg_cluster::{AlarmNews, News, Notice, QuotaNews, Segment};
use aimg_core::{CallEventKind, Direction, Permission, Role, Timestamp};
use futures_util::{SinkExt, StreamExt};
use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::time::timeout_at;
use tokio_tungstenite::tungstenite::Message;

use crate::fixture::{PASSWORD, Service};
use crate::strangers::strangers;
use crate::websocket::{Client, PATIENCE, SESSION, now};

const NUMBER: &str = "498917760319";
/// There is no such session.
const NO_SESSION: &str = "0198c1de-1111-7000-8000-00000000000f";
/// How soon somebody is closed who is looked at every 50 ms, on a busy machine.
const SOON: Duration = Duration::from_secs(5);

/// Every topic of the document, with the permission that it takes.
fn topics() -> Vec<(String, Permission)> {
    let document: Value = serde_json::from_str(&aimg_api::asyncapi_json()).unwrap();
    let topics = document["channels"]["live"]["x-topics"].as_array().unwrap();
    assert!(topics.len() >= 7, "{topics:?}");
    let entry = |t: &Value| {
        (t["topic"].as_str().unwrap().to_owned(), t["permission"].as_str().unwrap().parse::<Permission>().unwrap())
    };
    topics.iter().map(entry).collect()
}

/// A topic with its holes filled.
fn filled(pattern: &str, session: &str, number: &str) -> String {
    let holes = [("session", session), ("number", number), ("side", "both"), ("rate", "8000"), ("encoding", "ulaw")];
    let topic =
        holes.iter().fold(pattern.to_owned(), |topic, (hole, value)| topic.replace(&format!("{{{hole}}}"), value));
    assert!(!topic.contains('{'), "nothing is here for a hole of {pattern}: add it");
    topic
}

/// What a topic brings; nothing for audio, which comes from the media plane and is heard of real calls elsewhere.
fn news_of(pattern: &str) -> Option<News> {
    let call = News::Call { event: CallEventKind::HookEntered, call: None };
    let segment = Segment {
        dialled: Some(NUMBER.to_owned()),
        speaker: Direction::Callee,
        start_ms: 10,
        end_ms: 20,
        text: "hello".to_owned(),
        confidence: Some(0.5),
        is_final: true,
    };
    let alarm = AlarmNews { alarm: "ami_down", severity: "critical", says: "", is_raised: true, reason: None };
    match pattern {
        "calls" | "call:{session}" => Some(call),
        "transcripts:{session}" | "transcripts:dialled:{number}" => Some(News::Segment(segment)),
        "audio:{session}:{side}:{rate}:{encoding}" => None,
        "system" => Some(News::Alarm(alarm)),
        "notifications" => Some(quota("storage_bytes", 2)),
        other => panic!("no line of this table is for the topic {other}: write one"),
    }
}

fn quota(quota: &'static str, used: u64) -> News {
    News::Quota(QuotaNews { quota, max: 1, used })
}

fn subscribe(topics: &[&str]) -> Value {
    json!({ "type": "subscribe", "topics": topics })
}

impl Client {
    /// All that still comes, and the code and words by which it is closed; after those nothing may come.
    async fn rest(mut self) -> (Vec<Value>, Option<(u16, String)>) {
        let (mut told, mut closed) = (Vec::new(), None);
        // As a whole: whoever is told something again and again is not closed.
        let deadline = Instant::now() + PATIENCE;
        while let Some(message) = timeout_at(deadline.into(), self.0.next()).await.expect("the connection is closed") {
            match message {
                Ok(Message::Close(frame)) => {
                    closed = frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
                }
                Ok(Message::Text(text)) => {
                    assert_eq!(closed, None, "it was closed, and is told {text}");
                    told.push(serde_json::from_str(&text).unwrap());
                }
                Ok(Message::Binary(_)) => panic!("nobody listens to audio here"),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        (told, closed)
    }
}

#[tokio::test]
async fn strangers_are_told_nothing_of_any_topic() {
    let service =
        Service::with(|config| aimg_api::Config { trusted_proxies: vec!["127.0.0.1".parse().unwrap()], ..config })
            .await;
    // How often one address may try to log in is bounded.
    let mut addresses = (1..).map(|n| format!("10.0.0.{n}"));
    for (what, shown) in strangers(&service).await {
        if let Some(shown) = &shown {
            for header in [("authorization", format!("Bearer {shown}")), ("x-api-key", shown.clone())] {
                let refused = service.try_socket(&[(header.0, &header.1)]).await.err();
                assert_eq!(refused, Some(StatusCode::UNAUTHORIZED), "{what} by {}", header.0);
            }
        }
        for (pattern, _) in topics() {
            let address = addresses.next().unwrap();
            let mut client = service.try_socket(&[("x-forwarded-for", &address)]).await.unwrap();
            let says = shown.iter().map(|token| json!({ "type": "authenticate", "token": token }));
            for message in says.chain([subscribe(&[&filled(&pattern, SESSION, NUMBER)])]) {
                // It may be closed before the last one.
                let _ = client.0.send(Message::text(message.to_string())).await;
            }
            news_of(&pattern).into_iter().for_each(|news| service.tell(Some(0), news));
            let (told, closed) = client.rest().await;
            assert_eq!((told, closed.map(|(code, _)| code)), (Vec::new(), Some(4401)), "{what} at {pattern}");
        }
    }
}

#[tokio::test]
async fn topics_are_for_who_may() {
    let service = Service::start().await;
    for (pattern, permission) in topics() {
        let topic = filled(&pattern, SESSION, NUMBER);
        let others: Vec<_> = Permission::ALL.into_iter().filter(|p| *p != permission).collect();
        for role in Role::ALL {
            let of = (role != Role::SuperAdmin).then_some(0);
            for permissions in [&Permission::ALL[..], &others, &[permission]] {
                let (key, _) = service.key(of, role, permissions).await;
                let answer = service.socket(&key).await.asks(subscribe(&[&topic])).await;
                let (code, field) = (answer["code"].as_str(), answer["field"].as_str());
                let is_for_it = role.may(permission) && permissions.contains(&permission);
                let who = format!("{role} with {permissions:?} at {pattern}: {answer}");
                match (is_for_it, news_of(&pattern)) {
                    (false, _) => assert_eq!((code, field), (Some("not_allowed"), Some("topics.0")), "{who}"),
                    (true, Some(_)) => assert_eq!(answer["type"], "subscribed", "{who}"),
                    // No call is being captured.
                    (true, None) => assert_eq!((code, field), (Some("wrong_state"), Some("topics")), "{who}"),
                }
            }
        }
    }
}

#[tokio::test]
async fn another_tenants_topics_are_as_silent_as_none() {
    let service = Service::start().await;
    for (pattern, permission) in topics() {
        let topic = filled(&pattern, SESSION, NUMBER);
        let with = [permission, Permission::CallsMonitor];
        let (own, _) = service.key(Some(0), Role::TenantAdmin, &with).await;
        let (other, _) = service.key(Some(1), Role::TenantAdmin, &with).await;
        let (root, _) = service.key(None, Role::SuperAdmin, &with).await;
        // What is another's and what is not there are one and the same.
        let mut answers = Vec::new();
        for (session, number) in [(SESSION, NUMBER), (NO_SESSION, "4711")] {
            let named = filled(&pattern, session, number);
            let answer = service.socket(&other).await.asks(subscribe(&[&named])).await;
            answers.push(answer.to_string().replace(session, "").replace(number, ""));
        }
        assert_eq!(answers[0], answers[1], "{pattern}");
        // Naming another tenant is naming nothing.
        let (mut own, mut other) = (service.socket(&own).await, service.socket(&other).await);
        let of_other = json!({ "type": "subscribe", "topics": [topic, "notifications"], "tenant": service.tenants[1] });
        let refused = own.asks(of_other.clone()).await;
        assert_eq!((&refused["code"], &refused["field"]), (&json!("not_found"), &json!("tenant")), "{pattern}");
        let Some(news) = news_of(&pattern) else { continue };
        let [mut all, mut named] = [service.socket(&root).await, service.socket(&root).await];
        for client in [&mut own, &mut other, &mut all] {
            client.subscribes(&[&topic, "notifications"]).await;
        }
        assert_eq!(named.asks(of_other).await["type"], "subscribed");
        // After the notice comes one for everybody, so that its absence is seen.
        service.tell(Some(0), news);
        (0..2).for_each(|of| service.tell(Some(of), quota("marker", of as u64)));
        for client in [&mut own, &mut all] {
            let notice = client.next().await;
            assert_eq!((&notice["tenant"], &notice["session"]), (&json!(service.tenants[0]), &json!(SESSION)));
            assert_ne!(notice["quota"], "marker", "{pattern}: {notice}");
            assert_eq!(client.next().await["used"], 0, "{pattern}");
        }
        for client in [&mut other, &mut named] {
            let first = client.next().await;
            assert_eq!((&first["quota"], &first["used"]), (&json!("marker"), &json!(1)), "{pattern}: {first}");
        }
    }
    service.end().await;
}

/// One that looks often whether accounts are still good.
async fn watchful() -> Service {
    Service::with(|config| aimg_api::Config {
        websockets: WebSocketConfig { check_every: Duration::from_millis(50), ..config.websockets },
        ..config
    })
    .await
}

/// Its tokens are good for a second or two.
fn short_lived(service: &Service) -> Accounts {
    let policy = Policy { access_life: Duration::from_secs(2), ..Policy::default() };
    Accounts::new(service.store.clone(), policy).unwrap()
}

#[tokio::test]
async fn who_is_not_good_any_more_is_told_so_and_nothing_after() {
    let service = watchful().await;
    let admin = service.account(Role::TenantAdmin, 0).await;
    let key = async |expires_at: Option<Timestamp>| {
        let (tenant, name, role) = (Some(service.tenants[0]), "program".to_owned(), Role::Viewer);
        let request = KeyRequest { tenant, name, role, permissions: None, expires_at };
        service.accounts.make_key(&Principal::command_line(), request).await.unwrap()
    };
    let mut clients = Vec::new();
    let mut ends = Vec::new();
    for (what, method, command, body) in [
        ("a disabled user", Method::PATCH, "", Some(json!({ "enabled": false }))),
        ("a user of another role", Method::POST, "/change-role", Some(json!({ "role": "operator" }))),
        ("a user with another password", Method::POST, "/password", Some(json!({ "password": "another fine one" }))),
        ("a removed user", Method::DELETE, "", None),
    ] {
        let user = service.account(Role::Viewer, 0).await;
        let id = user.tokens["user"]["id"].as_str().unwrap();
        clients.push((what, service.socket(&user.token).await));
        ends.push((method, format!("/api/v1/users/{id}{command}"), body));
    }
    let revoked = key(None).await;
    clients.push(("a revoked key", service.socket(revoked.secret.expose_secret()).await));
    ends.push((Method::DELETE, format!("/api/v1/api-keys/{}", revoked.key.id), None));
    let user = service.account(Role::Viewer, 0).await;
    let token = short_lived(&service).log_in(&user.name, PASSWORD.into(), now()).await.unwrap().access;
    clients.push(("an expired token", service.socket(token.expose_secret()).await));
    let expires = key(Some(now() + Duration::from_secs(2))).await;
    clients.push(("an expired key", service.socket(expires.secret.expose_secret()).await));
    let mut stays = service.socket(key(None).await.secret.expose_secret()).await;

    for client in clients.iter_mut().map(|(_, client)| client).chain([&mut stays]) {
        client.subscribes(&["notifications"]).await;
    }
    service.tell(Some(0), quota("marker", 0));
    for client in clients.iter_mut().map(|(_, client)| client).chain([&mut stays]) {
        assert_eq!(client.next().await["used"], 0, "all of them are good");
    }
    for (method, path, body) in ends {
        let (status, answer) = admin.json(method, &path, body).await;
        assert!(status.is_success(), "{path}: {answer}");
    }
    // While they are closed there is something to be told, all the time.
    let (bus, tenant, began) = (service.bus.clone(), service.tenants[0], Instant::now());
    let telling = tokio::spawn(async move {
        for n in 1.. {
            let (at, news) = (Timestamp::default(), quota("marker", n));
            bus.publish(Notice { tenant: Some(tenant), pbx: None, session: None, at, news });
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    for (what, client) in clients {
        let (_, closed) = client.rest().await;
        let (code, words) = closed.unwrap_or_else(|| panic!("{what} is not told"));
        assert!(code == 4401 && words.contains("access token or an API key"), "{what}: {code} {words}");
        assert!(began.elapsed() < SOON, "{what} after {:?}", began.elapsed());
    }
    // Whoever is still good hears on.
    let heard = stays.next().await["used"].as_u64();
    assert_eq!(heard, Some(1), "from the first one on");
    telling.abort();
}

#[tokio::test]
async fn a_newer_token_of_the_same_account_keeps_a_connection() {
    let service = watchful().await;
    let (user, other) = (service.account(Role::Viewer, 0).await, service.account(Role::Viewer, 0).await);
    let first = short_lived(&service).log_in(&user.name, PASSWORD.into(), now()).await.unwrap().access;
    let (mut stays, goes) = (service.socket(first.expose_secret()).await, service.socket(first.expose_secret()).await);
    let refused = stays.asks(json!({ "type": "authenticate", "token": other.token })).await;
    assert_eq!((&refused["code"], &refused["field"]), (&json!("invalid"), &json!("token")));
    let welcome = stays.asks(json!({ "type": "authenticate", "token": user.token })).await;
    assert_eq!(welcome["type"], "welcome");
    assert_eq!(goes.rest().await.1.map(|(code, _)| code), Some(4401));
    stays.subscribes(&["calls"]).await;
}
