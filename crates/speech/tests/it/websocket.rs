//! Services over a WebSocket: what they are sent, what they answer, their faults, and what the pipeline makes of those.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use aimg_speech::pipeline::{Config, Ending, Length, Segment, Tape, Transcriber};
use aimg_speech::websocket::{Preset, Protocol, Recogniser, Settings};
use aimg_speech::{Audio, Boost, Error, ErrorKind, SpeechToText, StreamOptions};
use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::fixture::{PATIENCE, hear, options, rest};
use crate::websocket_server::{Fault, Service};

const PRESETS: [Preset; 2] = [Preset::Deepgram, Preset::AssemblyAi];

/// Stretches of one level: (level, length in ms), at 8 kHz.
fn said(stretches: &[(i16, usize)]) -> Vec<i16> {
    stretches.iter().flat_map(|(level, ms)| std::iter::repeat_n(*level, ms * 8)).collect()
}

fn recogniser(service: &Service) -> Recogniser {
    Recogniser::new(service.settings("")).unwrap()
}

#[tokio::test]
async fn what_is_said_is_heard_in_its_place() {
    for preset in PRESETS {
        let service = Service::of(preset, Fault::None).await;
        let recogniser = recogniser(&service);
        let wants = StreamOptions {
            language: Some("en-US".to_owned()),
            boosts: ["Asterisk", "Acme Widget"].map(|phrase| Boost { phrase: phrase.to_owned(), weight: 1.0 }).into(),
            custom: [("tag".to_owned(), "a b".to_owned())].into(),
            ..options(8_000)
        };
        let stream = recogniser.open(&wants).await.unwrap();
        assert_eq!(recogniser.load().taken, 1);
        let audio = said(&[(0, 200), (700, 300), (0, 100), (900, 210), (0, 400), (800, 300), (0, 33)]);
        let (heard, error) = hear(stream, &audio).await;
        assert_eq!(error, None, "{preset:?}");
        let finals: Vec<_> = heard.iter().filter(|one| one.is_final).collect();
        let places: Vec<_> = finals.iter().map(|one| (one.text.as_str(), one.start_ms, one.end_ms)).collect();
        assert_eq!(places, [("700 900", 200, 810), ("800", 1_210, 1_510)], "{preset:?}");
        assert!((810..=1_110).contains(&finals[0].until_ms), "{preset:?}: {}", finals[0].until_ms);
        assert_eq!((finals[0].words[1].start_ms, finals[0].words[1].confidence), (600, Some(0.5)));
        assert!(heard.iter().any(|one| !one.is_final && one.text == "700"), "{preset:?}: interim texts come too");
        assert_eq!(recogniser.load().taken, 0);

        let asked = service.asked(0);
        let (wanted, token, farewell, sent_ms) = match preset {
            Preset::Deepgram => (
                "/listen?model=nova-3&language=en-US&encoding=linear16&sample_rate=8000&channels=1&interim_results=true\
                 &punctuate=true&keyterm=Asterisk&keyterm=Acme%20Widget&tag=a%20b",
                "Token geheim",
                r#"{"type":"CloseStream"}"#,
                1_543,
            ),
            _ => (
                "/listen?speech_model=u3-rt-pro&sample_rate=8000&encoding=pcm_s16le\
                 &keyterms_prompt=%5B%22Asterisk%22%2C%22Acme%20Widget%22%5D&tag=a%20b",
                "geheim",
                r#"{"type":"Terminate"}"#,
                // 43 ms are left for the last message, which must have 50.
                1_550,
            ),
        };
        assert_eq!((asked.address.as_str(), asked.authorization.as_str()), (wanted, token));
        assert_eq!((asked.texts, asked.audio_ms), (vec![farewell.to_owned()], sent_ms), "{preset:?}");
        assert!(recogniser.check().await.unwrap().models.len() == 1, "{preset:?}");
    }
}

