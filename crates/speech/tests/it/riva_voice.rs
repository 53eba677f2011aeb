//! What Riva speaks. The test's server says 10 ms of each character, as loud as its number.

use std::time::Duration;

use aimg_speech::riva::{Settings, Voice};
use aimg_speech::{Error, ErrorKind, Speech, TextToSpeech, VoiceOptions};
use serde_json::json;
use tokio::time::timeout;

use crate::fixture::{PATIENCE, RivaServer};

const TEXT: &str = "Guten Tag, it is 5 o'clock.";

fn by(voice: &str) -> VoiceOptions {
    VoiceOptions { voice: Some(voice.to_owned()), ..VoiceOptions::default() }
}

/// The text that is spoken, and what ended it.
async fn listen(mut speech: Speech) -> (String, Option<Error>) {
    let mut samples = Vec::new();
    let mut error = None;
    while let Some(piece) = timeout(PATIENCE, speech.audio.recv()).await.expect("it ends") {
        match piece {
            Ok(piece) => samples.extend(piece),
            Err(why) => error = Some(why),
        }
    }
    let each = speech.sample_rate_hz as usize / 100;
    let characters = samples.chunks_exact(each).map(|part| {
        assert!(part.iter().all(|&sample| sample == part[0]), "samples are in order");
        char::from(u8::try_from(part[0]).unwrap())
    });
    (characters.collect(), error)
}

#[tokio::test]
async fn texts_are_spoken_piece_by_piece_or_whole() {
    let mut server = RivaServer::start(json!({})).await;
    let settings = Settings { voice: Some("English.Female".to_owned()), ..server.settings() };
    let voice = Voice::new(settings).unwrap();
    let speech = voice.speak(TEXT, &VoiceOptions::default()).await.unwrap();
    assert_eq!(speech.sample_rate_hz, 16_000);
    assert_eq!(listen(speech).await, (TEXT.to_owned(), None));
    let record = server.record().await;
    let expected = json!({
        "text": TEXT,
        "language_code": "en-US",
        "encoding": "LINEAR_PCM",
        "sample_rate_hz": 16_000,
        "voice_name": "English.Female",
    });
    assert_eq!((&record["rpc"], &record["request"]), (&json!("SynthesizeOnline"), &expected));

    let wants = VoiceOptions { language: Some("de-DE".to_owned()), sample_rate_hz: Some(8_000), ..by("whole") };
    let speech = voice.speak(TEXT, &wants).await.unwrap();
    assert_eq!(speech.sample_rate_hz, 8_000);
    assert_eq!(listen(speech).await, (TEXT.to_owned(), None));
    let record = server.record().await;
    assert_eq!((&record["rpc"], &record["request"]["language_code"]), (&json!("Synthesize"), &json!("de-DE")));
    assert_eq!(voice.check().await.unwrap().models["test-voice"]["voice_name"], "Test");
}

#[tokio::test]
async fn speech_begins_before_it_is_made_and_can_be_stopped() {
    let mut server = RivaServer::start(json!({})).await;
    let voice = Voice::new(Settings { requests_max: 1, ..server.settings() }).unwrap();
    let mut speech = voice.speak(TEXT, &by("stops")).await.unwrap();
    let first = timeout(PATIENCE, speech.audio.recv()).await.expect("the first piece comes alone").unwrap().unwrap();
    assert_eq!(first.len(), 333 / 2);
    drop(speech);
    let record = server.record().await;
    assert_eq!(record["cancelled"], true, "Riva stops");
    // Its place is free.
    let next = timeout(PATIENCE, voice.speak("x", &VoiceOptions::default())).await.expect("there is a place").unwrap();
    assert_eq!(listen(next).await.0, "x");
}

#[tokio::test]
async fn what_was_spoken_before_a_fault_holds() {
    let server = RivaServer::start(json!({})).await;
    let voice = Voice::new(Settings { request_timeout: Duration::from_secs(1), ..server.settings() }).unwrap();
    let (spoken, error) = listen(voice.speak(TEXT, &by("breaks")).await.unwrap()).await;
    let error = error.unwrap();
    assert_eq!((spoken.as_str(), error.kind), ("G", ErrorKind::Internal));
    assert!(!error.what.contains("Guten"), "{error}");
    let error = voice.speak(TEXT, &by("hang")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::TimedOut);
    let (spoken, error) = listen(voice.speak(TEXT, &by("stops")).await.unwrap()).await;
    assert_eq!((spoken.as_str(), error.unwrap().kind), ("G", ErrorKind::TimedOut));
}
