//! `aimg speech`.

use std::time::Duration;

use aimg_speech::riva::{Recogniser, Voice};
use aimg_speech::{Health, SpeechToText, TextToSpeech};
use serde::Serialize;

use crate::exit::Usage;
use crate::output::{Output, table};
use crate::settings::Settings;

/// Longer than a service needs to say what it has, and shorter than it may take to recognise an hour.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// One service as shown.
#[derive(Debug, Serialize)]
struct Line {
    service: &'static str,
    /// What is wrong with it.
    error: Option<String>,
    #[serde(flatten)]
    health: Health,
}

pub(crate) async fn run(settings: &Settings, output: Output) -> anyhow::Result<()> {
    let mut riva =
        settings.riva.clone().ok_or_else(|| Usage("no speech service is set up: set RIVA_ASR_URI".to_owned()))?;
    riva.request_timeout = riva.request_timeout.min(ANSWERS_WITHIN);
    riva.connect_timeout = riva.connect_timeout.min(ANSWERS_WITHIN);
    let (recogniser, voice) = (Recogniser::new(riva.clone())?, Voice::new(riva)?);
    let (recognises, speaks) = tokio::join!(recogniser.check(), voice.check());
    let checked = [("riva recognises", recognises), ("riva speaks", speaks)];

    let lines = checked.each_ref().map(|(service, outcome)| Line {
        service,
        error: outcome.as_ref().err().map(|error| error.what.clone()),
        health: outcome.clone().unwrap_or_default(),
    });
    output.print(&lines, |lines| table(["SERVICE", "STATE", "MODELS"], lines.iter().map(Line::cells)))?;
    for (_, outcome) in checked {
        outcome?;
    }
    Ok(())
}

impl Line {
    fn cells(&self) -> [String; 3] {
        let state = match &self.error {
            Some(error) => error.clone(),
            None => format!("answered after {} ms", self.health.answered_after_ms),
        };
        let models: Vec<&str> = self.health.models.keys().map(String::as_str).collect();
        [self.service.to_owned(), state, models.join(", ")]
    }
}
