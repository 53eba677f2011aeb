//! Whatever a provider does, the transcript is word for word that of an undisturbed run.

use std::sync::Arc;
use std::time::Duration;

use aimg_core::TenantId;
use tokio::sync::mpsc;
use tokio::time::Instant;
use uuid::Uuid;

use super::scripted::{Behaviour, Ended, Script, Scripted, ScriptedTape, Talk, within_an_hour};
use super::{Config, Ending, Segment, Standing, Transcriber};
use crate::error::ErrorKind;
use crate::recognise::{SpeechToText, StreamOptions};

const SECOND: Duration = Duration::from_secs(1);

fn tenant(number: u128) -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(number))
}

fn ordinary() -> Behaviour {
    Behaviour::default()
}

fn refuses(kind: ErrorKind) -> Behaviour {
    Behaviour { refuses: Some(kind), ..ordinary() }
}

/// Two minutes of ordinary talk.
fn talk() -> Talk {
    let mut talk = Talk::default();
    talk.utterances(50);
    talk
}

struct Heard {
    ending: Ending,
    segments: Vec<Segment>,
    standing: Standing,
}

impl Heard {
    fn finals(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|segment| segment.is_final)
    }

    fn words(&self) -> Vec<(String, u64, u64)> {
        let words = self.finals().flat_map(|segment| &segment.words);
        words.map(|word| (word.word.clone(), word.start_ms, word.end_ms)).collect()
    }

    /// Every word once, whole, in order and in its place; segments numbered without gaps.
    fn is_undisturbed(&self, talk: &Talk, case: &str) {
        assert!(matches!(self.ending, Ending::Whole), "{case}: {:?}", self.ending);
        assert_eq!(self.words(), talk.1, "{case}");
        let mut number = 0;
        for segment in &self.segments {
            assert_eq!(segment.number, number, "{case}");
            number += u32::from(segment.is_final);
        }
    }
}

async fn run(
    tape: ScriptedTape,
    first: &Arc<Scripted>,
    second: Option<&Arc<Scripted>>,
    whose: TenantId,
    config: Config,
) -> Heard {
    let (told, mut segments) = mpsc::channel(4);
    let second = second.map(|second| Arc::clone(second) as Arc<dyn SpeechToText>);
    let options = StreamOptions::new(whose, 1);
    let transcriber = Transcriber::new(tape, Arc::clone(first) as _, second, options, config, told);
    let figures = transcriber.figures();
    let taking = async {
        let mut taken = Vec::new();
        while let Some(segment) = segments.recv().await {
            taken.push(segment);
        }
        taken
    };
    let ((ending, _), segments) = within_an_hour(async { tokio::join!(transcriber.run(), taking) }).await;
    Heard { ending, segments, standing: figures.standing() }
}

async fn alone(tape: ScriptedTape, provider: &Arc<Scripted>) -> Heard {
    run(tape, provider, None, tenant(1), Config::default()).await
}

#[tokio::test(start_paused = true)]
async fn what_is_said_is_told_once_and_in_its_place() {
    let talk = talk();
    let provider = Arc::new(Scripted::new("steady", 1, |_, _| ordinary()));
    let second = Arc::new(Scripted::new("second", 1, |_, _| ordinary()));
    let heard = run(talk.live(), &provider, Some(&second), tenant(1), Config::default()).await;
    heard.is_undisturbed(&talk, "live");
    assert_eq!(second.asked(), 0);
    assert_eq!(heard.finals().count(), 50);
    assert!(heard.segments.len() > 150, "each word but the last has an interim segment: {}", heard.segments.len());
    assert_eq!((heard.standing.retries, heard.standing.streams), (0, 1));
    // The provider ends an utterance 400 ms after its last word; the last one when the tape ends.
    let delay_ms = heard.standing.final_delay_ms_max;
    assert!((400..=520).contains(&delay_ms), "{delay_ms} ms");
    assert!(heard.standing.final_delay_ms_sum >= 49 * 400 && heard.standing.live_finals >= 49);
    assert_eq!(heard.standing.behind_ms, 0);
}

