//! Transcripts that are owed: broken off, left by an earlier run, or asked for again. They are made from the recording.
//!
//! What is owed stands in the store, as a transcript that is running. So it is not forgotten, whatever ends this process.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

use aimg_core::{Backoff, Direction, SessionRow, TenantScope, Timestamp, TranscriptId};
use aimg_recording::Certificate;
use aimg_speech::pipeline::{Config, Ending, Reached, Recorded, Tape};
use aimg_store::{RecordingRow, SegmentRow, TranscriptRow};
use tokio::task::JoinSet;

use super::Scribe;
use super::live::scope;
use super::script::{Script, finish};
use super::sides::{Sides, transcribe};
use super::wishes::Wishes;

/// How often it is looked what is owed.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// When a transcript whose recording was not there is looked at again.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(3);
/// Transcripts that are looked at together.
const LOOKED_AT_MAX: u64 = 256;
/// Recordings that are transcribed at once.
const AT_ONCE_MAX: usize = 2;
/// A recording that is not there so long after its call's end will not come.
const RECORDING_PATIENCE: Duration = Duration::from_hours(24);
/// A recogniser that does not answer for so long is asked again later, so that others have their turn.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);
/// A packet holds the audio before its arrival.
const PACKET: Duration = Duration::from_millis(20);

/// What became of an attempt.
#[derive(Debug)]
enum Outcome {
    /// It is done, or nothing will ever come of it.
    Settled,
    /// Its recording is not there yet.
    TooEarly,
    /// The recogniser cannot do it now.
    Later,
}

/// When each is tried again.
#[derive(Default)]
struct Waiting(HashMap<TranscriptId, (Instant, Backoff)>);

impl Waiting {
    fn is_due(&self, id: TranscriptId, now: Instant) -> bool {
        self.0.get(&id).is_none_or(|(at, _)| *at <= now)
    }

    /// Its recording is not there yet: nothing is gained by waiting longer each time.
    fn look_again(&mut self, id: TranscriptId) {
        let (at, _) = self.entry(id);
        *at = Instant::now() + LOOK_AGAIN_AFTER;
    }

    /// It failed: it is tried again, each time later.
    fn put_off(&mut self, id: TranscriptId) {
        let (at, backoff) = self.entry(id);
        *at = Instant::now() + backoff.failed(rand::random());
    }

    fn entry(&mut self, id: TranscriptId) -> &mut (Instant, Backoff) {
        let backoff = || Backoff::new(Duration::from_secs(5), Duration::from_secs(300));
        self.0.entry(id).or_insert_with(|| (Instant::now(), backoff()))
    }
}

/// Makes what is owed, until it is aborted.
pub(super) async fn work(scribe: Scribe) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut waiting = Waiting::default();
    let mut at_work = HashSet::new();
    let mut attempts = JoinSet::new();
    loop {
        tokio::select! {
            _ = look.tick() => {}
            Some(ended) = attempts.join_next() => {
                // An attempt that panicked is told by its panic; it is tried at the next start.
                let Ok((id, outcome)) = ended else { continue };
                at_work.remove(&id);
                match outcome {
                    Outcome::Settled => {
                        scribe.board.settle(id);
                        waiting.0.remove(&id);
                    }
                    Outcome::TooEarly => waiting.look_again(id),
                    Outcome::Later => waiting.put_off(id),
                }
            }
        }
        let Ok(owed) =
            scribe.parts.store.unfinished_transcripts(TenantScope::Operator, &scribe.parts.node, LOOKED_AT_MAX).await
        else {
            continue;
        };
        let owed: Vec<_> = owed.into_iter().filter(|row| !scribe.board.is_live(row.id)).collect();
        scribe.board.owed(owed.len() as u64);
        let there: HashSet<_> = owed.iter().map(|row| row.id).collect();
        waiting.0.retain(|id, _| there.contains(id));
        let now = Instant::now();
        for row in owed {
            if attempts.len() >= AT_ONCE_MAX {
                break;
            }
            if waiting.is_due(row.id, now) && at_work.insert(row.id) {
                let scribe = scribe.clone();
                attempts.spawn(async move { (row.id, Box::pin(attempt(scribe, row)).await) });
            }
        }
    }
}

/// Makes one of them.
async fn attempt(scribe: Scribe, row: TranscriptRow) -> Outcome {
    match prepare(&scribe, &row).await {
        Ok(Prepared::Ready(ready)) => make(&scribe, row, *ready).await,
        Ok(Prepared::TooEarly) => Outcome::TooEarly,
        Ok(Prepared::Never(why)) => {
            finish(&scribe.parts.journal, row, scribe.parts.clock.now(), Some(why)).await;
            Outcome::Settled
        }
        // The call was removed, and its transcripts with it.
        Err(aimg_store::Error::NotFound { .. }) => Outcome::Settled,
        Err(error) => {
            tracing::debug!(transcript.id = %row.id, %error, "a transcript that is owed cannot be looked at");
            Outcome::Later
        }
    }
}

enum Prepared {
    Ready(Box<Ready>),
    TooEarly,
    Never(String),
}

struct Ready {
    session: SessionRow,
    origin: Timestamp,
    tapes: [Recorded; 2],
    from: [Reached; 2],
    wishes: Wishes,
}

