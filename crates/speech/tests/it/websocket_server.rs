//! A service that recognises over a WebSocket, in the words of either preset, with faults. What it hears are levels: a word is a
//! stretch of one level, and is called by it; 300 ms of silence end an utterance.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aimg_speech::websocket::{Preset, Protocol, Settings};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{Response as HttpResponse, StatusCode};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

/// Samples a millisecond.
const RATE_KHZ: u64 = 8;
/// Silence that ends an utterance, in milliseconds.
const QUIET_MS: u64 = 300;

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// The connection is gone after so many milliseconds of audio, without a word.
    Breaks(u64),
    /// It hears all, and never says anything.
    Silent,
    /// It never reads.
    Deaf,
    /// What it says is no JSON.
    Garbage,
    /// It says that something went wrong.
    Says(&'static str),
    /// It closes the WebSocket with this code.
    Closes(u16),
    /// It does not even open it.
    Refuses(u16),
}

/// What it was asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) address: String,
    pub(crate) authorization: String,
    pub(crate) texts: Vec<String>,
    pub(crate) audio_ms: u64,
}

/// It ends with the test's runtime.
pub(crate) struct Service {
    pub(crate) port: u16,
    preset: Preset,
    pub(crate) asked: Arc<Mutex<Vec<Asked>>>,
}

impl Service {
    pub(crate) async fn of(preset: Preset, fault: Fault) -> Self {
        Self::start(preset, fault, None).await
    }

    pub(crate) async fn start(preset: Preset, fault: Fault, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let recorded = asked.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (recorded, tls) = (recorded.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        // Who does not trust us goes away.
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(tcp).await {
                                serve(stream, preset, fault, recorded).await;
                            }
                        }
                        None => serve(tcp, preset, fault, recorded).await,
                    }
                });
            }
        });
        Self { port, preset, asked }
    }

    /// How it is reached: at this machine, and else as the preset says.
    pub(crate) fn settings(&self, overrides: &str) -> Settings {
        let protocol = Protocol::read(self.preset, overrides).unwrap();
        let (_, query) = protocol.url.split_once('?').unwrap();
        let url = format!("ws://127.0.0.1:{}/listen?{query}", self.port);
        Settings {
            key: Some("geheim".into()),
            request_timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(5),
            streams_max: 1,
            ..Settings::new(Protocol { url, ..protocol })
        }
    }

    pub(crate) fn asked(&self, index: usize) -> Asked {
        self.asked.lock().unwrap()[index].clone()
    }
}

async fn serve<S>(stream: S, preset: Preset, fault: Fault, recorded: Arc<Mutex<Vec<Asked>>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut asked = Asked::default();
    #[expect(clippy::result_large_err, reason = "tungstenite wants it so")]
    let look = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        asked.address = request.uri().to_string();
        asked.authorization = request.headers()["authorization"].to_str().unwrap().to_owned();
        match fault {
            Fault::Refuses(code) => {
                let mut refusal: ErrorResponse = HttpResponse::new(None);
                *refusal.status_mut() = StatusCode::from_u16(code).unwrap();
                Err(refusal)
            }
            _ => Ok(response),
        }
    };
    let Ok(mut socket) = accept_hdr_async(stream, look).await else { return };
    let index = {
        let mut all = recorded.lock().unwrap();
        all.push(asked);
        all.len() - 1
    };
    // Who is gone does not care; what was asked is recorded.
    let _ = converse(&mut socket, preset, fault, |change| change(&mut recorded.lock().unwrap()[index])).await;
}

type Heard<T> = Result<T, tokio_tungstenite::tungstenite::Error>;

