//! A Riva-compatible server made from NVIDIA's own stubs, audio with known places, and what is heard in it.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use aimg_core::TenantId;
use aimg_speech::riva::Settings;
use aimg_speech::{Audio, Error, Hypothesis, Stream, StreamOptions};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;
use uuid::Uuid;

/// Long enough for a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server of its own; it ends with this.
pub(crate) struct RivaServer {
    pub(crate) port: u16,
    child: Child,
    told: mpsc::UnboundedReceiver<Value>,
}

impl RivaServer {
    /// With options as `riva_server.py` has them.
    pub(crate) async fn start(options: Value) -> Self {
        let mut child = Command::new(python())
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/riva_server.py"))
            .arg(options.to_string())
            // Refused handshakes are what some tests are about.
            .env("GRPC_VERBOSITY", "ERROR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Taken at once: a server whose pipe is full would stand still.
        let (tells, told) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(line) = lines.next_line().await.unwrap() {
                tells.send(serde_json::from_str(&line).unwrap()).ok();
            }
        });
        let mut server = Self { port: 0, child, told };
        let port = server.record().await["port"].as_u64().unwrap();
        server.port = u16::try_from(port).unwrap();
        assert_ne!(server.port, 0, "the port is taken");
        server
    }

    /// That knows these words.
    pub(crate) async fn that_says(words: &[&str]) -> Self {
        Self::start(json!({ "words": words })).await
    }

    /// How it is reached.
    pub(crate) fn settings(&self) -> Settings {
        Settings::new(format!("127.0.0.1:{}", self.port).parse().unwrap())
    }

    /// What it was asked next, when that is over.
    pub(crate) async fn record(&mut self) -> Value {
        let record = timeout(PATIENCE, self.told.recv()).await.expect("the server tells");
        record.expect("the server runs; its standard error says why not")
    }

    /// Kills it, without a word to its clients.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }
}

/// With the stubs, from PyPI: `scripts/test` installs it.
fn python() -> PathBuf {
    let cache = std::env::var_os("AIMG_CACHE").map(PathBuf::from);
    let home = || std::env::home_dir().expect("there is a home").join(".cache/aimg");
    let program = cache.unwrap_or_else(home).join("riva-client/bin/python");
    assert!(program.exists(), "{} is missing: scripts/test installs it", program.display());
    program
}

pub(crate) fn tenant(number: u128) -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(number))
}

pub(crate) fn options(sample_rate_hz: u32) -> StreamOptions {
    StreamOptions::new(tenant(1), sample_rate_hz)
}

/// Options with a fault that the server is asked for.
pub(crate) fn fault(words: &str) -> StreamOptions {
    StreamOptions { custom: [("fault".to_owned(), words.to_owned())].into(), ..options(8_000) }
}

/// Silence with loud parts: (begin, end, level), in ms.
pub(crate) fn audio(sample_rate_hz: u32, length_ms: u32, loud: &[(u32, u32, i16)]) -> Vec<i16> {
    let at = |ms: u32| (ms * sample_rate_hz / 1_000) as usize;
    let mut samples = vec![0; at(length_ms)];
    for &(begin_ms, end_ms, level) in loud {
        for (index, sample) in samples[at(begin_ms)..at(end_ms)].iter_mut().enumerate() {
            *sample = if index % 8 < 4 { level } else { -level };
        }
    }
    samples
}

/// Sends it in frames of 20 ms at 8 kHz, ends the stream, and gives all that is heard.
pub(crate) async fn hear(stream: Stream, samples: &[i16]) -> (Vec<Hypothesis>, Option<Error>) {
    let Stream { audio, heard } = stream;
    let pieces: Vec<Audio> = samples.chunks(160).map(|frame| Audio::Samples(frame.to_vec())).collect();
    let sending = tokio::spawn(async move {
        for piece in pieces {
            // A stream that has broken off takes no more.
            if audio.send(piece).await.is_err() {
                break;
            }
        }
    });
    let all = rest(heard).await;
    sending.await.unwrap();
    all
}

/// All that is still heard.
pub(crate) async fn rest(
    mut heard: mpsc::Receiver<aimg_speech::Result<Hypothesis>>,
) -> (Vec<Hypothesis>, Option<Error>) {
    let mut all = Vec::new();
    while let Some(next) = timeout(PATIENCE, heard.recv()).await.expect("the stream ends") {
        match next {
            Ok(hypothesis) => all.push(hypothesis),
            Err(error) => return (all, Some(error)),
        }
    }
    (all, None)
}
