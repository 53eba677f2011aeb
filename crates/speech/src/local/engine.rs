//! Whisper: one utterance in, its text out.

use std::ops::RangeInclusive;
use std::path::Path;

use aimg_audio::level::rms_dbfs;
use whisper_rs::{FullParams, SamplingStrategy, WhisperContext, WhisperContextParameters, WhisperState};

use crate::recognise::Word;
use crate::vad::SAMPLE_RATE_HZ;

/// Samples that one place of the encoder's context stands for: 20 ms.
const PLACE_SAMPLES: usize = 320;
/// Places beyond the audio without which Whisper repeats itself.
const PLACES_BEYOND: usize = 256;
/// The context is a multiple of this many places.
const PLACES_STEP: usize = 64;
/// The whole context: 30 s.
const PLACES_MAX: usize = 1_500;
/// Nobody says more tokens a second; more is Whisper repeating itself.
const TOKENS_PER_SECOND: usize = 6;
/// What short utterances may have beyond that.
const TOKENS_BEYOND: usize = 16;
/// Whisper takes nothing shorter than a second; silence is added.
const SAMPLES_MIN: usize = SAMPLE_RATE_HZ as usize * 11 / 10;
/// Whisper tells times in 10 ms.
const TIME_UNIT_MS: u64 = 10;
/// Levels are looked at in pieces of 20 ms.
const WINDOW_SAMPLES: usize = SAMPLE_RATE_HZ as usize / 50;
/// What is quieter than the loudest piece by so much is heard as silence.
const AUDIBLE_DB: f64 = 35.0;

/// How much of Whisper's context is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Context {
    /// As much as the audio needs: a quarter of the time.
    Short,
    /// All: the fewest errors.
    Full,
}

/// A model in memory. Workers share it.
#[derive(Debug)]
pub(super) struct Engine {
    context: WhisperContext,
}

/// What Whisper heard in an utterance.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Heard {
    pub(super) text: String,
    /// Their times are counted from the utterance's first sample.
    pub(super) words: Vec<Word>,
    /// The geometric mean of its tokens' likelihoods, 0 to 1; nothing without text.
    pub(super) confidence: Option<f32>,
}

impl Engine {
    /// Loads a model. Takes about 100 ms.
    pub(super) fn load(path: &Path) -> Result<Self, String> {
        // It would write to standard error otherwise.
        whisper_rs::install_logging_hooks();
        let mut parameters = WhisperContextParameters::default();
        parameters.use_gpu(false);
        let context = WhisperContext::new_with_params(path, parameters).map_err(|error| {
            format!("{} cannot be loaded ({error}): verify it with `aimg models verify`", path.display())
        })?;
        Ok(Self { context })
    }

    /// What one worker computes with: about 100 MB.
    pub(super) fn worker(&self) -> Result<Worker, String> {
        let state = self.context.create_state().map_err(|error| format!("no memory for a worker: {error}"))?;
        Ok(Worker { state, end_of_text: self.context.token_eot(), multilingual: self.context.is_multilingual() })
    }
}

/// Whether the processor has what whisper.cpp is built for (`.cargo/config.toml`).
pub(super) fn check_processor() -> Result<(), String> {
    #[cfg(target_arch = "x86_64")]
    if !(std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")) {
        return Err("this processor lacks AVX2 and FMA, which the local recogniser needs: use another provider".into());
    }
    Ok(())
}

/// One utterance at a time.
#[derive(Debug)]
pub(super) struct Worker {
    state: WhisperState,
    /// Tokens from this one on are marks, not words.
    end_of_text: i32,
    multilingual: bool,
}

impl Worker {
    /// Recognises an utterance at [`SAMPLE_RATE_HZ`].
    pub(super) fn recognise(
        &mut self,
        samples: &[i16],
        language: Option<&str>,
        context: Context,
    ) -> Result<Heard, String> {
        let mut audio: Vec<f32> = samples.iter().map(|&sample| f32::from(sample) / 32_768.0).collect();
        audio.resize(audio.len().max(SAMPLES_MIN), 0.0);
        let mut parameters = FullParams::new(SamplingStrategy::Greedy { best_of: 1 });
        // Several threads of whisper.cpp wait for each other without sleeping, which takes the machine from everybody else.
        parameters.set_n_threads(1);
        // Unset, a multilingual model finds out by itself.
        parameters.set_language(if self.multilingual { Some(language.unwrap_or("auto")) } else { Some("en") });
        parameters.set_no_context(true);
        parameters.set_print_special(false);
        parameters.set_print_progress(false);
        parameters.set_print_realtime(false);
        parameters.set_print_timestamps(false);
        // Its own way out of repetitions is to try again up to five times at random; what takes how long is decided by us.
        parameters.set_temperature_inc(0.0);
        parameters.set_token_timestamps(true);
        let seconds = audio.len() / SAMPLE_RATE_HZ as usize + 1;
        parameters.set_max_tokens((seconds * TOKENS_PER_SECOND + TOKENS_BEYOND) as i32);
        if context == Context::Short {
            let places = (audio.len() / PLACE_SAMPLES + PLACES_BEYOND).next_multiple_of(PLACES_STEP);
            parameters.set_audio_ctx(places.min(PLACES_MAX) as i32);
        }
        self.state.full(parameters, &audio).map_err(|error| format!("whisper failed: {error}"))?;
        Ok(self.heard(&audible_ms(samples)))
    }

