//! `aimg transcribe`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use aimg_core::TenantId;
use aimg_speech::cache::{Cache, Key};
use aimg_speech::file::{FileError, Progress as Done, Recording, Transcript};
use aimg_speech::subtitles::{self, Line};
use aimg_speech::{SpeechToText, StreamOptions};
use anyhow::Context;
use serde::Serialize;
use uuid::Uuid;

use crate::cli::{Transcribe, TranscriptFormat};
use crate::exit::Usage;
use crate::output::Output;
use crate::progress::Progress;
use crate::providers::{self, Built};
use crate::settings::Settings;

/// A transcript as shown.
#[derive(Debug, Serialize)]
struct Shown {
    file: PathBuf,
    /// Whether it was made before.
    is_cached: bool,
    #[serde(flatten)]
    transcript: Transcript,
}

pub(crate) async fn run(settings: &Settings, output: Output, what: Transcribe) -> anyhow::Result<()> {
    let (format, output) = match (what.format, output.json) {
        (None, false) => (TranscriptFormat::Text, output),
        (None | Some(TranscriptFormat::Json), _) => (TranscriptFormat::Json, Output { json: true }),
        (Some(format), false) => (format, output),
        (Some(_), true) => return Err(Usage("--json is --format json: name one of them".to_owned()).into()),
    };
    let recogniser = chosen(providers::build(settings), what.provider.as_deref())?;
    // It is the operator's own: no tenant's turn is taken.
    let options = StreamOptions { language: what.language, ..StreamOptions::new(TenantId::from_uuid(Uuid::nil()), 0) };
    // Before it is hashed: it may be too large, or none of ours.
    let recording = Recording::open(&what.file, settings.speech.audio_bytes_max as u64)?;
    let key = key(settings, &what.file, recogniser.name(), options.language.as_deref())
        .map_err(|source| FileError::Io { path: what.file.clone(), source })?;
    let cache = Cache::new(settings.data_dir.join("transcripts"), settings.speech.cache_ttl);
    let cached = if what.fresh { None } else { cache.find(&key, SystemTime::now()) };
    let is_cached = cached.is_some();
    let transcript = match cached {
        Some(transcript) => transcript,
        None => {
            let transcript = transcribe(recording, &recogniser, &options, output).await?;
            let kept = cache.keep(&key, &transcript, SystemTime::now());
            kept.with_context(|| format!("{} cannot be written", settings.data_dir.join("transcripts").display()))?;
            transcript
        }
    };
    output.print(&Shown { file: what.file, is_cached, transcript }, |shown| text(&shown.transcript, format))
}

/// The recogniser that is named, or the first.
fn chosen(Built { providers, unusable }: Built, name: Option<&str>) -> anyhow::Result<Arc<dyn SpeechToText>> {
    let found = match name {
        Some(name) => providers.recogniser(name),
        None => providers.recognisers().first(),
    };
    if let Some(found) = found {
        return Ok(Arc::clone(found));
    }
    if let Some(one) = unusable.into_iter().find(|one| name.is_none_or(|name| name == one.provider)) {
        return Err(one.error);
    }
    let names: Vec<&str> = providers.recognisers().iter().map(|one| one.name()).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let name = name.unwrap_or_default();
    Err(Usage(format!("no recogniser `{name}` is set up; those that are: {names} (docs/speech.md)")).into())
}

/// All settings of speech decide what is heard.
fn key(settings: &Settings, file: &std::path::Path, provider: &str, language: Option<&str>) -> std::io::Result<Key> {
    let is_of_speech = |key: &str| key.starts_with("riva.") || key.starts_with("speech.");
    let rows = settings.report().iter().filter(|row| is_of_speech(row.key)).flat_map(|row| [row.key, &*row.value]);
    let words = [env!("CARGO_PKG_VERSION"), provider, language.unwrap_or_default()];
    Key::of(file, words.into_iter().chain(rows))
}

async fn transcribe(
    recording: Recording,
    recogniser: &Arc<dyn SpeechToText>,
    options: &StreamOptions,
    output: Output,
) -> anyhow::Result<Transcript> {
    let progress = Progress::new(output);
    let total_ms = recording.duration_ms();
    let told = |Done { done_ms, retries }: Done| {
        let percent = (done_ms * 100).checked_div(total_ms);
        let words = format!("{} of {} s by {}", done_ms / 1_000, total_ms / 1_000, recogniser.name());
        // Whoever waits wants to know for what.
        let step = match retries {
            0 => "transcribing".to_owned(),
            _ => format!("transcribing (failed attempts of {}: {retries})", recogniser.name()),
        };
        progress.show(&step, percent, &words);
    };
    Ok(recording.transcribe(recogniser, options, &told).await?)
}

fn text(transcript: &Transcript, format: TranscriptFormat) -> String {
    let speakers: Vec<String> = (1..=transcript.channels).map(|channel| format!("speaker {channel}")).collect();
    let lines = transcript.segments.iter().map(|said| Line {
        start_ms: said.start_ms,
        end_ms: said.end_ms,
        // Who is alone needs no name.
        speaker: speakers.get(said.channel - 1).filter(|_| transcript.channels > 1).map(String::as_str),
        text: &said.text,
    });
    match format {
        TranscriptFormat::Text | TranscriptFormat::Json => subtitles::lines(lines),
        TranscriptFormat::Srt => subtitles::srt(lines),
        TranscriptFormat::Vtt => subtitles::vtt(lines),
    }
}