#[tokio::test]
async fn utterances_are_made_final_and_pauses_kept_alive() {
    let service = Service::of(Preset::Deepgram, Fault::None).await;
    let recogniser = Recogniser::new(service.settings("keep_alive_s = 1")).unwrap();
    let mut stream = recogniser.open(&options(8_000)).await.unwrap();
    stream.audio.send(Audio::Samples(said(&[(0, 100), (700, 330), (0, 20)]))).await.unwrap();
    stream.audio.send(Audio::EndOfUtterance).await.unwrap();
    let heard = async {
        loop {
            let one = stream.heard.recv().await.unwrap().unwrap();
            if one.is_final {
                return one;
            }
        }
    };
    let heard = timeout(PATIENCE, heard).await.expect("it is made final at once");
    assert_eq!((heard.text.as_str(), heard.start_ms, heard.end_ms), ("700", 100, 430));
    let kept_alive = async {
        while !service.asked(0).texts.iter().any(|text| text.contains("KeepAlive")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, kept_alive).await.expect("it is kept alive");
    assert_eq!(service.asked(0).texts[0], r#"{"type":"Finalize"}"#);
    drop(stream.audio);
    assert_eq!(rest(stream.heard).await.1, None);
}

#[tokio::test]
async fn audio_can_go_as_text_and_silence_keep_alive() {
    // In the words of a third service: all of it is overrides.
    let service = Service::of(Preset::Deepgram, Fault::None).await;
    let overrides = "keep_alive_s = 1\nkeep_alive_message = ''\naudio_message = '{\"audio\":\"{audio}\"}'\n\
                     first_message = '{\"rate\":{rate},\"language\":\"{language}\"}'";
    let recogniser = Recogniser::new(service.settings(overrides)).unwrap();
    let stream = recogniser.open(&options(8_000)).await.unwrap();
    stream.audio.send(Audio::Samples(said(&[(258, 100)]))).await.unwrap();
    let all = async {
        while service.asked(0).texts.len() < 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, all).await.expect("it gets the first message, audio, and silence");
    let texts = service.asked(0).texts;
    assert_eq!(texts[0], r#"{"rate":8000,"language":""}"#);
    assert!(texts[1].starts_with(r#"{"audio":"AgECAQIB"#) && texts[2].starts_with(r#"{"audio":"AAAAAAAA"#));
}

async fn failure(service: &Service, samples: &[i16]) -> Error {
    let recogniser = recogniser(service);
    let error = match recogniser.open(&options(8_000)).await {
        Ok(stream) => hear(stream, samples).await.1.expect("it fails"),
        Err(error) => error,
    };
    let freed = async {
        while recogniser.load().taken > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, freed).await.expect("the place is given back");
    error
}

#[tokio::test]
async fn faults_say_whether_they_may_pass() {
    let audio = said(&[(700, 300), (0, 300)]);
    for preset in PRESETS {
        for (fault, kind, says) in [
            (Fault::Breaks(200), ErrorKind::BrokenOff, "closing handshake"),
            (Fault::Silent, ErrorKind::TimedOut, "did not tell the rest"),
            (Fault::Garbage, ErrorKind::Internal, "no JSON"),
            (Fault::Says("too many streams for geheim"), ErrorKind::Busy, "too many streams for …"),
            (Fault::Says("Invalid credentials"), ErrorKind::Unauthorised, "set the key"),
            (Fault::Closes(1011), ErrorKind::Internal, "1011 `NET-0001`"),
            (Fault::Closes(1000), ErrorKind::BrokenOff, "before it said that all was told"),
            (Fault::Refuses(401), ErrorKind::Unauthorised, "401"),
            (Fault::Refuses(429), ErrorKind::Busy, "429"),
            (Fault::Refuses(503), ErrorKind::Unreachable, "503"),
        ] {
            let service = Service::of(preset, fault).await;
            let error = failure(&service, &audio).await;
            assert_eq!(error.kind, kind, "{preset:?} {fault:?}: {error}");
            assert!(error.what.contains(says), "{preset:?} {fault:?}: {error}");
            assert!(!error.what.contains("geheim") && !error.what.contains("secret words"), "{error}");
        }
    }
}

#[tokio::test]
async fn who_takes_no_audio_is_given_up() {
    let service = Service::of(Preset::Deepgram, Fault::Deaf).await;
    // More than the kernel keeps for it.
    let error = failure(&service, &vec![700; 10 << 20]).await;
    assert_eq!(error.kind, ErrorKind::TimedOut, "{error}");
    assert!(error.what.contains("took no audio"), "{error}");
    // The other one says first that it is ready.
    let service = Service::of(Preset::AssemblyAi, Fault::Deaf).await;
    let error = failure(&service, &[]).await;
    assert!(error.kind == ErrorKind::TimedOut && error.what.contains("not ready"), "{error}");
    // A port at which nobody listens.
    let mut nobody = service;
    nobody.port = 1;
    assert_eq!(failure(&nobody, &[]).await.kind, ErrorKind::Unreachable);
}

#[tokio::test]
async fn only_whom_we_trust_gets_audio() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (dir.path().join("certificate"), dir.path().join("key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let acceptor = TlsAcceptor::from(aimg_tls::server_config(&certificate, &key).unwrap());
    let service = Service::start(Preset::Deepgram, Fault::None, Some(acceptor)).await;
    let settings = service.settings("");
    let url = settings.protocol.url.replace("ws://127.0.0.1", "wss://localhost");
    let settings = Settings { protocol: Protocol { url, ..settings.protocol }, ..settings };
    let strangers = Recogniser::new(settings.clone()).unwrap();
    let error = strangers.open(&options(8_000)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
    let trusting = Recogniser::new(Settings { authorities: Some(certificate), ..settings }).unwrap();
    let stream = trusting.open(&options(8_000)).await.unwrap();
    let (heard, error) = hear(stream, &said(&[(700, 300), (0, 100)])).await;
    assert_eq!((heard.last().map(|one| one.text.as_str()), error), (Some("700"), None));
}

/// A tape that is complete.
struct Kept(Arc<Vec<i16>>);

#[async_trait]
impl Tape for Kept {
    fn sample_rate_hz(&self) -> u32 {
        8_000
    }

    fn length(&self) -> Length {
        Length { samples: self.0.len() as u64, is_complete: true }
    }

    async fn read(&mut self, from: u64, samples_max: usize) -> io::Result<Vec<i16>> {
        Ok(self.0[from as usize..].iter().take(samples_max).copied().collect())
    }
}

/// So many utterances of three words, each word a level of its own; and the words with their places.
fn talk(utterances: i16) -> (Vec<i16>, Vec<(String, u64, u64)>) {
    let (mut stretches, mut words, mut ms) = (vec![(0, 500)], Vec::new(), 500);
    for utterance in 0..utterances {
        for word in 0..3 {
            let level = 1_000 + 30 * utterance + 10 * word;
            let length = 160 + 40 * (utterance as usize % 4);
            stretches.extend([(level, length), (0, 80)]);
            words.push((level.to_string(), ms, ms + length as u64));
            ms += length as u64 + 80;
        }
        stretches.push((0, 620));
        ms += 620;
    }
    (said(&stretches), words)
}

#[tokio::test]
async fn a_connection_that_breaks_every_few_seconds_costs_no_word() {
    let (samples, words) = talk(40);
    for (preset, fault) in PRESETS.into_iter().flat_map(|p| [(p, Fault::None), (p, Fault::Breaks(4_100))]) {
        let service = Service::of(preset, fault).await;
        let recogniser = Arc::new(recogniser(&service));
        let (told, mut segments) = mpsc::channel(4);
        let config = Config {
            backoff: aimg_core::Backoff::new(Duration::from_millis(1), Duration::from_millis(10)),
            ..Config::default()
        };
        let tape = Kept(Arc::new(samples.clone()));
        let transcriber = Transcriber::new(tape, recogniser, None, options(8_000), config, told);
        let taking = async {
            let mut taken: Vec<Segment> = Vec::new();
            while let Some(segment) = segments.recv().await {
                taken.push(segment);
            }
            taken
        };
        let both = async { tokio::join!(transcriber.run(), taking) };
        let ((ending, _), segments) = timeout(PATIENCE, both).await.expect("it comes to an end");
        assert!(matches!(ending, Ending::Whole), "{preset:?} {fault:?}: {ending:?}");
        let finals = segments.iter().filter(|segment| segment.is_final);
        let heard: Vec<_> = finals
            .flat_map(|segment| &segment.words)
            .map(|word| (word.word.clone(), word.start_ms, word.end_ms))
            .collect();
        assert_eq!(heard, words, "{preset:?} {fault:?}");
        let streams = service.asked.lock().unwrap().len();
        assert_eq!(streams > 10, fault != Fault::None, "{preset:?} {fault:?}: {streams} streams");
    }
}
