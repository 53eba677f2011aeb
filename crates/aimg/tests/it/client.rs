//! A client of REST and of the WebSocket that keeps all it was ever told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use futures_util::stream::SplitSink;
use futures_util::{SinkExt, StreamExt};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::waiting::PATIENCE;

/// Every user's password.
pub(crate) const PASSWORD: &str = "correct horse battery";
/// Bytes before the samples of a binary message, the last 16 of which are the session.
const HEADER_BYTES: usize = 32;

/// Somebody with a token or a key.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    address: SocketAddr,
    credential: String,
}

impl Client {
    /// Logs a user in.
    pub(crate) async fn log_in(address: SocketAddr, name: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let stranger = Self { http, address, credential: String::new() };
        let body = json!({ "name": name, "password": PASSWORD });
        let tokens = stranger.post("/auth/login", body, StatusCode::OK).await;
        stranger.with(tokens["access_token"].as_str().unwrap())
    }

    /// The same with another token or key.
    pub(crate) fn with(&self, credential: &str) -> Self {
        Self { credential: credential.to_owned(), ..self.clone() }
    }

    /// Asks. Of an answer that lasts as long as a call does nothing is read.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, String) {
        let url = format!("http://{}/api/v1{path}", self.address);
        let mut request = self.http.request(method, url).bearer_auth(&self.credential).timeout(PATIENCE);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        if status == StatusCode::OK && path.ends_with("/audio.wav") {
            return (status, String::new());
        }
        (status, String::from_utf8_lossy(&answer.bytes().await.unwrap()).into_owned())
    }

    /// Gets JSON.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> impl Future<Output = Value> {
        let asked = self.ask(Method::GET, path, None);
        async move {
            let (status, body) = asked.await;
            assert_eq!(status, StatusCode::OK, "{path}: {body}");
            serde_json::from_str(&body).unwrap()
        }
    }

    /// Posts JSON, which must be answered so.
    pub(crate) async fn post(&self, path: &str, body: Value, expected: StatusCode) -> Value {
        let (status, answer) = self.ask(Method::POST, path, Some(body)).await;
        assert_eq!(status, expected, "{path}: {answer}");
        serde_json::from_str(&answer).unwrap()
    }

    /// The first bytes of a call as it is heard over HTTP.
    pub(crate) async fn hears(&self, path: &str, bytes: usize) -> Vec<u8> {
        let url = format!("http://{}/api/v1{path}", self.address);
        let mut answer = self.http.get(url).bearer_auth(&self.credential).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let mut heard = Vec::new();
        while heard.len() < bytes {
            heard.extend(timeout(PATIENCE, answer.chunk()).await.unwrap().unwrap().expect("the call goes on"));
        }
        heard
    }

    /// Opens a WebSocket.
    pub(crate) async fn listens(&self) -> Listener {
        let mut request = format!("ws://{}/api/v1/ws", self.address).into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {}", self.credential).parse().unwrap());
        let (say, mut hear) = connect_async(request).await.unwrap().0.split();
        let told = Arc::<Mutex<Told>>::default();
        let kept = Arc::clone(&told);
        tokio::spawn(async move {
            while let Some(Ok(message)) = hear.next().await {
                let mut told = kept.lock().unwrap();
                match message {
                    Message::Text(text) => told.texts.push(serde_json::from_str(&text).unwrap()),
                    Message::Binary(bytes) => told.audio.push(bytes.to_vec()),
                    _ => {}
                }
            }
        });
        let listener = Listener { say, told, asked: 0 };
        listener.until("it is let in", |told| told.texts.iter().any(|text| text["type"] == "welcome")).await;
        listener
    }
}

/// All that came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) texts: Vec<Value>,
    audio: Vec<Vec<u8>>,
}

impl Told {
    /// What is told without being asked for.
    pub(crate) fn notices(&self) -> impl Iterator<Item = &Value> {
        self.texts.iter().filter(|text| text.get("at").is_some())
    }

    /// The samples of each binary message, and whose session they are.
    pub(crate) fn audio(&self) -> impl Iterator<Item = (String, &[u8])> {
        self.audio.iter().map(|message| {
            let session = uuid::Uuid::from_slice(&message[16..HEADER_BYTES]).unwrap();
            (session.to_string(), &message[HEADER_BYTES..])
        })
    }
}

/// An open WebSocket; it is read all the time.
#[derive(Debug)]
pub(crate) struct Listener {
    say: SplitSink<WebSocketStream<MaybeTlsStream<TcpStream>>, Message>,
    told: Arc<Mutex<Told>>,
    asked: usize,
}

impl Listener {
    /// Says something, and waits for the answer to it.
    pub(crate) async fn asks(&mut self, mut message: Value) -> Value {
        self.asked += 1;
        let id = json!(format!("q{}", self.asked));
        message["id"] = id.clone();
        self.say.send(Message::text(message.to_string())).await.unwrap();
        let answer = |told: &Told| told.texts.iter().find(|text| text["id"] == id && text.get("at").is_none()).cloned();
        self.until(&format!("{message} is answered"), |told| answer(told).is_some()).await;
        answer(&self.told()).unwrap()
    }

    /// Subscribes, which must be possible.
    pub(crate) async fn subscribes(&mut self, topics: &[String]) {
        let answer = self.asks(json!({ "type": "subscribe", "topics": topics })).await;
        assert_eq!(answer["type"], "subscribed", "{answer}");
    }

    /// All that came so far.
    pub(crate) fn told(&self) -> Told {
        self.told.lock().unwrap().clone()
    }

    /// Waits until what came is enough.
    pub(crate) async fn until(&self, what: &str, is_enough: impl Fn(&Told) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_enough(&self.told.lock().unwrap()) {
            assert!(Instant::now() < deadline, "never came true: {what}; instead: {:?}", self.told().texts);
            sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}