async fn converse<S>(
    socket: &mut WebSocketStream<S>,
    preset: Preset,
    fault: Fault,
    record: impl Fn(&dyn Fn(&mut Asked)),
) -> Heard<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    if fault == Fault::Deaf {
        std::future::pending::<()>().await;
    }
    if preset == Preset::AssemblyAi {
        socket.send(Message::text(json!({ "type": "Begin", "id": "1", "expires_at": 0 }).to_string())).await?;
    }
    let mut ear = Ear { preset, ..Ear::default() };
    while let Some(message) = socket.next().await {
        let answers = match message? {
            Message::Binary(bytes) => {
                let samples = bytes.as_chunks().0.iter().map(|bytes| i16::from_le_bytes(*bytes));
                let answers = samples.filter_map(|sample| ear.hear(sample)).collect();
                record(&|asked| asked.audio_ms = ear.position / RATE_KHZ);
                answers
            }
            Message::Text(text) => {
                record(&|asked| asked.texts.push(text.as_str().to_owned()));
                let is_end = text.contains("CloseStream") || text.contains("Terminate");
                let mut answers: Vec<Value> = Vec::new();
                if is_end || text.contains("Finalize") || text.contains("ForceEndpoint") {
                    answers.extend(ear.finish());
                }
                if is_end && fault != Fault::Silent {
                    for answer in answers {
                        socket.send(Message::text(answer.to_string())).await?;
                    }
                    let end = if preset == Preset::AssemblyAi { "Termination" } else { "Metadata" };
                    socket.send(Message::text(json!({ "type": end }).to_string())).await?;
                    return socket.close(None).await;
                }
                answers
            }
            _ => Vec::new(),
        };
        let is_under_way = ear.position > 0;
        match fault {
            Fault::Breaks(after_ms) if ear.position / RATE_KHZ >= after_ms => return Ok(()),
            Fault::Silent => continue,
            Fault::Garbage if is_under_way => socket.send(Message::text("{ secret words")).await?,
            Fault::Says(words) if is_under_way => {
                let error = match preset {
                    Preset::AssemblyAi => json!({ "type": "Error", "error_code": 3006, "error": words }),
                    _ => json!({ "type": "Error", "description": words, "variant": "x" }),
                };
                socket.send(Message::text(error.to_string())).await?;
            }
            Fault::Closes(code) if is_under_way => {
                let frame = CloseFrame { code: code.into(), reason: "NET-0001".into() };
                return socket.close(Some(frame)).await;
            }
            _ => {}
        }
        for answer in answers {
            socket.send(Message::text(answer.to_string())).await?;
        }
    }
    Ok(())
}

/// Hears levels.
struct Ear {
    preset: Preset,
    position: u64,
    /// The level that is being heard, and since when.
    current: (i16, u64),
    /// Levels with their beginnings and ends, in milliseconds.
    words: Vec<(i16, u64, u64)>,
    /// Where the last final ended, in milliseconds.
    told_ms: u64,
    turns: u64,
}

impl Default for Ear {
    fn default() -> Self {
        Self { preset: Preset::None, position: 0, current: (0, 0), words: Vec::new(), told_ms: 0, turns: 0 }
    }
}

impl Ear {
    fn hear(&mut self, sample: i16) -> Option<Value> {
        let (level, since) = self.current;
        let ms = self.position / RATE_KHZ;
        let mut answer = None;
        if sample != level {
            self.current = (sample, self.position);
            if level > 0 {
                self.words.push((level, since / RATE_KHZ, ms));
                answer = Some(self.answer(false));
            }
        } else if level == 0 && self.position - since == QUIET_MS * RATE_KHZ && !self.words.is_empty() {
            answer = Some(self.answer(true));
        }
        self.position += 1;
        answer
    }

    fn finish(&mut self) -> Option<Value> {
        let last = self.hear(0);
        if self.words.is_empty() { last } else { Some(self.answer(true)) }
    }

    fn answer(&mut self, is_final: bool) -> Value {
        let ms = self.position / RATE_KHZ;
        let texts: Vec<String> = self.words.iter().map(|(level, ..)| level.to_string()).collect();
        let seconds = |ms: u64| ms as f64 / 1_000.0;
        let answer = if self.preset == Preset::AssemblyAi {
            let word = |(level, start, end): &(i16, u64, u64)| json!({ "text": level.to_string(), "start": start, "end": end, "confidence": 0.5, "word_is_final": true });
            json!({
                "type": "Turn", "turn_order": self.turns, "turn_is_formatted": is_final, "end_of_turn": is_final,
                "transcript": texts.join(" "), "end_of_turn_confidence": 0.5,
                "words": self.words.iter().map(word).collect::<Vec<_>>(),
            })
        } else {
            let word = |(level, start, end): &(i16, u64, u64)| {
                json!({ "word": level.to_string(), "punctuated_word": level.to_string(), "start": seconds(*start),
                    "end": seconds(*end), "confidence": 0.5 })
            };
            let words: Vec<_> = self.words.iter().map(word).collect();
            json!({
                "type": "Results", "channel_index": [0, 1], "start": seconds(self.told_ms),
                "duration": seconds(ms - self.told_ms), "is_final": is_final, "speech_final": is_final,
                "channel": { "alternatives": [{ "transcript": texts.join(" "), "confidence": 0.5, "words": words }] },
            })
        };
        if is_final {
            self.words.clear();
            self.told_ms = ms;
            self.turns += 1;
        }
        answer
    }
}
