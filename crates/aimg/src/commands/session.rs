//! `aimg session …`.

use std::fmt::Write;

use aimg_core::{TenantScope, Timestamp};
use aimg_recording::Certificate;
use aimg_speech::subtitles::{self, Line};
use aimg_store::{SegmentRow, SessionDetail, TranscriptDetail, TranscriptRow};
use serde::Serialize;

use super::read_store;
use crate::cli::Session;
use crate::output::{Output, table};
use crate::settings::Settings;

pub(crate) async fn run(settings: &Settings, output: Output, command: Session) -> anyhow::Result<()> {
    let Session::Show { id } = command;
    let store = read_store(settings).await?;
    let detail = store.session(TenantScope::Operator, id).await?;
    let transcripts = store.session_transcripts(TenantScope::Operator, id).await?;
    output.print(&Shown { detail, transcripts }, |Shown { detail, transcripts }| shown(detail, transcripts, settings))
}

/// A session and its text.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    detail: SessionDetail,
    /// The newest of each part.
    transcripts: Vec<TranscriptDetail>,
}

fn shown(detail: &SessionDetail, transcripts: &[TranscriptDetail], settings: &Settings) -> String {
    let row = &detail.session.row;
    let from = row.caller_number.as_deref().unwrap_or("unknown");
    let to = row.dialled_number.as_deref().unwrap_or("unknown");
    let mut text =
        format!("session {}: {} call from {from} to {to}, {}\n", row.id, row.call_direction.name(), row.state);
    let _ = writeln!(text, "  detected {}, {}", row.started_at, answered(row.started_at, row.answered_at));

    let legs = detail.legs.iter().map(|l| {
        let left = l.left_at.map_or_else(|| "-".to_owned(), |at| after(row.started_at, at));
        let cause = l.hangup_cause.map_or_else(String::new, |c| c.to_string());
        [l.name.clone(), l.uniqueid.to_string(), after(row.started_at, l.joined_at), left, cause]
    });
    let _ = writeln!(text, "\n{}", table(["LEG", "UNIQUEID", "JOINED", "LEFT", "CAUSE"], legs));

    let events = detail.events.iter().map(|e| [after(row.started_at, e.at), e.kind.to_string()]);
    let _ = writeln!(text, "\n{}", table(["AFTER", "EVENT"], events));

    for TranscriptDetail { transcript, segments } in transcripts {
        let TranscriptRow { part, provider, state, .. } = transcript;
        let state = transcript.failure.as_deref().unwrap_or_else(|| state.name());
        let _ = writeln!(text, "\nwhat was said in part {part}, as {provider} heard it ({state})");
        text.push_str(&subtitles::lines(segments.iter().map(line)));
    }

    for recording in &detail.recordings {
        let path = settings.recordings_dir.join(&recording.path);
        let _ = writeln!(text, "\nrecording {}", path.display());
        match serde_json::from_value::<Certificate>(recording.certificate.clone()) {
            Ok(certificate) => text.push_str(&certificate.in_words()),
            Err(error) => {
                let _ = writeln!(text, "  its certificate cannot be read: {error}");
            }
        }
    }
    if let (Some(live), true) = (&detail.session.live, detail.recordings.is_empty()) {
        let _ = writeln!(text, "\nbeing captured: {live}");
    }
    text
}

fn line(segment: &SegmentRow) -> Line<'_> {
    let SegmentRow { start_ms, end_ms, speaker, text, .. } = segment;
    Line { start_ms: *start_ms, end_ms: *end_ms, speaker: Some(speaker.name()), text }
}

fn answered(started: Timestamp, answered: Option<Timestamp>) -> String {
    answered.map_or_else(|| "not answered".to_owned(), |at| format!("answered {} after", after(started, at)))
}

fn after(start: Timestamp, at: Timestamp) -> String {
    format!("{:.3} s", at.since(start).as_secs_f64())
}
