//! A service with OpenAI's API: what it is sent, what it answers, and its faults.

use std::f64::consts::TAU;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aimg_speech::http::{Recogniser, Settings, Voice};
use aimg_speech::vad::{Cutting, SAMPLE_RATE_HZ, Utterance, Utterances};
use aimg_speech::{Audio, Boost, Error, ErrorKind, SpeechToText, StreamOptions, TextToSpeech, VoiceOptions};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::fixture::{PATIENCE, hear, options};

/// What was asked: headers and body.
type Asked = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

/// Says one after the other what it is given, tells what it was asked, and has faults below other paths. It ends with the
/// test's runtime.
struct Service {
    address: String,
    asked: Asked,
    /// Lets it break off.
    breaks: Arc<Notify>,
}

impl Service {
    async fn that_says(answers: Vec<Value>) -> Self {
        let asked = Asked::default();
        let answers = Arc::new(Mutex::new(answers.into_iter()));
        let recorded = asked.clone();
        let breaks = Arc::new(Notify::new());
        let broken = breaks.clone();
        let transcribe = move |headers: HeaderMap, body: Bytes| async move {
            recorded.lock().unwrap().push((headers, body));
            let answer = answers.lock().unwrap().next();
            answer.map_or(StatusCode::IM_A_TEAPOT.into_response(), |answer| answer.to_string().into_response())
        };
        let app = Router::new()
            .route("/v1/audio/transcriptions", post(transcribe))
            .route("/v1/audio/speech", post(speak))
            .route("/v1/models", get(async || json!({ "data": [{ "id": "whisper-1", "owned_by": "us" }] }).to_string()))
            .route("/code/{code}/audio/transcriptions", post(refuse))
            .route("/code/{code}/audio/speech", post(refuse))
            .route("/rubbish/audio/transcriptions", post(async || "no JSON, but hello"))
            .route("/slow/audio/transcriptions", post(async || std::future::pending::<String>().await))
            .route("/breaks/audio/speech", post(async || break_off(broken)))
            .with_state(asked.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, asked, breaks }
    }

    fn settings(&self, path: &str) -> Settings {
        let url = format!("http://{}/{path}", self.address).parse().unwrap();
        Settings { key: Some("geheim".into()), request_timeout: Duration::from_secs(1), ..Settings::new(url) }
    }

    fn recogniser(&self, path: &str) -> Recogniser {
        Recogniser::new(self.settings(path), reqwest::Client::new())
    }

    fn voice(&self, path: &str) -> Voice {
        Voice::new(self.settings(path), reqwest::Client::new())
    }

    fn asked(&self, index: usize) -> (HeaderMap, Bytes) {
        self.asked.lock().unwrap()[index].clone()
    }
}

/// Three pieces, cut within samples.
async fn speak(State(asked): State<Asked>, headers: HeaderMap, body: Bytes) -> Body {
    asked.lock().unwrap().push((headers, body));
    let pieces: [&[u8]; 3] = [&[1, 0, 2], &[0, 3], &[0]];
    Body::from_stream(stream::iter(pieces.map(|piece| Ok::<_, std::io::Error>(Bytes::from_static(piece)))))
}

async fn refuse(Path(code): Path<u16>) -> Response {
    let said = json!({ "error": { "message": "not 'call me on 555'" } }).to_string();
    (StatusCode::from_u16(code).unwrap(), said).into_response()
}

/// One sample, and the connection's end when it is let.
fn break_off(broken: Arc<Notify>) -> Body {
    let first = stream::iter([Ok(Bytes::from_static(&[7, 0]))]);
    let last = stream::once(async move {
        broken.notified().await;
        Err(std::io::Error::other("it broke"))
    });
    Body::from_stream(first.chain(last))
}

/// The value of a field of a form, or the bytes of its file.
fn field(body: &Bytes, name: &str) -> Option<Vec<u8>> {
    let find =
        |needle: &[u8], from: usize| body[from..].windows(needle.len()).position(|w| w == needle).map(|at| from + at);
    let named = find(format!("name=\"{name}\"").as_bytes(), 0)?;
    let begin = find(b"\r\n\r\n", named)? + 4;
    Some(body[begin..find(b"\r\n--", begin)?].to_vec())
}

