//! A scripted stand-in for Asterisk's HTTP server, for faults that the real one cannot be made to show.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aimg_ari::Config;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// How long any test waits for something that must happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// What is done with a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Json(u16, String),
    /// Read the request and never answer.
    Hang,
    /// Read the request and close the connection.
    Cut,
    /// Answer 200 with this body once the gate is open.
    Gated(Arc<Gate>, String),
}

/// Holds answers back until it is opened.
#[derive(Debug)]
pub(crate) struct Gate(Semaphore);

impl Gate {
    pub(crate) fn closed() -> Arc<Self> {
        Arc::new(Self(Semaphore::new(0)))
    }

    pub(crate) fn open(&self) {
        self.0.close();
    }

    async fn pass(&self) {
        let _ = self.0.acquire().await;
    }
}

/// What is done on a connected event stream.
#[derive(Debug)]
pub(crate) enum Push {
    Text(String),
    Close(u16),
    /// Close the TCP connection without a word.
    Cut,
    /// Read nothing more, so that pings stay unanswered.
    Freeze,
}

/// A WebSocket client that arrived.
pub(crate) struct Subscriber {
    pub(crate) target: String,
    pub(crate) authorization: String,
    pub(crate) protocol: String,
    pub(crate) push: mpsc::UnboundedSender<Push>,
}

#[derive(Default)]
struct Script {
    /// By `METHOD path` without the query.
    answers: HashMap<String, Answer>,
    /// The status that refuses the WebSocket.
    refuse_socket: Option<u16>,
    /// Requests seen, as `METHOD target`.
    requests: Vec<String>,
    connections: usize,
    sockets: usize,
    pings: usize,
}

/// Waits for a condition that must become true.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("{what} did not happen"));
}

pub(crate) struct FakePbx {
    pub(crate) port: u16,
    script: Arc<Mutex<Script>>,
    subscribers: tokio::sync::Mutex<mpsc::UnboundedReceiver<Subscriber>>,
}

