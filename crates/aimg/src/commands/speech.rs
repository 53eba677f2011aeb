//! `aimg speech`.

use std::time::Duration;

use aimg_speech::{Error, ErrorKind, Health};
use futures_util::future::join_all;
use serde::Serialize;

use crate::exit::Usage;
use crate::output::{Output, table};
use crate::providers::{self, Built, LOCAL};
use crate::settings::Settings;

/// Longer than a service needs to say what it has, and shorter than it may take to recognise an hour.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// One side of a provider as shown.
#[derive(Debug, Serialize)]
struct Line {
    provider: String,
    does: Does,
    /// What is wrong with it.
    error: Option<String>,
    #[serde(flatten)]
    health: Health,
}

/// What a provider is asked for.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Does {
    Recognise,
    Speak,
}

pub(crate) async fn run(settings: &Settings, output: Output) -> anyhow::Result<()> {
    let Built { providers, unusable } = providers::build(settings);
    let (recognisers, voices) = (providers.recognisers(), providers.voices());
    let (heard, spoken) = tokio::join!(
        join_all(recognisers.iter().map(|one| within(one.name(), one.check()))),
        join_all(voices.iter().map(|one| within(one.name(), one.check()))),
    );
    let recognisers = recognisers.iter().map(|one| (one.name(), Does::Recognise)).zip(heard);
    let voices = voices.iter().map(|one| (one.name(), Does::Speak)).zip(spoken);
    let asked: Vec<_> = recognisers.chain(voices).collect();

    let mut lines: Vec<Line> = asked.iter().map(|((name, does), outcome)| Line::new(name, *does, outcome)).collect();
    lines.extend(unusable.iter().map(|one| Line {
        provider: one.provider.to_owned(),
        does: Does::Recognise,
        error: Some(format!("{:#}", one.error)),
        health: Health::default(),
    }));
    output.print(&lines, |lines| table(["PROVIDER", "IS TO", "STATE", "MODELS"], lines.iter().map(Line::cells)))?;

    for (_, outcome) in asked {
        outcome?;
    }
    // Who has another recogniser may well do without the local one.
    let has_other = !providers.recognisers().is_empty();
    match unusable.into_iter().find(|one| one.provider != LOCAL || !has_other) {
        Some(one) => Err(one.error),
        None if has_other => Ok(()),
        None => Err(Usage("nobody recognises speech: see docs/speech.md".to_owned()).into()),
    }
}

async fn within(
    provider: &str,
    check: impl Future<Output = aimg_speech::Result<Health>>,
) -> aimg_speech::Result<Health> {
    match tokio::time::timeout(ANSWERS_WITHIN, check).await {
        Ok(answer) => answer,
        Err(_) => Err(Error {
            provider: provider.to_owned(),
            kind: ErrorKind::TimedOut,
            what: format!("no answer within {} s", ANSWERS_WITHIN.as_secs()),
        }),
    }
}

impl Line {
    fn new(provider: &str, does: Does, outcome: &aimg_speech::Result<Health>) -> Self {
        let error = outcome.as_ref().err().map(|error| format!("{}: {}", error.kind, error.what));
        Self { provider: provider.to_owned(), does, error, health: outcome.clone().unwrap_or_default() }
    }

    fn cells(&self) -> [String; 4] {
        let does = match self.does {
            Does::Recognise => "recognise",
            Does::Speak => "speak",
        };
        let state = match &self.error {
            Some(error) => error.clone(),
            None => format!("answered after {} ms", self.health.answered_after_ms),
        };
        let models: Vec<&str> = self.health.models.keys().map(String::as_str).collect();
        [self.provider.clone(), does.to_owned(), state, models.join(", ")]
    }
}