fn text(body: &Bytes, name: &str) -> Option<String> {
    field(body, name).map(|bytes| String::from_utf8(bytes).unwrap())
}

#[tokio::test]
async fn utterances_are_asked_about_one_by_one() {
    let first = json!({
        "text": " Hello there. ",
        "language": "english",
        "words": [{ "word": "Hello", "start": 0.1, "end": 0.4 }, { "word": "there", "start": 0.5, "end": 99.0 }],
    });
    let service = Service::that_says(vec![first, json!({ "text": "Bye." })]).await;
    let recogniser = service.recogniser("v1");
    let wants = StreamOptions {
        language: Some("en-US".to_owned()),
        boosts: ["Asterisk", "Kamailio"].map(|phrase| Boost { phrase: phrase.to_owned(), weight: 1.0 }).into(),
        custom: [("temperature".to_owned(), "0".to_owned())].into(),
        ..options(SAMPLE_RATE_HZ)
    };
    let mut stream = recogniser.open(&wants).await.unwrap();
    // Silence is not asked about.
    stream.audio.send(Audio::Samples(vec![20; 4_000])).await.unwrap();
    stream.audio.send(Audio::EndOfUtterance).await.unwrap();
    // A pause ends the utterance; and so does whoever sends it.
    let said = [spoken(1), vec![0; 16_000]].concat();
    stream.audio.send(Audio::Samples(said.clone())).await.unwrap();
    let heard = timeout(PATIENCE, stream.heard.recv()).await.expect("it is made final at once").unwrap().unwrap();
    let cut = cut(&[vec![20; 4_000], said.clone(), spoken(1)].concat());
    let [begin_ms, end_ms] = utterance_ms(&cut[0]);
    assert_eq!(
        (heard.text.as_str(), heard.is_final, heard.language.as_deref()),
        ("Hello there.", true, Some("english"))
    );
    assert_eq!((heard.start_ms, heard.end_ms, heard.until_ms), (begin_ms + 100, end_ms, end_ms));
    assert_eq!(heard.words[1].start_ms, begin_ms + 500);

    let (heard, error) = hear(stream, &spoken(1)).await;
    assert_eq!((heard.len(), error), (1, None));
    let [begin_ms, end_ms] = utterance_ms(&cut[1]);
    assert_eq!((heard[0].text.as_str(), heard[0].start_ms, heard[0].until_ms), ("Bye.", begin_ms, end_ms));
    assert_eq!(service.asked.lock().unwrap().len(), 2);
    assert_eq!(recogniser.load().taken, 0);

    let (headers, body) = service.asked(0);
    assert_eq!(headers["authorization"], "Bearer geheim");
    for (name, value) in [
        ("model", "whisper-1"),
        ("response_format", "verbose_json"),
        ("timestamp_granularities[]", "word"),
        ("language", "en"),
        ("prompt", "Asterisk, Kamailio"),
        ("temperature", "0"),
    ] {
        assert_eq!(text(&body, name).as_deref(), Some(value), "{name}");
    }
    let file = aimg_audio::wav::WavReader::new(std::io::Cursor::new(field(&body, "file").unwrap())).unwrap();
    assert_eq!(file.format().sample_rate_hz(), SAMPLE_RATE_HZ);
    assert_eq!(file.into_channels().unwrap(), [cut[0].samples.clone()]);
}

#[tokio::test]
async fn an_utterance_without_end_is_cut() {
    let service = Service::that_says(vec![json!({ "text": "one" }), json!({ "text": "two" })]).await;
    let tone = spoken(30);
    let stream = service.recogniser("v1").open(&options(SAMPLE_RATE_HZ)).await.unwrap();
    let (heard, error) = hear(stream, &tone).await;
    assert_eq!(error, None);
    let places: Vec<_> = heard.iter().map(|one| (one.text.as_str(), [one.start_ms, one.until_ms])).collect();
    let cut: Vec<_> = cut(&tone).iter().map(utterance_ms).collect();
    assert_eq!(places, [("one", cut[0]), ("two", cut[1])]);
    assert!(cut[0][1] == cut[1][0] && cut[0][1] < 27_100, "{cut:?}");
}

#[tokio::test]
async fn a_rate_that_is_not_its_own_is_refused() {
    let service = Service::that_says(Vec::new()).await;
    let refused = service.recogniser("v1").open(&options(8_000)).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Invalid, "{refused}");
}

