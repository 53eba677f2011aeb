//! `aimg session …`.

use std::fmt::Write;

use aimg_core::{TenantScope, Timestamp};
use aimg_recording::Certificate;
use aimg_store::SessionDetail;

use super::read_store;
use crate::cli::Session;
use crate::output::{Output, table};
use crate::settings::Settings;

pub(crate) async fn run(settings: &Settings, output: Output, command: Session) -> anyhow::Result<()> {
    let Session::Show { id } = command;
    let store = read_store(settings).await?;
    let detail = store.session(TenantScope::Operator, id).await?;
    output.print(&detail, |detail| shown(detail, settings))
}

fn shown(detail: &SessionDetail, settings: &Settings) -> String {
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

fn answered(started: Timestamp, answered: Option<Timestamp>) -> String {
    answered.map_or_else(|| "not answered".to_owned(), |at| format!("answered {} after", after(started, at)))
}

fn after(start: Timestamp, at: Timestamp) -> String {
    format!("{:.3} s", at.since(start).as_secs_f64())
}
