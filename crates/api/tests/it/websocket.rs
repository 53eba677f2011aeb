//! WebSockets over real sockets: who hears what, and what happens to those who misbehave.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use aimg_accounts::{KeyRequest, Principal};
use aimg_api::WebSocketConfig;
use aimg_cluster::{AlarmNews, LinkNews, LinkSide, News, Notice, QuotaNews};
use aimg_core::{CallEventKind, Permission, Role, SessionId, TenantScope, Timestamp};
use futures_util::{SinkExt, StreamExt};
use reqwest::StatusCode;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::fixture::{PASSWORD, Service};
use crate::world::World;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const SESSION: &str = "0198c1de-1111-7000-8000-00000000000a";

/// Both ends of the wire are held by the test.
pub(crate) struct Client(pub(crate) WebSocketStream<TcpStream>);

impl Service {
    fn host(&self) -> String {
        self.url("").trim_start_matches("http://").to_owned()
    }

    /// Tries to open a WebSocket with these headers.
    pub(crate) async fn try_socket(&self, headers: &[(&'static str, &str)]) -> Result<Client, StatusCode> {
        let stream = TcpStream::connect(self.host()).await.unwrap();
        self.try_socket_over(stream, headers).await
    }

    async fn try_socket_over(&self, stream: TcpStream, headers: &[(&'static str, &str)]) -> Result<Client, StatusCode> {
        let mut request = format!("ws://{}/api/v1/ws", self.host()).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match client_async(request, stream).await {
            Ok((socket, _)) => Ok(Client(socket)),
            Err(Error::Http(response)) => Err(StatusCode::from_u16(response.status().as_u16()).unwrap()),
            Err(other) => panic!("{other}"),
        }
    }

    /// Opens a WebSocket of somebody who is let in.
    pub(crate) async fn socket(&self, token: &str) -> Client {
        let mut client = self.try_socket(&[("authorization", &format!("Bearer {token}"))]).await.unwrap();
        assert_eq!(client.next().await["type"], "welcome");
        client
    }

    /// A key of a tenant, or of the installation, with these permissions alone.
    pub(crate) async fn key(
        &self,
        of: Option<usize>,
        role: Role,
        permissions: &[Permission],
    ) -> (String, aimg_core::ApiKeyId) {
        let request = KeyRequest {
            tenant: of.map(|of| self.tenants[of]),
            name: "program".to_owned(),
            role,
            permissions: Some(permissions.to_vec()),
            expires_at: None,
        };
        let made = self.accounts.make_key(&Principal::command_line(), request).await.unwrap();
        (made.secret.expose_secret().to_owned(), made.key.id)
    }

    pub(crate) fn tell(&self, of: Option<usize>, news: News) {
        self.bus.publish(Notice {
            tenant: of.map(|of| self.tenants[of]),
            pbx: None,
            session: Some(SESSION.parse::<SessionId>().unwrap()),
            at: Timestamp::default(),
            news,
        });
    }
}

pub(crate) fn now() -> Timestamp {
    Timestamp::default() + std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap()
}

impl Client {
    async fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Value {
        loop {
            let message = timeout(PATIENCE, self.0.next()).await.expect("a message comes");
            match message.expect("the connection is open").unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn asks(&mut self, message: Value) -> Value {
        self.say(message).await;
        self.next().await
    }

    pub(crate) async fn subscribes(&mut self, topics: &[&str]) -> Value {
        let answer = self.asks(json!({ "type": "subscribe", "topics": topics })).await;
        assert_eq!(answer["type"], "subscribed", "{answer}");
        answer
    }

    /// Waits for the connection's end, whatever comes before, and says how it was closed.
    async fn end(mut self) -> Option<CloseFrame> {
        let closed = async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Close(frame))) => return frame,
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return None,
                }
            }
        };
        timeout(PATIENCE, closed).await.expect("the connection is closed")
    }

    async fn closed_with(self, code: u16) {
        assert_eq!(self.end().await.map(|frame| u16::from(frame.code)), Some(code));
    }
}

#[tokio::test]
async fn nobody_is_let_in_without_good_credentials() {
    let service = Service::with(|config| aimg_api::Config {
        websockets: WebSocketConfig { authenticate_timeout: Duration::from_millis(300), ..config.websockets },
        ..config
    })
    .await;
    let (revoked, id) = service.key(Some(0), Role::Viewer, &[Permission::CallsMonitor]).await;
    service.store.revoke_api_key(TenantScope::Operator, id, now()).await.unwrap();
    for (what, shown) in
        [("revoked", format!("Bearer {revoked}")), ("wrong", "Bearer x".into()), ("none", "Bearer".into())]
    {
        let refused = service.try_socket(&[("authorization", &shown)]).await.err();
        assert_eq!(refused, Some(StatusCode::UNAUTHORIZED), "{what}");
    }
    let topics = json!({ "type": "subscribe", "topics": ["calls"] });
    for first in
        [topics, json!({ "type": "authenticate", "token": revoked }), json!({ "type": "authenticate" }), json!(1)]
    {
        let mut client = service.try_socket(&[]).await.unwrap();
        client.say(first).await;
        client.closed_with(4401).await;
    }
    let silent = service.try_socket(&[]).await.unwrap();
    silent.closed_with(4401).await;
    // Who is let in may take its time.
    let (good, _) = service.key(Some(0), Role::Viewer, &[Permission::CallsMonitor]).await;
    let mut client = service.try_socket(&[]).await.unwrap();
    let welcome = client.asks(json!({ "type": "authenticate", "token": good })).await;
    assert_eq!((&welcome["type"], &welcome["tenant"]), (&json!("welcome"), &json!(service.tenants[0])));
    tokio::time::sleep(Duration::from_millis(400)).await;
    client.subscribes(&["calls"]).await;
    // The address is no place for credentials.
    let by_address = service.ask(reqwest::Method::GET, &format!("/api/v1/ws?token={good}")).send().await.unwrap();
    assert_eq!(by_address.status(), StatusCode::BAD_REQUEST, "and it is for WebSockets only");
}

#[tokio::test]
async fn a_connection_has_one_audio_topic_of_a_session() {
    let service = Service::start().await;
    let (key, _) = service.key(Some(0), Role::TenantAdmin, &[Permission::CallsListen]).await;
    let two = ["caller", "both"].map(|side| format!("audio:{SESSION}:{side}:8000:ulaw"));
    let answer = service.socket(&key).await.asks(json!({ "type": "subscribe", "topics": two })).await;
    assert_eq!((&answer["code"], &answer["field"]), (&json!("invalid"), &json!("topics")), "{answer}");
}

#[tokio::test]
async fn a_browsers_page_is_our_own() {
    let service = Service::start().await;
    let user = service.account(Role::Viewer, 0).await;
    let body = json!({ "name": user.name, "password": PASSWORD, "cookie": true });
    let answer = service.ask(reqwest::Method::POST, "/api/v1/auth/login").json(&body).send().await.unwrap();
    let cookies = answer.headers().get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
    let session = cookies.filter_map(|c| c.split(';').next()).find(|c| c.starts_with("aimg_session=")).unwrap();
    let (own, bearer) = (service.url(""), format!("Bearer {}", user.token));
    for (what, headers, refused) in [
        ("our page", vec![("cookie", session), ("origin", own.as_str())], None),
        ("no page", vec![("cookie", session)], Some(StatusCode::FORBIDDEN)),
        ("another page", vec![("cookie", session), ("origin", "http://evil.test")], Some(StatusCode::FORBIDDEN)),
        ("no origin at all", vec![("cookie", session), ("origin", "null")], Some(StatusCode::FORBIDDEN)),
        (
            "another page with a token",
            vec![("authorization", &bearer), ("origin", "http://evil.test")],
            Some(StatusCode::FORBIDDEN),
        ),
        ("our page with a token", vec![("authorization", &bearer), ("origin", own.as_str())], None),
    ] {
        assert_eq!(service.try_socket(&headers).await.err(), refused, "{what}");
    }
}

#[tokio::test]
async fn who_comes_back_gets_what_it_missed_or_is_told_to_read_anew() {
    let service = Service::start().await;
    let (key, _) = service.key(Some(0), Role::Viewer, &[Permission::CallsMonitor]).await;
    let mark = |of, used| service.tell(Some(of), News::Quota(QuotaNews { quota: "mark", max: 0, used }));
    let mut first = service.try_socket(&[("authorization", &format!("Bearer {key}"))]).await.unwrap();
    let welcome = first.next().await;
    first.subscribes(&["notifications"]).await;
    mark(0, 1);
    let seen = first.next().await;
    assert_eq!((seen["seq"].as_u64(), welcome["seq"].as_u64()), (Some(1), Some(0)));
    drop(first);
    for n in 2..=4 {
        mark(1, 100);
        service.tell(Some(0), News::Call { event: CallEventKind::HookEntered, call: None });
        mark(0, n);
    }
    let mut second = service.socket(&key).await;
    let resume = |after: u64, epoch: &Value| json!({ "type": "resume", "id": "r", "after": after, "epoch": epoch });
    let answer = second.asks(resume(1, &welcome["epoch"])).await;
    assert_eq!(answer, json!({ "type": "resumed", "id": "r", "after": 1, "missed": 6 }));
    second.subscribes(&["notifications"]).await;
    for (seq, used) in [(3, 2), (5, 3), (7, 4)] {
        let missed = second.next().await;
        assert_eq!(
            (missed["seq"].as_u64(), missed["used"].as_u64()),
            (Some(seq), Some(used)),
            "of its own tenant and topic"
        );
    }
    mark(0, 5);
    assert_eq!(second.next().await["seq"], 8, "and on from there");
    // A number that was not given yet, and one of another epoch.
    for (after, epoch) in [(9, welcome["epoch"].clone()), (1, json!(SESSION))] {
        let answer = second.asks(resume(after, &epoch)).await;
        assert_eq!(answer, json!({ "type": "resync", "id": "r", "epoch": welcome["epoch"], "seq": 8 }));
    }
    // One that is forgotten.
    (0..5_000).for_each(|n| mark(0, n));
    let mut third = service.socket(&key).await;
    assert_eq!(third.asks(resume(1, &welcome["epoch"])).await["type"], "resync");
    // Whoever subscribes without a resume hears what comes from there on.
    third.subscribes(&["notifications"]).await;
    mark(0, 77);
    assert_eq!(third.next().await["used"], 77);
}

#[tokio::test]
async fn topics_come_and_go_and_wrong_ones_change_nothing() {
    let service = Service::start().await;
    let (key, _) = service.key(Some(0), Role::Viewer, &[Permission::CallsMonitor]).await;
    let mut client = service.socket(&key).await;
    for (message, code, field) in [
        (json!({ "type": "subscribe", "topics": ["calls", "weather"] }), "invalid", json!("topics.1")),
        (json!({ "type": "subscribe", "topics": [] }), "invalid", json!("topics")),
        (json!({ "type": "subscribe", "topics": ["calls"], "id": "x".repeat(65) }), "invalid", json!("id")),
        (json!({ "type": "subscribe", "topics": ["calls"], "colour": 1 }), "invalid", Value::Null),
        (json!({ "type": "dance" }), "invalid", Value::Null),
    ] {
        let answer = client.asks(message).await;
        assert_eq!(
            (&answer["type"], &answer["code"], &answer["field"]),
            (&json!("error"), &json!(code), &field),
            "{answer}"
        );
    }
    assert_eq!(
        client.subscribes(&["calls", "calls", "notifications"]).await["topics"],
        json!(["calls", "notifications"])
    );
    let left = client.asks(json!({ "type": "unsubscribe", "id": "u", "topics": ["calls", "system"] })).await;
    assert_eq!(
        (&left["type"], &left["id"], &left["topics"]),
        (&json!("unsubscribed"), &json!("u"), &json!(["notifications"]))
    );
    service.tell(Some(0), News::Call { event: CallEventKind::HookEntered, call: None });
    service.tell(Some(0), News::Quota(QuotaNews { quota: "mark", max: 0, used: 1 }));
    assert_eq!(client.next().await["type"], "quota");
    let many: Vec<_> = (0..64).map(|n| format!("transcripts:dialled:{n}")).collect();
    let (listener, _) = service.key(Some(0), Role::Viewer, &[Permission::RecordingsListen]).await;
    let mut client = service.socket(&listener).await;
    client.subscribes(&many.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let refused = client.asks(json!({ "type": "subscribe", "topics": ["transcripts:dialled:64"] })).await;
    assert_eq!((&refused["code"], &refused["field"]), (&json!("invalid"), &json!("topics")));
}

#[tokio::test]
async fn who_says_too_much_or_too_large_or_nothing_is_closed() {
    let service = Service::with(|config| aimg_api::Config {
        websockets: WebSocketConfig {
            messages_a_second: NonZeroU32::new(5).unwrap(),
            ping_every: Duration::from_millis(50),
            silence_max: Duration::from_millis(200),
            ..config.websockets
        },
        ..config
    })
    .await;
    let (key, _) = service.key(Some(0), Role::Viewer, &[Permission::CallsMonitor]).await;
    let mut talks = service.socket(&key).await;
    for _ in 0..40 {
        // It may be closed before the last one.
        let _ = talks.0.feed(Message::text(r#"{"type":"unsubscribe","topics":[]}"#)).await;
    }
    let _ = talks.0.flush().await;
    talks.closed_with(1008).await;
    let mut large = service.socket(&key).await;
    large.0.send(Message::text("x".repeat(20 << 10))).await.unwrap();
    large.closed_with(1009).await;
    let mut binary = service.socket(&key).await;
    binary.0.send(Message::binary(vec![0; 4])).await.unwrap();
    binary.closed_with(1003).await;
    // A client that is not asked by its program answers no ping.
    let silent = service.socket(&key).await;
    let began = Instant::now();
    while service.open_sockets().await > 0 {
        assert!(began.elapsed() < PATIENCE, "nobody closes it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(began.elapsed() > Duration::from_millis(200), "too soon");
    drop(silent);
}

#[tokio::test]
async fn there_are_only_so_many() {
    let service = Service::with(|config| aimg_api::Config {
        websockets: WebSocketConfig { sockets_max: 4, account_sockets_max: 2, ..config.websockets },
        ..config
    })
    .await;
    let (one, _) = service.key(Some(0), Role::Viewer, &[Permission::CallsMonitor]).await;
    let (two, _) = service.key(Some(0), Role::Viewer, &[Permission::CallsMonitor]).await;
    let bearer = format!("Bearer {one}");
    let [first, _second] = [service.socket(&one).await, service.socket(&one).await];
    assert_eq!(service.try_socket(&[("authorization", &bearer)]).await.err(), Some(StatusCode::TOO_MANY_REQUESTS));
    let mut unnamed = service.try_socket(&[]).await.unwrap();
    unnamed.say(json!({ "type": "authenticate", "token": one })).await;
    unnamed.closed_with(4429).await;
    let [_third, fourth] = [service.socket(&two).await, service.try_socket(&[]).await.unwrap()];
    assert_eq!(service.try_socket(&[]).await.err(), Some(StatusCode::TOO_MANY_REQUESTS), "of anybody");
    drop((first, fourth));
    let began = Instant::now();
    while service.open_sockets().await > 2 {
        assert!(began.elapsed() < PATIENCE, "places are given back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    service.socket(&one).await;
}

impl Service {
    async fn open_sockets(&self) -> u64 {
        let metrics = self.ask(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
        self.sample(&metrics, "aimg_websocket_open")
    }

    fn sample(&self, metrics: &str, name: &str) -> u64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name}: {metrics}")).parse::<f64>().unwrap() as u64
    }
}

/// A client that takes little before it reads.
async fn narrow(service: &Service, token: &str) -> Client {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let stream = socket.connect(service.host().parse().unwrap()).await.unwrap();
    let bearer = format!("Bearer {token}");
    let mut client = service.try_socket_over(stream, &[("authorization", &bearer)]).await.unwrap();
    client.next().await;
    client.subscribes(&["system"]).await;
    client
}

/// Tells of as much as is remembered at once, half of it.
fn flood(service: &Service) {
    let reason = Some("x".repeat(64 << 10));
    for _ in 0..FLOOD {
        let (pbx_name, reason) = ("office".to_owned(), reason.clone());
        service
            .tell(Some(0), News::Link(LinkNews { pbx_name, side: LinkSide::Ami, is_up: false, state: "down", reason }));
    }
}

/// 1 MiB of the 2 MiB that are remembered.
const FLOOD: u64 = 16;

#[tokio::test]
async fn a_slow_reader_skips_ahead_and_one_that_reads_nothing_is_closed() {
    let service = Service::with(|config| aimg_api::Config {
        websockets: WebSocketConfig { send_timeout: Duration::from_secs(2), ..config.websockets },
        ..config
    })
    .await;
    let (key, _) = service.key(Some(0), Role::TenantAdmin, &[Permission::TenantsRead]).await;
    let (mut slow, stuck) = (narrow(&service, &key).await, narrow(&service, &key).await);
    let mut fast = service.socket(&key).await;
    fast.subscribes(&["system"]).await;
    // Who reads hears all of it. What the kernel takes for the others is less.
    for flooded in 1..=16 {
        flood(&service);
        for n in 1..=FLOOD {
            assert_eq!(fast.next().await["seq"].as_u64(), Some((flooded - 1) * FLOOD + n));
        }
    }
    let mut last = 0;
    let lagged = loop {
        let message = slow.next().await;
        if message["type"] == "lagged" {
            break message;
        }
        let seq = message["seq"].as_u64().unwrap();
        assert!(seq == last + 1, "{seq} after {last}");
        last = seq;
    };
    assert!(last >= 1 && lagged["missed"].as_u64() == lagged["seq"].as_u64().map(|seq| seq - last), "{last} {lagged}");
    service.tell(
        Some(0),
        News::Alarm(AlarmNews { alarm: "a", severity: "warning", says: "", is_raised: false, reason: None }),
    );
    let next = slow.next().await;
    assert!(next["seq"].as_u64() > lagged["seq"].as_u64(), "{next}");
    // The other one is cut off: what is in the kernel's hands cannot be taken back for a word of farewell.
    let began = Instant::now();
    while service.open_sockets().await > 2 {
        assert!(began.elapsed() < PATIENCE, "nobody closes it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(stuck);
    let metrics = service.ask(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert_eq!(service.sample(&metrics, r#"aimg_websocket_ended_total{reason="slow"}"#), 1, "{metrics}");
    assert!(service.sample(&metrics, "aimg_websocket_lagged_total") >= 1);
}

#[tokio::test]
async fn a_stop_says_good_bye() {
    let service = Service::start().await;
    let (key, _) = service.key(Some(0), Role::Viewer, &[Permission::CallsMonitor]).await;
    let client = service.socket(&key).await;
    let (_, ()) = tokio::join!(service.end(), client.closed_with(1001));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_for_who_may_and_for_the_own_calls() {
    let service = Service::start().await;
    let (own, other) = (World::of(&service, 0).await, World::of(&service, 1).await);
    let command = |id: &str, session: &str| json!({ "type": "command", "id": id, "session": session, "command": { "do": "hangup" } });
    let originate = json!({
        "type": "originate", "id": "o",
        "call": { "pbx": other.holes["pbxs/{id}"], "from": "200", "to": "300", "context": "internal" },
    });
    let refused = |answer: Value, id: &str, code: &str| {
        assert_eq!(
            (&answer["type"], &answer["id"], &answer["code"]),
            (&json!("error"), &json!(id), &json!(code)),
            "{answer}"
        );
    };
    let operator = service.account(Role::Operator, 0).await;
    let mut socket = service.socket(&operator.token).await;
    let [own, others] = [&own, &other].map(|world| world.holes["call-sessions/{id}"].clone());
    refused(socket.asks(command("1", &own)).await, "1", "wrong_state");
    refused(socket.asks(command("2", &others)).await, "2", "not_found");
    refused(socket.asks(originate.clone()).await, "o", "not_found");
    let answer = socket.asks(command(&"x".repeat(65), &own)).await;
    assert_eq!((&answer["code"], &answer["field"]), (&json!("invalid"), &json!("id")), "{answer}");

    let viewer = service.account(Role::Viewer, 0).await;
    let mut socket = service.socket(&viewer.token).await;
    refused(socket.asks(command("3", &own)).await, "3", "not_allowed");
    refused(socket.asks(originate).await, "o", "not_allowed");

    // A key that is revoked commands nothing, though its connection is still open.
    let (key, id) = service.key(Some(0), Role::Operator, &[Permission::CallsControl]).await;
    let mut socket = service.socket(&key).await;
    refused(socket.asks(command("4", &own)).await, "4", "wrong_state");
    let scope = TenantScope::Tenant(service.tenants[0]);
    service.store.revoke_api_key(scope, id, now()).await.unwrap();
    refused(socket.asks(command("5", &own)).await, "5", "not_authenticated");
}
