//! What is told when Riva refuses, hangs, breaks off or is not there, and that it goes on when that is over.

use std::time::Duration;

use aimg_speech::riva::{Recogniser, Settings, Voice};
use aimg_speech::{Audio, ErrorKind, SpeechToText, TextToSpeech, VoiceOptions};
use serde_json::json;
use tokio::net::TcpListener;

use crate::fixture::{RivaServer, audio, fault, hear, options, rest};

/// Every code of gRPC but OK.
const CODES: [(u8, ErrorKind); 16] = [
    (1, ErrorKind::BrokenOff),
    (2, ErrorKind::Internal),
    (3, ErrorKind::Invalid),
    (4, ErrorKind::TimedOut),
    (5, ErrorKind::Invalid),
    (6, ErrorKind::Invalid),
    (7, ErrorKind::Unauthorised),
    (8, ErrorKind::Busy),
    (9, ErrorKind::Invalid),
    (10, ErrorKind::BrokenOff),
    (11, ErrorKind::Invalid),
    (12, ErrorKind::Unsupported),
    (13, ErrorKind::Internal),
    (14, ErrorKind::Unreachable),
    (15, ErrorKind::Internal),
    (16, ErrorKind::Unauthorised),
];

fn impatient(server: &RivaServer) -> Settings {
    Settings { request_timeout: Duration::from_secs(1), ..server.settings() }
}

#[tokio::test]
async fn every_code_is_told_with_its_cure() {
    let server = RivaServer::start(json!({})).await;
    let (recogniser, voice) = (Recogniser::new(server.settings()).unwrap(), Voice::new(server.settings()).unwrap());
    for (code, kind) in CODES {
        let asked = format!("code {code}");
        let (heard, streamed) = hear(recogniser.open(&fault(&asked)).await.unwrap(), &audio(8_000, 200, &[])).await;
        let whole = recogniser.recognise(&fault(&asked), &[0; 800]).await.unwrap_err();
        let spoken =
            voice.speak("hello", &VoiceOptions { voice: Some(asked), ..VoiceOptions::default() }).await.unwrap_err();
        assert_eq!(heard, []);
        for error in [streamed.expect("it is refused"), whole, spoken] {
            assert_eq!(error.kind, kind, "code {code}: {error}");
            assert!(error.what.contains("(as it was asked to): "), "{error}");
            assert!(error.what.starts_with("127.0.0.1:"), "{error}");
        }
    }
    assert_eq!(recogniser.load().taken, 0);
}

#[tokio::test]
async fn a_server_that_hangs_is_noticed() {
    let server = RivaServer::start(json!({})).await;
    let recogniser = Recogniser::new(impatient(&server)).unwrap();
    // It takes no audio: more than the buffers between us hold.
    let (_, error) = hear(recogniser.open(&fault("hang")).await.unwrap(), &vec![0; 4 << 20]).await;
    assert_eq!(error.unwrap().kind, ErrorKind::TimedOut);
    // It takes all and says nothing.
    let (heard, error) =
        hear(recogniser.open(&fault("deaf")).await.unwrap(), &audio(8_000, 200, &[(0, 100, 4_000)])).await;
    assert_eq!((heard.len(), error.unwrap().kind), (0, ErrorKind::TimedOut));
    let error = recogniser.recognise(&fault("hang"), &[0; 800]).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::TimedOut);
    assert!(error.what.contains("RIVA_REQUEST_TIMEOUT"), "{error}");
    assert_eq!(recogniser.load().taken, 0);
}

#[tokio::test]
async fn a_stream_that_is_dropped_says_how_far_it_came() {
    let server = RivaServer::that_says(&["one"]).await;
    let recogniser = Recogniser::new(server.settings()).unwrap();
    let stream = recogniser.open(&fault("drop")).await.unwrap();
    stream.audio.send(Audio::Samples(audio(8_000, 1_000, &[(100, 300, 4_000)]))).await.unwrap();
    // There would be more to say.
    let (heard, error) = rest(stream.heard).await;
    assert_eq!(error.unwrap().kind, ErrorKind::BrokenOff);
    let last = heard.last().unwrap();
    assert!(last.is_final && (400..=700).contains(&last.until_ms), "{last:?}");
}

#[tokio::test]
async fn a_server_that_dies_is_found_again() {
    let mut server = RivaServer::that_says(&["one"]).await;
    let recogniser = Recogniser::new(server.settings()).unwrap();
    let stream = recogniser.open(&options(8_000)).await.unwrap();
    assert_eq!(recogniser.check().await.unwrap().models["test-en-US"]["type"], "online");
    server.kill().await;
    let (_, error) = rest(stream.heard).await;
    let error = error.expect("it broke off");
    assert!(error.kind.may_pass(), "{error}");
    let error = recogniser.open(&options(8_000)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable);
    assert!(error.what.contains("Connection refused") && error.what.contains("RIVA_ASR_URI"), "{error}");

    let _again = RivaServer::start(json!({ "port": server.port, "words": ["two"] })).await;
    let (heard, error) =
        hear(recogniser.open(&options(8_000)).await.unwrap(), &audio(8_000, 700, &[(0, 100, 4_000)])).await;
    assert_eq!((heard.last().unwrap().text.as_str(), error), ("two", None));
    assert_eq!(recogniser.load().taken, 0);
}

#[tokio::test]
async fn who_does_not_answer_is_not_waited_for() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://127.0.0.1:{}", silent.local_addr().unwrap().port());
    let mut settings = Settings::new(address.parse().unwrap());
    settings.connect_timeout = Duration::from_millis(300);
    let error = Recogniser::new(settings).unwrap().open(&options(8_000)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable);
    assert!(error.what.contains("RIVA_CONNECTION_TIMEOUT"), "{error}");
}