/// Finds all that is needed.
async fn prepare(scribe: &Scribe, row: &TranscriptRow) -> Result<Prepared, aimg_store::Error> {
    let store = &scribe.parts.store;
    let session = store.session(scope(row), row.session).await?.session.row;
    let recording = match store.recording(scope(row), row.session, row.part).await {
        Ok(recording) => recording,
        Err(aimg_store::Error::NotFound { .. }) => {
            let over = session.ended_at.map(|at| scribe.parts.clock.now().since(at));
            let never = over.is_some_and(|since| since > RECORDING_PATIENCE);
            let why = || "its recording is not there: it was removed, or never finished".to_owned();
            return Ok(if never { Prepared::Never(why()) } else { Prepared::TooEarly });
        }
        Err(error) => return Err(error),
    };
    let tapes = match open(&scribe.parts.recordings_dir.join(&recording.path)).await {
        Ok(tapes) => tapes,
        Err(error) => return Ok(Prepared::Never(format!("its recording cannot be read: {error}"))),
    };
    let mut wishes = Wishes::of(store, &scribe.parts.providers, row.tenant).await?;
    match scribe.parts.providers.recogniser(&row.provider) {
        Some(provider) => wishes.first = Some(provider.clone()),
        None if wishes.first.is_none() => {
            let why = format!("recogniser `{}` is not set up, nor is another one", row.provider);
            return Ok(Prepared::Never(why));
        }
        None => {}
    }
    wishes.second = wishes.second.filter(|second| second.name() != row.provider);
    wishes.options.language.clone_from(&row.language);
    wishes.options.model.clone_from(&row.model);
    // Nobody is told of interim texts.
    wishes.options.interim = false;
    let origin = origin_of(&recording);
    let from = match scribe.board.reached(row.id) {
        Some(from) => from,
        None => {
            let segments = store.transcript(scope(row), row.id).await?.segments;
            Direction::BOTH.map(|side| reached(&segments, side, &session, origin, tapes[0].sample_rate_hz()))
        }
    };
    Ok(Prepared::Ready(Box::new(Ready { session, origin, tapes, from, wishes })))
}

async fn open(path: &Path) -> std::io::Result<[Recorded; 2]> {
    let path = path.to_owned();
    let tapes = tokio::task::spawn_blocking(move || Recorded::open(&path)).await.map_err(std::io::Error::other)??;
    tapes.try_into().map_err(|tapes: Vec<_>| std::io::Error::other(format!("it has {} channels", tapes.len())))
}

/// When the recording's first sample was spoken.
fn origin_of(recording: &RecordingRow) -> Timestamp {
    let Ok(certificate) = serde_json::from_value::<Certificate>(recording.certificate.clone()) else {
        return recording.created_at;
    };
    let firsts = [certificate.caller.first_packet_at, certificate.callee.first_packet_at];
    let first = firsts.into_iter().flatten().min();
    first.map_or(certificate.opened_at, |at| Timestamp::from_micros(at.as_micros() - PACKET.as_micros() as i64))
}

/// How far one side of a transcript came, as far as the store knows.
fn reached(segments: &[SegmentRow], side: Direction, session: &SessionRow, origin: Timestamp, rate_hz: u32) -> Reached {
    let finals = || segments.iter().filter(|segment| segment.is_final && segment.speaker == side);
    let after_ms = origin.since(session.started_at).as_millis() as u64;
    let before_ms = session.started_at.since(origin).as_millis() as u64;
    let told_ms = finals().map(|segment| segment.end_ms).max();
    let told_ms = told_ms.map_or(0, |end_ms| (end_ms + before_ms).saturating_sub(after_ms));
    let number = finals().map(|segment| segment.number / 2 + 1).max().unwrap_or(0);
    Reached { told: told_ms * u64::from(rate_hz) / 1_000, number }
}

/// Transcribes what is left of a recording.
async fn make(scribe: &Scribe, row: TranscriptRow, ready: Ready) -> Outcome {
    let Ready { session, origin, tapes, from, wishes } = ready;
    let (id, part) = (row.id, row.part);
    let script = Script::new(scribe.parts.journal.clone(), None, &session, row);
    let config = Config { give_up_after: GIVE_UP_AFTER, ..Config::default() };
    let sides = Sides { tapes, from, wishes, config };
    let ended = transcribe(&scribe.board, &script, sides, || origin).await;
    scribe.board.owe(id, ended.each_ref().map(|(_, reached)| *reached));
    let mut later = None;
    for (ending, _) in ended {
        match ending {
            Ending::Whole => {}
            Ending::GaveUp(error) if error.kind.may_pass() => later = Some(error.to_string()),
            Ending::GaveUp(error) => {
                script.finish(scribe.parts.clock.now(), Some(error.to_string())).await;
                return Outcome::Settled;
            }
            Ending::Unreadable(error) => {
                let why = format!("its recording cannot be read: {error}");
                script.finish(scribe.parts.clock.now(), Some(why)).await;
                return Outcome::Settled;
            }
            Ending::Unheard => later = Some("nobody wrote it down".to_owned()),
        }
    }
    if let Some(why) = later {
        tracing::warn!(session.id = %session.id, part, why, "a transcript has to wait, and is tried again");
        return Outcome::Later;
    }
    script.finish(scribe.parts.clock.now(), None).await;
    Outcome::Settled
}
