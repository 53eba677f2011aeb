//! The local recogniser on real speech.

use std::time::Duration;

use aimg_core::TenantId;
use aimg_speech::local::{Config, LocalRecogniser};
use aimg_speech::vad::{Cutting, SAMPLE_RATE_HZ, Utterance, Utterances};
use aimg_speech::{Audio, ErrorKind, Hypothesis, Languages, SpeechToText, StreamOptions};
use aimg_testbed::WordErrors;
use uuid::Uuid;

use crate::model::model;
use crate::speech::{PROMPTS, Played, RATE_HZ, heard, played};

fn tenant() -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(1))
}

async fn recogniser() -> LocalRecogniser {
    LocalRecogniser::start(Config::new("local", model().await)).unwrap()
}

fn options() -> StreamOptions {
    StreamOptions { interim: false, ..StreamOptions::new(tenant(), RATE_HZ) }
}

/// Cut into utterances, in pieces of so many samples.
fn utterances(samples: &[i16], piece: usize) -> Vec<Utterance> {
    // Every sample twice: not what the product does, but the detector does not mind.
    let wide: Vec<i16> = samples.iter().flat_map(|&sample| [sample, sample]).collect();
    let mut utterances = Utterances::new(Cutting::default());
    let mut ended = Vec::new();
    wide.chunks(piece).for_each(|piece| utterances.push(piece, &mut ended));
    ended.extend(utterances.end());
    ended
}

fn utterance_ms(utterance: &Utterance) -> [u64; 2] {
    [utterance.start, utterance.end()].map(|sample| sample * 1_000 / u64::from(SAMPLE_RATE_HZ))
}

#[test]
fn prompts_are_cut_where_they_begin_and_end() {
    let (samples, played) = played(&PROMPTS, 1_200);
    let found = utterances(&samples, 320);
    for prompt in &played {
        let within = |utterance: &&Utterance| {
            let [start, end] = utterance_ms(utterance);
            start < prompt.end_ms && end > prompt.start_ms
        };
        let [first, last] = [found.iter().find(within), found.iter().rev().find(within)].map(Option::unwrap);
        // Whatever is said is in it, and little else: prompts have some silence of their own at their ends.
        let (start, end) = (utterance_ms(first)[0], utterance_ms(last)[1]);
        assert!(start.abs_diff(prompt.start_ms) < 450 && end.abs_diff(prompt.end_ms) < 700, "{}", prompt.text);
    }
    let in_silence = found.iter().filter(|utterance| {
        let [start, end] = utterance_ms(utterance);
        !played.iter().any(|prompt| start < prompt.end_ms && end > prompt.start_ms)
    });
    assert_eq!(in_silence.count(), 0);
    for piece in [1, 255, 4_096, usize::MAX / 2] {
        assert_eq!(utterances(&samples, piece), found, "in pieces of {piece}");
    }
}