impl FakePbx {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let script = Arc::new(Mutex::new(Script::default()));
        let (arrivals, subscribers) = mpsc::unbounded_channel();
        let shared = script.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.lock().unwrap().connections += 1;
                tokio::spawn(serve(stream, shared.clone(), arrivals.clone()));
            }
        });
        let fake = Self { port, script, subscribers: tokio::sync::Mutex::new(subscribers) };
        fake.answer("GET /ari/channels", Answer::Json(200, "[]".into()));
        fake.answer("GET /ari/bridges", Answer::Json(200, "[]".into()));
        fake.answer("GET /ari/asterisk/ping", Answer::Json(200, "{}".into()));
        fake
    }

    /// A configuration for this PBX with times fit for tests.
    pub(crate) fn config(&self) -> Config {
        let url = format!("http://127.0.0.1:{}/ari", self.port);
        let mut config = Config::new(&url, "me", "hunter2".into(), "aimg").unwrap();
        config.backoff_base = Duration::from_millis(1);
        config.backoff_max = Duration::from_millis(5);
        config
    }

    /// Scripts the answer to a request, given as `METHOD path`.
    pub(crate) fn answer(&self, request: &str, answer: Answer) {
        self.script.lock().unwrap().answers.insert(request.to_owned(), answer);
    }

    pub(crate) fn refuse_socket(&self, status: Option<u16>) {
        self.script.lock().unwrap().refuse_socket = status;
    }

    /// Requests so far that begin with `prefix`.
    pub(crate) fn requests(&self, prefix: &str) -> usize {
        self.script.lock().unwrap().requests.iter().filter(|r| r.starts_with(prefix)).count()
    }

    pub(crate) fn connections(&self) -> usize {
        self.script.lock().unwrap().connections
    }

    /// Event streams that were asked for.
    pub(crate) fn sockets(&self) -> usize {
        self.script.lock().unwrap().sockets
    }

    /// Pings that came over event streams.
    pub(crate) fn pings(&self) -> usize {
        self.script.lock().unwrap().pings
    }

    /// The next event stream that was opened.
    pub(crate) async fn subscriber(&self) -> Subscriber {
        let mut subscribers = self.subscribers.lock().await;
        tokio::time::timeout(DEADLINE, subscribers.recv()).await.expect("no subscriber came").unwrap()
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Mutex<Script>>, arrivals: mpsc::UnboundedSender<Subscriber>) {
    let mut buffer = Vec::new();
    while let Some(head_bytes) = head(&mut stream, &mut buffer).await {
        let head = String::from_utf8(buffer[..head_bytes].to_vec()).unwrap();
        let mut words = head.split_whitespace();
        let (method, target) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
        let path = target.split('?').next().unwrap();
        if path == "/ari/events" {
            let refused = {
                let mut script = script.lock().unwrap();
                script.sockets += 1;
                script.refuse_socket
            };
            match refused {
                Some(status) => respond(&mut stream, status, "").await,
                None => subscribe(Replayed { read: buffer, stream }, &script, arrivals).await,
            }
            return;
        }
        let body_bytes = header(&head, "content-length").parse().unwrap_or(0);
        while buffer.len() < head_bytes + body_bytes {
            if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        }
        buffer.drain(..head_bytes + body_bytes);
        let answer = {
            let mut script = script.lock().unwrap();
            script.requests.push(format!("{method} {target}"));
            script.answers.get(&format!("{method} {path}")).cloned()
        };
        match answer.unwrap_or_else(|| Answer::Json(404, r#"{"message":"Thing not found"}"#.into())) {
            Answer::Json(status, body) => respond(&mut stream, status, &body).await,
            Answer::Hang => std::future::pending().await,
            Answer::Cut => return,
            Answer::Gated(gate, body) => {
                gate.pass().await;
                respond(&mut stream, 200, &body).await;
            }
        }
    }
}

/// Reads until a request's head is complete; its length.
async fn head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<usize> {
    loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            return Some(end + 4);
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

fn header(head: &str, name: &str) -> String {
    let line = head.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}:")));
    line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

async fn respond(stream: &mut TcpStream, status: u16, body: &str) {
    let head =
        format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    let _ = stream.write_all((head + body).as_bytes()).await;
}

async fn subscribe(stream: Replayed, script: &Mutex<Script>, arrivals: mpsc::UnboundedSender<Subscriber>) {
    let (push, pushes) = mpsc::unbounded_channel();
    let mut seen = (String::new(), String::new(), String::new());
    #[allow(clippy::result_large_err)] // the WebSocket library's own signature
    let look = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        let value =
            |name: &str| request.headers().get(name).map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
        seen = (request.uri().to_string(), value("authorization"), value("sec-websocket-protocol"));
        response.headers_mut().insert("sec-websocket-protocol", "ari".parse().unwrap());
        Ok(response)
    };
    let socket = tokio_tungstenite::accept_hdr_async(stream, look).await.unwrap();
    let (target, authorization, protocol) = seen;
    let _ = arrivals.send(Subscriber { target, authorization, protocol, push });
    play(socket, script, pushes).await;
}

async fn play(
    mut socket: WebSocketStream<Replayed>,
    script: &Mutex<Script>,
    mut pushes: mpsc::UnboundedReceiver<Push>,
) {
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Ping(_))) => script.lock().unwrap().pings += 1,
                Some(Ok(_)) => {}
                _ => return,
            },
            push = pushes.recv() => match push {
                Some(Push::Text(text)) => if socket.send(Message::text(text)).await.is_err() { return },
                Some(Push::Close(code)) => {
                    let frame = CloseFrame { code: CloseCode::from(code), reason: "".into() };
                    let _ = socket.close(Some(frame)).await;
                }
                Some(Push::Cut) => return,
                Some(Push::Freeze) => std::future::pending().await,
                // The test has dropped its end: go on as a quiet server.
                None => while let Some(Ok(_)) = socket.next().await {},
            },
        }
    }
}

/// A connection of which the beginning was read already.
pub(crate) struct Replayed {
    read: Vec<u8>,
    stream: TcpStream,
}

mod replay {
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::Replayed;

    impl AsyncRead for Replayed {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            if self.read.is_empty() {
                return Pin::new(&mut self.stream).poll_read(cx, buf);
            }
            let count = self.read.len().min(buf.remaining());
            buf.put_slice(&self.read[..count]);
            self.read.drain(..count);
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Replayed {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.stream).poll_write(cx, buf)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_shutdown(cx)
        }
    }
}