    /// Whisper spreads words over the silence around them: none is where nothing is heard.
    fn heard(&self, audible_ms: &RangeInclusive<u64>) -> Heard {
        let mut words: Vec<Spelled> = Vec::new();
        let (mut log_likelihood, mut tokens) = (0.0, 0_usize);
        for segment in self.state.as_iter() {
            for token in (0..segment.n_tokens()).filter_map(|n| segment.get_token(n)) {
                let Ok(bytes) = token.to_bytes() else { continue };
                if token.token_id() >= self.end_of_text || bytes.is_empty() {
                    continue;
                }
                let data = token.token_data();
                let [start_ms, end_ms] = [data.t0, data.t1]
                    .map(|time| (time.max(0) as u64 * TIME_UNIT_MS).clamp(*audible_ms.start(), *audible_ms.end()));
                log_likelihood += data.plog;
                tokens += 1;
                match words.last_mut() {
                    Some(word) if bytes[0] != b' ' => {
                        word.bytes.extend_from_slice(bytes);
                        word.end_ms = end_ms.max(word.end_ms);
                        word.likelihood = word.likelihood.min(data.p);
                    }
                    _ => words.push(Spelled { bytes: bytes.to_vec(), start_ms, end_ms, likelihood: data.p }),
                }
            }
        }
        let words = without_remarks(words.into_iter().filter_map(Spelled::word).collect());
        if words.is_empty() {
            return Heard::default();
        }
        let text = words.iter().map(|word| word.word.as_str()).collect::<Vec<_>>().join(" ");
        Heard { text, words, confidence: Some((log_likelihood / tokens as f32).exp().clamp(0.0, 1.0)) }
    }
}

/// From the first moment of an utterance that can be heard beside its loudest one, to the last.
fn audible_ms(samples: &[i16]) -> RangeInclusive<u64> {
    let levels: Vec<f64> = samples.chunks(WINDOW_SAMPLES).map(rms_dbfs).collect();
    let audible = levels.iter().copied().fold(f64::NEG_INFINITY, f64::max) - AUDIBLE_DB;
    let place = |window: usize| (window * WINDOW_SAMPLES * 1_000 / SAMPLE_RATE_HZ as usize) as u64;
    let first = levels.iter().position(|level| *level >= audible).unwrap_or(0);
    let last = levels.iter().rposition(|level| *level >= audible).unwrap_or(0);
    place(first)..=place(last + 1).min((samples.len() * 1_000 / SAMPLE_RATE_HZ as usize) as u64).max(place(first))
}

/// A word as it is put together. A letter may be of several tokens.
struct Spelled {
    bytes: Vec<u8>,
    start_ms: u64,
    end_ms: u64,
    likelihood: f32,
}

impl Spelled {
    fn word(self) -> Option<Word> {
        let word = String::from_utf8_lossy(&self.bytes).trim().to_owned();
        let confidence = Some(self.likelihood.clamp(0.0, 1.0));
        let end_ms = self.end_ms.max(self.start_ms);
        (!word.is_empty()).then_some(Word { word, start_ms: self.start_ms, end_ms, confidence, speaker: None })
    }
}

/// Whisper writes what it hears besides words as `[BLANK_AUDIO]`, `(wind blowing)`, `*coughs*` or `♪`.
fn without_remarks(words: Vec<Word>) -> Vec<Word> {
    let mut until = None;
    words
        .into_iter()
        .filter(|word| {
            let text = word.word.trim_end_matches(['.', ',', '!', '?']);
            let first = text.chars().next();
            if until.is_none() {
                until = match first {
                    Some('[') => Some(']'),
                    Some('(') => Some(')'),
                    Some('*') if text.chars().skip(1).any(char::is_alphabetic) => Some('*'),
                    _ => return first.is_some_and(|c| c != '♪' && c != '♫'),
                };
            }
            if until.is_some_and(|mark| text.ends_with(mark)) {
                until = None;
            }
            false
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_heard_is_between_its_first_and_its_last_sound() {
        let mut samples = vec![3; 16_000];
        samples[4_000..8_000].fill(2_000);
        samples[9_000..9_400].fill(200);
        // In windows of 20 ms.
        assert_eq!(audible_ms(&samples), 240..=600);
        assert_eq!(audible_ms(&[0; 1_600]), 0..=100);
        assert_eq!(audible_ms(&[]), 0..=0);
    }

    #[test]
    fn remarks_are_not_words() {
        let said = |text: &str| -> String {
            let word =
                |word: &str| Word { word: word.to_owned(), start_ms: 0, end_ms: 0, confidence: None, speaker: None };
            let words = without_remarks(text.split(' ').map(word).collect());
            words.into_iter().map(|word| word.word).collect::<Vec<_>>().join(" ")
        };
        for (text, expected) in [
            ("[BLANK_AUDIO]", ""),
            ("Press 1. (wind blowing) Thank you.", "Press 1. Thank you."),
            ("*coughs* Hello", "Hello"),
            ("Press * or # now", "Press * or # now"),
            ("♪ ♪", ""),
            ("(unfinished remark", ""),
        ] {
            assert_eq!(said(text), expected, "{text}");
        }
    }
}