/// What the detector takes for voice: a low tone.
fn spoken(seconds: u32) -> Vec<i16> {
    let tone = |n: u32| ((f64::from(n) * 440.0 * TAU / f64::from(SAMPLE_RATE_HZ)).sin() * 8_000.0) as i16;
    (0..seconds * SAMPLE_RATE_HZ).map(tone).collect()
}

/// What the detector makes of a stream.
fn cut(samples: &[i16]) -> Vec<Utterance> {
    let (mut utterances, mut ended) = (Utterances::new(Cutting::default()), Vec::new());
    utterances.push(samples, &mut ended);
    ended.extend(utterances.end());
    ended
}

fn utterance_ms(utterance: &Utterance) -> [u64; 2] {
    [utterance.start, utterance.end()].map(|sample| sample * 1_000 / u64::from(SAMPLE_RATE_HZ))
}

async fn refusal(service: &Service, path: &str) -> Error {
    let stream = service.recogniser(path).open(&options(SAMPLE_RATE_HZ)).await.unwrap();
    hear(stream, &spoken(1)).await.1.expect("it is refused")
}

#[tokio::test]
async fn faults_say_whether_they_may_pass() {
    let service = Service::that_says(Vec::new()).await;
    for (code, kind) in [
        (400, ErrorKind::Invalid),
        (401, ErrorKind::Unauthorised),
        (403, ErrorKind::Unauthorised),
        (404, ErrorKind::Invalid),
        (408, ErrorKind::TimedOut),
        (422, ErrorKind::Invalid),
        (429, ErrorKind::Busy),
        (500, ErrorKind::Internal),
        (501, ErrorKind::Unsupported),
        (502, ErrorKind::Unreachable),
        (503, ErrorKind::Unreachable),
        (504, ErrorKind::TimedOut),
    ] {
        let path = format!("code/{code}");
        let heard = refusal(&service, &path).await;
        let spoken = service.voice(&path).speak("call me on 555", &VoiceOptions::default()).await.unwrap_err();
        assert_eq!((heard.kind, spoken.kind), (kind, kind), "{code}");
        assert!(heard.what.contains("(not 'call me on 555'): "), "{heard}");
        assert!(spoken.what.contains("(not '…'): "), "{spoken}");
    }
    let rubbish = refusal(&service, "rubbish").await;
    assert_eq!(rubbish.kind, ErrorKind::Invalid);
    assert!(!rubbish.what.contains("hello"), "{rubbish}");
    assert_eq!(refusal(&service, "slow").await.kind, ErrorKind::TimedOut);
    let nobody = Service { address: "127.0.0.1:1".to_owned(), ..service };
    let error = refusal(&nobody, "v1").await;
    assert_eq!(error.kind, ErrorKind::Unreachable);
    assert!(error.what.contains("Connection refused"), "{error}");
}

#[tokio::test]
async fn texts_are_spoken() {
    let service = Service::that_says(Vec::new()).await;
    let voice = service.voice("v1");
    let mut speech =
        voice.speak("Guten Tag", &VoiceOptions { voice: Some("nova".to_owned()), ..Default::default() }).await.unwrap();
    assert_eq!(speech.sample_rate_hz, 24_000);
    let mut samples = Vec::new();
    while let Some(piece) = timeout(PATIENCE, speech.audio.recv()).await.expect("it ends") {
        samples.extend(piece.unwrap());
    }
    assert_eq!(samples, [1, 2, 3]);
    let asked: Value = serde_json::from_slice(&service.asked(0).1).unwrap();
    assert_eq!(asked, json!({ "model": "tts-1", "input": "Guten Tag", "voice": "nova", "response_format": "pcm" }));

    let mut speech = service.voice("breaks").speak("Guten Tag", &VoiceOptions::default()).await.unwrap();
    let first = timeout(PATIENCE, speech.audio.recv()).await.expect("it begins to speak").unwrap();
    assert_eq!(first.unwrap(), [7]);
    service.breaks.notify_one();
    let error = timeout(PATIENCE, speech.audio.recv()).await.expect("it breaks off").unwrap().unwrap_err();
    assert_eq!(error.kind, ErrorKind::BrokenOff, "{error}");
    assert_eq!(voice.check().await.unwrap().models["whisper-1"]["owned_by"], "us");
}
