//! Both sides of a part, transcribed beside each other.

use aimg_core::{Direction, Timestamp};
use aimg_speech::pipeline::{Config, Ending, Reached, Tape, Transcriber};
use aimg_speech::redact::Redactor;
use aimg_speech::{Error, ErrorKind};
use tokio::sync::mpsc;

use super::board::Board;
use super::script::Script;
use super::wishes::Wishes;

/// Segments that wait to be written, of each side; while there is no room, its tape waits.
const SEGMENTS_MAX: usize = 16;

/// What is transcribed, and by whom.
pub(super) struct Sides<T> {
    /// In the order of [`Direction::BOTH`].
    pub(super) tapes: [T; 2],
    /// Where each goes on.
    pub(super) from: [Reached; 2],
    pub(super) wishes: Wishes,
    pub(super) config: Config,
}

/// Follows both tapes to their ends. `origin` is asked, once something was said, when they begin.
pub(super) async fn transcribe<T: Tape>(
    board: &Board,
    script: &Script,
    sides: Sides<T>,
    origin: impl Fn() -> Timestamp,
) -> [(Ending, Reached); 2] {
    let Sides { tapes: [caller, callee], from, wishes, config } = sides;
    let side = |tape, speaker: Direction| {
        let (wishes, config, origin) = (wishes.clone(), config.clone(), &origin);
        let from = from[speaker.index()];
        async move {
            let Some(first) = wishes.first else {
                let what = "no recogniser is set up".to_owned();
                let error = Error { provider: script.row.provider.clone(), kind: ErrorKind::Unsupported, what };
                return (Ending::GaveUp(error), from);
            };
            let (told, mut segments) = mpsc::channel(SEGMENTS_MAX);
            let transcriber = Transcriber::new(tape, first, wishes.second, wishes.options, config, told).from(from);
            let _counted = board.transcribing(transcriber.figures());
            let mut redactor = wishes.redacts.then(Redactor::new);
            let writing = async {
                while let Some(mut segment) = segments.recv().await {
                    if let Some(redactor) = &mut redactor {
                        redactor.redact(&mut segment);
                    }
                    script.write(speaker, origin(), segment).await;
                }
            };
            tokio::join!(transcriber.run(), writing).0
        }
    };
    let (caller, callee) = tokio::join!(side(caller, Direction::Caller), side(callee, Direction::Callee));
    [caller, callee]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use aimg_cluster::{Bus, Limits, News};
    use aimg_core::{TenantScope, TranscriptId};
    use aimg_media::Clock;
    use aimg_speech::{Capabilities, Health, Hypothesis, Languages, SpeechToText, Stream, StreamOptions};
    use aimg_store::{Change, TranscriptRow, TranscriptState};
    use async_trait::async_trait;
    use uuid::Uuid;

    use super::super::roll::roll;
    use super::*;
    use crate::alarm::Alarms;
    use crate::fixture::{OPERATOR, store};
    use crate::herald::Herald;
    use crate::journal::Journal;

    const SAID: &str = "My card is 4242 4242 4242 4242 thanks.";

    /// Hears the same in whatever it is given, first for now and then for good.
    struct Parrot;

    #[async_trait]
    impl SpeechToText for Parrot {
        fn name(&self) -> &'static str {
            "parrot"
        }

        fn capabilities(&self) -> Capabilities {
            Capabilities {
                sample_rates_hz: vec![8_000],
                interim: true,
                word_times: false,
                speakers: false,
                end_of_utterance: false,
                languages: Languages::Any,
                streams_max: None,
                stream_max: None,
            }
        }

        async fn open(&self, _: &StreamOptions) -> aimg_speech::Result<Stream> {
            let (audio, mut given) = mpsc::channel(4);
            let (tells, heard) = mpsc::channel(4);
            tokio::spawn(async move {
                while given.recv().await.is_some() {}
                for is_final in [false, true] {
                    let heard = Hypothesis {
                        text: SAID.to_owned(),
                        is_final,
                        start_ms: 0,
                        end_ms: 900,
                        until_ms: 900,
                        confidence: None,
                        stability: None,
                        language: None,
                        words: Vec::new(),
                        alternatives: Vec::new(),
                    };
                    let _ = tells.send(Ok(heard)).await;
                }
            });
            Ok(Stream { audio, heard })
        }

        async fn check(&self) -> aimg_speech::Result<Health> {
            Ok(Health::default())
        }
    }

    #[tokio::test]
    async fn what_a_tenant_wants_masked_is_masked_live_and_in_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let (store, session) = store(dir.path()).await;
        let bus = Bus::start(Limits::default());
        let herald = Herald::new(bus.clone(), Clock::anchored());
        let journal = Journal::start(store.clone(), Alarms::default()).0;
        journal.write(Change::Session(Box::new(session.clone()))).await;
        for redacts in [false, true] {
            let row = TranscriptRow {
                id: TranscriptId::from_uuid(Uuid::now_v7()),
                tenant: session.tenant,
                session: session.id,
                part: 0,
                provider: "parrot".to_owned(),
                model: None,
                language: None,
                state: TranscriptState::Running,
                failure: None,
                created_at: session.started_at,
                finished_at: None,
            };
            let id = row.id;
            let script = Script::new(journal.clone(), Some(herald.clone()), &session, row);
            script.begin().await;
            let mut listener = bus.subscribe(TenantScope::Tenant(session.tenant));
            let tapes = [(); 2].map(|()| {
                let (roll, tape) = roll(8_000, Default::default());
                assert!(roll.write(0, &[8_000, -8_000].repeat(4_000)));
                roll.end();
                tape
            });
            let options = StreamOptions::new(session.tenant, 8_000);
            let wishes = Wishes { first: Some(Arc::new(Parrot)), second: None, options, redacts };
            let sides = Sides { tapes, from: [Reached::default(); 2], wishes, config: Config::default() };
            let ended = transcribe(&Board::default(), &script, sides, || session.started_at).await;
            assert!(ended.iter().all(|(ending, _)| matches!(ending, Ending::Whole)), "{ended:?}");

            let segments = store.transcript(OPERATOR, id).await.unwrap().segments;
            let mut texts: Vec<String> = segments.into_iter().map(|segment| segment.text).collect();
            assert_eq!(texts.len(), 2, "each side said it");
            let mut told = Vec::new();
            listener.take(|notice| matches!(notice.news, News::Segment(_)), &mut told);
            texts.extend(told.iter().filter_map(|told| match &told.notice.news {
                News::Segment(said) => Some(said.text.clone()),
                _ => None,
            }));
            assert_eq!(texts.len(), 6, "each side was told for now and for good: {texts:?}");
            for text in texts {
                assert_eq!(text, if redacts { "My card is [card] thanks." } else { SAID });
            }
        }
    }
}