#[tokio::test(start_paused = true)]
async fn whatever_a_provider_does_no_word_is_lost_or_told_twice() {
    let talk = talk();
    let each = |behaviour: Behaviour| move |_, _| behaviour.clone();
    let first = |behaviour: Behaviour| move |n, _| if n == 0 { behaviour.clone() } else { ordinary() };
    let after = |ms| Some(Duration::from_millis(ms));
    let breaks = move |ms| Behaviour { breaks_after: after(ms), ..ordinary() };
    type Case = (&'static str, Box<Script>);
    let cases: Vec<Case> = vec![
        ("breaks off once", Box::new(first(breaks(31_400)))),
        ("drops every 5 s", Box::new(each(breaks(5_000)))),
        ("drops every 5 s and says nothing", Box::new(each(Behaviour { breaks_silently: true, ..breaks(5_000) }))),
        ("hangs", Box::new(first(Behaviour { deaf_after: after(20_300), ..ordinary() }))),
        ("hangs again and again", Box::new(each(Behaviour { deaf_after: after(20_300), ..ordinary() }))),
        ("takes nothing any more", Box::new(first(Behaviour { stuck_after: after(20_300), ..ordinary() }))),
        ("answers 6 s late", Box::new(each(Behaviour { late_by: 6 * SECOND, ..ordinary() }))),
        ("answers late and drops", Box::new(each(Behaviour { late_by: 2 * SECOND, ..breaks(9_000) }))),
        ("is slower than speech", Box::new(each(Behaviour { works_for: SECOND / 8, ..ordinary() }))),
        ("is busy at first", Box::new(|n, _| if n < 6 { refuses(ErrorKind::Busy) } else { ordinary() })),
        ("breaks at the end", Box::new(first(Behaviour { never_finishes: true, ..ordinary() }))),
        (
            "is away for two minutes",
            Box::new(move |_, at| match at.as_secs() {
                0..30 => breaks(30_000 - at.as_millis() as u64),
                30..150 => refuses(ErrorKind::Unreachable),
                _ => ordinary(),
            }),
        ),
    ];
    for (case, script) in cases {
        let provider = Arc::new(Scripted::new("faulty", 1, script));
        let heard = alone(talk.live(), &provider).await;
        heard.is_undisturbed(&talk, case);
        let is_a_failure = !matches!(case, "answers 6 s late" | "is slower than speech");
        assert_eq!(heard.standing.retries > 0, is_a_failure, "{case}: {:?}", heard.standing);
        tokio::task::yield_now().await;
        assert_eq!(provider.taken(), 0, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_caught_up_faster_than_it_was_said() {
    let talk = talk();
    let began_at = Instant::now();
    // Away for a minute, and then four times as fast as speech.
    let provider = Arc::new(Scripted::new("late", 1, |_, at| match at.as_secs() {
        0..60 => refuses(ErrorKind::Unreachable),
        _ => Behaviour { works_for: SECOND / 40, ..ordinary() },
    }));
    let heard = alone(talk.live(), &provider).await;
    heard.is_undisturbed(&talk, "caught up");
    let later_ms = began_at.elapsed().as_millis() as u64 - talk.ms();
    assert!(later_ms < 500, "it ends {later_ms} ms after the tape");
    assert!(heard.standing.final_delay_ms_max > 50_000, "{:?}", heard.standing);
}

#[tokio::test(start_paused = true)]
async fn the_second_provider_takes_over_and_the_first_gets_it_back() {
    let talk = talk();
    for (kind, attempts) in [(ErrorKind::Unreachable, 3), (ErrorKind::Unauthorised, 1)] {
        let second = Arc::new(Scripted::new("second", 1, |_, _| ordinary()));
        // The stream that is open at 40 s breaks, and the first provider is away when it is asked again.
        let breaking = Arc::new(Scripted::new("first", 1, move |n, at| match (n, at.as_secs()) {
            (0, _) => Behaviour { breaks_after: Some(40 * SECOND), ..ordinary() },
            (_, 40..80) => refuses(kind),
            _ => ordinary(),
        }));
        let heard = run(talk.live(), &breaking, Some(&second), tenant(1), Config::default()).await;
        heard.is_undisturbed(&talk, kind.name());
        let mut order: Vec<&str> = heard.finals().map(|segment| segment.provider.as_str()).collect();
        order.dedup();
        assert_eq!(order, ["first", "second", "first"], "{kind}");
        assert_eq!(heard.standing.changes, 2, "{kind}");
        // The break is the first failure; what lasts needs no second attempt.
        assert_eq!(breaking.asked(), attempts.max(2) + 1, "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_that_does_not_come_free_sends_to_the_second_provider() {
    let mut talk = Talk::default();
    talk.utterances(20);
    let full = Arc::new(Scripted::new("full", 0, |_, _| ordinary()));
    let second = Arc::new(Scripted::new("second", 1, |_, _| ordinary()));
    let heard = run(talk.live(), &full, Some(&second), tenant(1), Config::default()).await;
    heard.is_undisturbed(&talk, "full");
    assert!(heard.finals().all(|segment| segment.provider == "second"));
}

#[tokio::test(start_paused = true)]
async fn in_long_pauses_the_place_is_given_back() {
    let mut talk = Talk::default();
    talk.pause(30_000);
    talk.utterances(3);
    let pause = talk.ms()..talk.ms() + 90_000;
    talk.pause(90_000);
    talk.utterances(3);
    let provider = Arc::new(Scripted::new("steady", 1, |_, _| ordinary()));
    let running = tokio::spawn({
        let (provider, tape) = (provider.clone(), talk.live());
        async move { alone(tape, &provider).await }
    });
    let began_at = Instant::now();
    for (at_ms, taken) in [(29_000, 0), (32_000, 1), (pause.start + 5_000, 1), (pause.start + 9_000, 0), (pause.end, 0)]
    {
        tokio::time::sleep_until(began_at + Duration::from_millis(at_ms)).await;
        assert_eq!(provider.taken(), taken, "at {at_ms} ms");
    }
    let heard = running.await.unwrap();
    heard.is_undisturbed(&talk, "long pauses");
    assert_eq!((heard.standing.streams, heard.standing.retries), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_outlasts_the_stream_goes_on_in_the_next_one() {
    let mut restless = Talk::default();
    restless.pause(500);
    (0..700).for_each(|_| restless.word());
    restless.pause(500);
    let mut ordinary_talk = Talk::default();
    ordinary_talk.utterances(120);
    for (case, talk) in [("with pauses", ordinary_talk), ("without a pause", restless)] {
        let mut provider = Scripted::new("short", 1, |_, _| ordinary());
        provider.stream_max = Some(60 * SECOND);
        let provider = Arc::new(provider);
        for tape in [talk.live(), talk.kept()] {
            let heard = alone(tape, &provider).await;
            heard.is_undisturbed(&talk, case);
            assert_eq!(heard.standing.retries, 0, "{case}");
            assert!(heard.standing.streams >= talk.ms() / 60_000, "{case}: {:?}", heard.standing);
        }
        tokio::task::yield_now().await;
        for Ended { given_ms, during, .. } in &*provider.streams.lock().unwrap() {
            assert!(*given_ms <= 60_000 && during.end - during.start <= 60 * SECOND, "{case}: {given_ms} {during:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn fifty_calls_share_ten_streams_fairly() {
    let mut talk = Talk::default();
    talk.utterances(12);
    let provider = Arc::new(Scripted::new("narrow", 10, |_, _| ordinary()));
    let calls = (0..50).map(|call| {
        // One tenant of ten calls comes after one of forty.
        let whose = if call < 40 { tenant(1) } else { tenant(2) };
        let (provider, tape) = (provider.clone(), talk.live());
        tokio::spawn(async move { run(tape, &provider, None, whose, Config::default()).await })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap().is_undisturbed(&talk, "one of fifty");
    }
    let mut streams = std::mem::take(&mut *provider.streams.lock().unwrap());
    streams.sort_by_key(|stream| stream.during.start);
    assert_eq!(streams.len(), 50);
    let at_once = |at: Duration| streams.iter().filter(|stream| stream.during.contains(&at)).count();
    assert!(streams.iter().all(|stream| at_once(stream.during.start) <= 10));
    // Of the ten places that become free first, more go to whoever has fewer.
    let of_modest = streams[10..20].iter().filter(|stream| stream.tenant == tenant(2)).count();
    assert!(of_modest >= 5, "{of_modest} of the second ten");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_told_is_given_up_with_the_reason() {
    let mut talk = Talk::default();
    talk.utterances(4);
    let config = || Config { give_up_after: 90 * SECOND, ..Config::default() };
    // The end is seen, and the time found over, with an attempt: every 15 s at the latest.
    for (kind, waits_s) in [(ErrorKind::Unreachable, 90..121), (ErrorKind::Unauthorised, 0..16)] {
        let began_at = Instant::now();
        let provider = Arc::new(Scripted::new("gone", 1, move |_, _| refuses(kind)));
        let heard = run(talk.live(), &provider, None, tenant(1), config()).await;
        assert!(matches!(&heard.ending, Ending::GaveUp(error) if error.kind == kind), "{:?}", heard.ending);
        let later = (began_at.elapsed() - Duration::from_millis(talk.ms())).as_secs();
        assert!(waits_s.contains(&later), "{kind}: {later} s after the end");
        assert!(heard.segments.is_empty() && heard.standing.behind_ms > 5_000, "{:?}", heard.standing);
    }
}

#[tokio::test(start_paused = true)]
async fn noise_that_is_no_speech_does_not_stop_the_rest() {
    let mut talk = Talk::default();
    let provider = Arc::new(Scripted::new("steady", 1, |_, _| ordinary()));
    talk.noise(180_000);
    talk.utterances(5);
    let heard = alone(talk.live(), &provider).await;
    heard.is_undisturbed(&talk, "noise");
    assert!(heard.standing.streams > 3, "it was asked to finish: {:?}", heard.standing);
    assert_eq!(heard.standing.retries, 0);
}

#[tokio::test(start_paused = true)]
async fn who_stops_listening_ends_it() {
    let provider = Arc::new(Scripted::new("steady", 1, |_, _| ordinary()));
    let (told, mut segments) = mpsc::channel(1);
    let options = StreamOptions::new(tenant(1), 1);
    let transcriber = Transcriber::new(talk().live(), provider.clone() as _, None, options, Config::default(), told);
    let running = tokio::spawn(transcriber.run());
    segments.recv().await.unwrap();
    assert_eq!(provider.taken(), 1);
    drop(segments);
    assert!(matches!(within_an_hour(running).await.unwrap(), (Ending::Unheard, _)));
    tokio::time::sleep(SECOND).await;
    assert_eq!(provider.taken(), 0);
}
