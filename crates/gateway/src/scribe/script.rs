//! One transcript as it is written: rows in the store, and news on the bus.

use std::time::Duration;

use aimg_cluster::Segment as Said;
use aimg_core::{Direction, PbxId, SessionRow, Timestamp, WebhookEvent};
use aimg_speech::pipeline::Segment;
use aimg_store::{Announcement, Change, SegmentRow, TranscriptRow, TranscriptState};
use serde_json::json;

use crate::herald::Herald;
use crate::journal::Journal;

/// Writes the segments of one transcript.
#[derive(Clone, Debug)]
pub(super) struct Script {
    journal: Journal,
    /// Nothing for what was said some time ago.
    herald: Option<Herald>,
    pub(super) row: TranscriptRow,
    pbx: PbxId,
    /// When the session began.
    started_at: Timestamp,
    dialled: Option<String>,
}

impl Script {
    /// Of a part of a session.
    pub(super) fn new(journal: Journal, herald: Option<Herald>, session: &SessionRow, row: TranscriptRow) -> Self {
        let SessionRow { pbx, started_at, .. } = *session;
        Self { journal, herald, row, pbx, started_at, dialled: session.dialled_number.clone() }
    }

    /// Begins.
    pub(super) async fn begin(&self) {
        self.journal.write(Change::Transcript(Box::new(self.row.clone()))).await;
    }

    /// Writes what was said by a side of the call, whose tape began at `origin`. A final segment is in the store afterwards.
    pub(super) async fn write(&self, speaker: Direction, origin: Timestamp, segment: Segment) {
        let row = self.segment(speaker, origin, segment);
        if let Some(herald) = &self.herald {
            let said = Said {
                dialled: self.dialled.clone(),
                speaker,
                start_ms: row.start_ms,
                end_ms: row.end_ms,
                text: row.text.clone(),
                confidence: row.confidence.map(|confidence| confidence as f32),
                is_final: row.is_final,
            };
            herald.segment(row.tenant, self.pbx, row.session, said);
        }
        if row.is_final {
            self.journal.write(Change::Segment(Box::new(row))).await;
        }
    }

    /// All of it is there, or nothing more will come.
    pub(super) async fn finish(self, now: Timestamp, failure: Option<String>) {
        finish(&self.journal, self.row, now, failure).await;
    }

    fn segment(&self, speaker: Direction, origin: Timestamp, segment: Segment) -> SegmentRow {
        let TranscriptRow { id, tenant, session, .. } = self.row;
        // The first samples may have come before the session was seen.
        let before_ms = self.started_at.since(origin).as_millis() as u64;
        let after_ms = origin.since(self.started_at).as_millis() as u64;
        let place = |ms: u64| (ms + after_ms).saturating_sub(before_ms);
        let mut words = segment.words;
        for word in &mut words {
            (word.start_ms, word.end_ms) = (place(word.start_ms), place(word.end_ms));
        }
        SegmentRow {
            tenant,
            session,
            transcript: id,
            number: number(speaker, segment.number),
            speaker,
            at: origin + Duration::from_millis(segment.start_ms),
            start_ms: place(segment.start_ms),
            end_ms: place(segment.end_ms),
            text: segment.text,
            confidence: segment.confidence.map(f64::from),
            words: (!words.is_empty()).then(|| json!(words)),
            is_final: segment.is_final,
        }
    }
}

/// Says of a transcript that all of it is there, or why nothing more will come.
pub(super) async fn finish(journal: &Journal, mut row: TranscriptRow, now: Timestamp, failure: Option<String>) {
    row.state = if failure.is_some() { TranscriptState::Failed } else { TranscriptState::Done };
    row.failure = failure;
    row.finished_at = Some(now);
    let TranscriptRow { id, tenant, session, part, state, .. } = row;
    let told = Announcement {
        tenant,
        event: WebhookEvent::TranscriptFinal,
        id: format!("transcript-{id}"),
        at: now,
        session: Some(session),
        data: json!({ "session": session, "transcript": id, "part": part, "state": state }),
    };
    journal.write(Change::Transcript(Box::new(row))).await;
    journal.push(Change::Announcement(Box::new(told)));
}

/// The number in the transcript of a direction's segment: each direction counts for itself.
pub(super) fn number(speaker: Direction, number: u32) -> u32 {
    number.saturating_mul(2).saturating_add(speaker.index() as u32)
}
