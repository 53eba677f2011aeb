//! What is said to Riva and what is heard: words with their times, speakers, ends of utterances, codings and chunks.

use aimg_audio::g711::{ulaw_decode, ulaw_encode};
use aimg_speech::riva::Recogniser;
use aimg_speech::{Audio, Boost, Hypothesis, SpeechToText, StreamOptions};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::fixture::{PATIENCE, RivaServer, audio, hear, options, tenant};

/// Times are told in frames of 10 ms.
const EXACT_MS: u64 = 10;

/// Three words, a pause of 800 ms, two words.
const LOUD: [(u32, u32, i16); 5] =
    [(500, 700, 4_000), (800, 1_000, 4_000), (1_100, 1_400, 4_000), (2_200, 2_300, 20_000), (2_450, 2_600, 20_000)];

fn finals(heard: &[Hypothesis]) -> Vec<&Hypothesis> {
    heard.iter().filter(|one| one.is_final).collect()
}

fn texts<'a>(heard: &[&'a Hypothesis]) -> Vec<&'a str> {
    heard.iter().map(|one| one.text.as_str()).collect()
}

fn sent(record: &Value) -> Vec<u8> {
    STANDARD.decode(record["audio"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn words_come_as_they_are_said_and_where() {
    let mut server = RivaServer::that_says(&["one", "two", "three", "four", "five"]).await;
    let recogniser = Recogniser::new(server.settings()).unwrap();
    let samples = audio(8_000, 3_050, &LOUD);
    let wants = StreamOptions {
        speakers_max: Some(2),
        boosts: vec![Boost { phrase: "five".to_owned(), weight: 10.0 }],
        custom: [("stop_history".to_owned(), "400".to_owned()), ("own".to_owned(), "x".to_owned())].into(),
        ..options(8_000)
    };
    let (heard, error) = hear(recogniser.open(&wants).await.unwrap(), &samples).await;
    assert_eq!(error, None);

    let interims: Vec<&Hypothesis> = heard.iter().filter(|one| !one.is_final).collect();
    assert_eq!(texts(&interims), ["one", "one two", "one two three", "four", "four five"]);
    assert_eq!(interims[1].stability, Some(0.1));
    let finals = finals(&heard);
    assert_eq!(texts(&finals), ["one two three", "four five"]);
    assert_eq!(finals[0].alternatives, ["one two three 0", "one two three 1"]);
    assert_eq!((finals[0].confidence, finals[0].language.as_deref()), (Some(0.9), Some("en-US")));

    let words = finals.iter().flat_map(|one| &one.words);
    for (word, (begin_ms, end_ms, level)) in words.clone().zip(LOUD) {
        assert!(word.start_ms.abs_diff(begin_ms.into()) <= EXACT_MS, "{word:?}");
        assert!(word.end_ms.abs_diff(end_ms.into()) <= EXACT_MS, "{word:?}");
        assert_eq!(word.speaker, Some(if level > 10_000 { 2 } else { 1 }));
    }
    assert_eq!(words.count(), 5);
    // The first is told until the middle of the 400 ms after its last word.
    assert!((1_500..=1_700).contains(&finals[0].until_ms), "{}", finals[0].until_ms);
    assert!((2_200..=2_210).contains(&finals[1].start_ms));

    let record = server.record().await;
    let expected = json!({
        "config": {
            "encoding": "LINEAR_PCM",
            "sample_rate_hertz": 8_000,
            "language_code": "en-US",
            "max_alternatives": 3,
            "profanity_filter": true,
            "speech_contexts": [{ "phrases": ["five"], "boost": 10.0 }],
            "audio_channel_count": 1,
            "enable_word_time_offsets": true,
            "enable_automatic_punctuation": true,
            "diarization_config": { "enable_speaker_diarization": true, "max_speaker_count": 2 },
            "custom_configuration": { "own": "x" },
            "endpointing_config": { "stop_history": 400 },
        },
        "interim_results": true,
    });
    assert_eq!(record["config"], expected);
    let mut chunks = vec![1_600; 30];
    chunks.push(800);
    assert_eq!(record["chunks"], json!(chunks), "100 ms each, and the rest");
    let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    assert!(sent(&record) == bytes, "what was said is what it got");
}

#[tokio::test]
async fn an_end_of_utterance_is_told_and_the_stream_goes_on() {
    let mut server = RivaServer::that_says(&["one", "two"]).await;
    let recogniser = Recogniser::new(server.settings()).unwrap();
    let mut stream = recogniser.open(&StreamOptions { interim: false, ..options(8_000) }).await.unwrap();
    for _ in 0..2 {
        stream.audio.send(Audio::Samples(audio(8_000, 250, &[(0, 200, 4_000)]))).await.unwrap();
        stream.audio.send(Audio::EndOfUtterance).await.unwrap();
        let heard = timeout(PATIENCE, stream.heard.recv()).await.expect("it is made final at once").unwrap().unwrap();
        assert!(heard.is_final);
    }
    drop(stream);
    let record = server.record().await;
    assert_eq!(record["forced"], json!([4_000, 8_000]));
    assert_eq!(record["chunks"], json!([1_600, 1_600, 800, 1_600, 1_600, 800]));
    assert_eq!(record["config"].get("interim_results"), None, "none are wanted");
}

#[tokio::test]
async fn codings_and_chunks_are_as_they_are_set() {
    let mut server = RivaServer::that_says(&["hi"]).await;
    let mut settings = server.settings();
    (settings.ulaw, settings.chunk_samples, settings.word_times) = (true, Some(1_024), false);
    let recogniser = Recogniser::new(settings).unwrap();
    let samples: Vec<i16> =
        audio(8_000, 1_000, &[(300, 500, 4_000)]).into_iter().map(|s| ulaw_decode(ulaw_encode(s))).collect();
    let (heard, error) = hear(recogniser.open(&options(8_000)).await.unwrap(), &samples).await;
    assert_eq!(error, None);
    let finals = finals(&heard);
    assert_eq!(texts(&finals), ["hi"]);
    assert_eq!(
        (finals[0].words.len(), finals[0].start_ms, finals[0].until_ms),
        (0, 0, 1_000),
        "as far as it can be told"
    );
    let record = server.record().await;
    assert_eq!(record["config"]["config"]["encoding"], "MULAW");
    assert_eq!(record["chunks"], json!([1_024, 1_024, 1_024, 1_024, 1_024, 1_024, 1_024, 832]));
    let decoded: Vec<i16> = sent(&record).into_iter().map(ulaw_decode).collect();
    assert!(decoded == samples, "nothing is lost");

    // µ-law is for phones only.
    let wide = audio(16_000, 500, &[(100, 200, 4_000)]);
    hear(recogniser.open(&options(16_000)).await.unwrap(), &wide).await;
    assert_eq!(server.record().await["config"]["config"]["encoding"], "LINEAR_PCM");
}

#[tokio::test]
async fn whole_recordings_are_recognised_in_one_request() {
    let mut server = RivaServer::that_says(&["one", "two", "three", "four", "five"]).await;
    let mut settings = server.settings();
    settings.audio_bytes_max = 50_000;
    let recogniser = Recogniser::new(settings).unwrap();
    let samples = audio(8_000, 3_050, &LOUD);
    let heard = recogniser.recognise(&options(8_000), &samples).await.unwrap();
    assert_eq!(texts(&finals(&heard)), ["one two three", "four five"]);
    assert!(heard[1].start_ms.abs_diff(2_200) <= EXACT_MS);
    assert_eq!(sent(&server.record().await).len(), samples.len() * 2);

    let error = recogniser.recognise(&options(8_000), &vec![0; 25_001]).await.unwrap_err();
    assert!(error.what.contains("TRANSCRIPTION_MAX_AUDIO_SIZE"), "{error}");
}

#[tokio::test]
async fn any_recogniser_can_stand_behind_the_server() {
    // Counts the bytes that it gets: 200 ms at 8 kHz.
    let counts = json!({ "recogniser": ["sh", "-c", "echo rate $0 bytes $(wc -c)"] });
    let server = RivaServer::start(counts).await;
    let recogniser = Recogniser::new(server.settings()).unwrap();
    let (heard, error) =
        hear(recogniser.open(&options(8_000)).await.unwrap(), &audio(8_000, 900, &[(100, 300, 4_000)])).await;
    assert_eq!(error, None);
    assert_eq!(texts(&finals(&heard)), ["rate 8000 bytes 3200"]);
}

#[tokio::test]
async fn places_are_given_back_and_waited_for() {
    let server = RivaServer::that_says(&["one"]).await;
    let mut settings = server.settings();
    settings.requests_max = 1;
    let recogniser = Recogniser::new(settings).unwrap();
    let first = recogniser.open(&options(8_000)).await.unwrap();
    let wants = StreamOptions::new(tenant(2), 8_000);
    let mut second = Box::pin(recogniser.open(&wants));
    let waits = tokio::select! {
        biased;
        _ = &mut second => false,
        // By then it has asked for its place.
        () = tokio::task::yield_now() => true,
    };
    assert!(waits);
    assert_eq!((recogniser.load().taken, recogniser.load().waiting), (1, 1));
    // Nobody listens to the first any more.
    drop(first.heard);
    let second = timeout(PATIENCE, second).await.expect("its place is given back").unwrap();
    let (heard, error) = hear(second, &audio(8_000, 700, &[(0, 100, 4_000)])).await;
    assert_eq!((finals(&heard).len(), error), (1, None));
    assert_eq!(recogniser.load().waiting, 0);
}