#[test]
fn who_never_pauses_is_cut_between_words() {
    let (samples, played) = played(&["demo-congrats"], 0);
    let cutting = Cutting { silence_ms: 5_000, utterance_max_ms: 9_000, ..Cutting::default() };
    let wide: Vec<i16> = samples.iter().flat_map(|&sample| [sample, sample]).collect();
    let (mut utterances, mut ended) = (Utterances::new(cutting), Vec::new());
    utterances.push(&wide, &mut ended);
    ended.extend(utterances.end());
    assert!(ended.len() > 2, "{} utterances of {} ms", ended.len(), played[0].end_ms);
    assert!(ended.windows(2).all(|pair| pair[0].end() == pair[1].start));
    let loudness = |samples: &[i16]| samples.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / samples.len() as f64;
    for utterance in &ended[..ended.len() - 1] {
        assert!(utterance.samples.len() <= 9_100 * 16);
        // What is around a cut is quieter than speech.
        let at = utterance.end() as usize;
        assert!(loudness(&wide[at - 800..at + 800]) < loudness(&wide) / 4.0, "at {at}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prompts_are_understood_with_the_times_of_words() {
    let local = recogniser().await;
    let (samples, played) = played(&PROMPTS, 1_200);
    let heard = heard(&local, &options(), &samples).await;
    assert!(heard.iter().all(|hypothesis| hypothesis.is_final));
    let within = |prompt: &Played, ms: u64| (prompt.start_ms.saturating_sub(400)..prompt.end_ms + 400).contains(&ms);
    let mut all = WordErrors::default();
    for prompt in &played {
        let text = |hypothesis: &Hypothesis| within(prompt, hypothesis.start_ms).then(|| hypothesis.text.clone());
        let text = heard.iter().filter_map(text).collect::<Vec<_>>().join(" ");
        let errors = WordErrors::between(&prompt.text, &text);
        println!("{}/{} {} | {text}", errors.errors, errors.words, prompt.text);
        all += errors;
    }
    assert!(all.words > 80 && all.rate() <= 0.08, "{all:?}: {:.3}", all.rate());

    let mut until_ms = 0;
    for hypothesis in &heard {
        assert!(hypothesis.start_ms >= until_ms, "in order and without overlap");
        until_ms = hypothesis.until_ms;
        assert!(hypothesis.end_ms <= until_ms && hypothesis.confidence.unwrap() > 0.3);
        let prompt = played.iter().find(|prompt| within(prompt, hypothesis.start_ms)).unwrap();
        let mut before_ms = hypothesis.start_ms;
        for word in &hypothesis.words {
            assert!(word.start_ms >= before_ms && within(prompt, word.end_ms), "{word:?}");
            before_ms = word.start_ms;
        }
        let text = hypothesis.words.iter().map(|word| word.word.as_str()).collect::<Vec<_>>().join(" ");
        assert_eq!(text, hypothesis.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_utterance_grows_and_ends_when_it_is_told_to() {
    let local = recogniser().await;
    let (samples, _) = played(&["vm-record-prepend"], 100);
    let mut stream = local.open(&StreamOptions::new(tenant(), RATE_HZ)).await.unwrap();
    let (mut interims, mut sent) = (Vec::new(), samples.chunks(RATE_HZ as usize));
    // A second at a time, and no more before its text has come.
    while let Some(second) = sent.next().filter(|second| second.len() == RATE_HZ as usize) {
        for packet in second.chunks(160) {
            stream.audio.send(Audio::Samples(packet.to_vec())).await.unwrap();
        }
        interims.push(stream.heard.recv().await.unwrap().unwrap());
    }
    stream.audio.send(Audio::EndOfUtterance).await.unwrap();
    let last = stream.heard.recv().await.unwrap().unwrap();
    assert!(interims.len() >= 3 && interims.iter().all(|interim| !interim.is_final), "{interims:?}");
    assert!(interims.windows(2).all(|pair| pair[0].text.len() < pair[1].text.len()), "{interims:?}");
    assert!(last.is_final && last.until_ms > 3_000, "{last:?}");
    drop(stream.audio);
    assert!(stream.heard.recv().await.is_none());
    let is_free = async {
        while local.load().taken > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), is_free).await.expect("its place is given back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_has_no_text_and_wrong_wishes_are_refused() {
    let local = recogniser().await;
    let faint: Vec<i16> = (0..RATE_HZ as i32 * 5).map(|n| (n * 7_919 % 13 - 6) as i16).collect();
    assert_eq!(heard(&local, &options(), &faint).await, []);
    assert_eq!(heard(&local, &options(), &[]).await, []);
    for wrong in [
        StreamOptions { sample_rate_hz: 11_025, ..options() },
        StreamOptions { language: Some("de-DE".to_owned()), ..options() },
        StreamOptions { language: Some("klingon".to_owned()), ..options() },
    ] {
        assert_eq!(local.open(&wrong).await.unwrap_err().kind, ErrorKind::Invalid, "{wrong:?}");
    }
    let damaged = tempfile::NamedTempFile::new().unwrap();
    let refused = LocalRecogniser::start(Config::new("local", damaged.path())).unwrap_err();
    assert!(refused.kind == ErrorKind::Invalid && refused.what.contains("aimg models verify"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_is_loaded_with_the_first_stream_and_not_before() {
    // It begins as a model does, with the number of tokens of a multilingual one, and goes away.
    let gone = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(gone.path(), [0x6c, 0x6d, 0x67, 0x67, 0x99, 0xca, 0, 0]).unwrap();
    let config = Config::new("local", gone.path());
    let local = LocalRecogniser::new(config.clone()).unwrap();
    assert_eq!(local.capabilities().languages, Languages::Any);
    drop(gone);
    let refused = local.open(&options()).await.unwrap_err();
    assert!(refused.kind == ErrorKind::Invalid && refused.what.contains("cannot be loaded"), "{refused}");
    assert_eq!(local.check().await.unwrap_err(), refused);
    assert_eq!(LocalRecogniser::start(config).unwrap_err().kind, ErrorKind::Invalid);
    assert_eq!(local.load().taken, 0);

    let local = LocalRecogniser::new(Config { workers: 1, ..Config::new("local", model().await) }).unwrap();
    let (samples, played) = played(&["vm-dialout"], 700);
    let text: Vec<String> = heard(&local, &options(), &samples).await.into_iter().map(|heard| heard.text).collect();
    assert!(WordErrors::between(&played[0].text, &text.join(" ")).errors <= 1, "{text:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_with_many_streams_does_not_keep_another_waiting() {
    let mut config = Config::new("local", model().await);
    config.workers = 1;
    let local = std::sync::Arc::new(LocalRecogniser::start(config).unwrap());
    let (samples, _) = played(&["vm-dialout"], 700);
    let order = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut streams = Vec::new();
    for number in 0..7_u128 {
        // Six of the first tenant, then one of the second.
        let tenant = TenantId::from_uuid(Uuid::from_u128(number / 6 + 1));
        let options = StreamOptions { tenant, ..options() };
        let stream = local.open(&options).await.unwrap();
        for packet in samples.chunks(RATE_HZ as usize) {
            stream.audio.send(Audio::Samples(packet.to_vec())).await.unwrap();
        }
        let order = std::sync::Arc::clone(&order);
        streams.push(tokio::spawn(async move {
            let mut stream = stream;
            drop(stream.audio);
            assert!(stream.heard.recv().await.unwrap().unwrap().text.contains("connect"));
            order.lock().unwrap().push(number);
        }));
    }
    for stream in streams {
        stream.await.unwrap();
    }
    let order = order.lock().unwrap();
    let place = order.iter().position(|&number| number == 6).unwrap();
    assert!(place <= 3, "the second tenant was heard after {place} of the first: {order:?}");
}
