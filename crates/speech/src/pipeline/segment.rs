//! What a transcriber tells.

use crate::recognise::{Hypothesis, Word};

/// One utterance, with times on the tape's axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// Its number, from 0. An interim segment is replaced by the next of the same number; a final one is the last of its
    /// number. The last interim one of a tape may stay without a final, where the provider thought better of it.
    pub number: u32,
    /// Whether it stays as it is.
    pub is_final: bool,
    /// Where it begins, in milliseconds of the tape.
    pub start_ms: u64,
    /// Where it ends, in milliseconds of the tape.
    pub end_ms: u64,
    /// What is said.
    pub text: String,
    /// How sure the provider is, from 0 to 1.
    pub confidence: Option<f32>,
    /// In which language (BCP 47), where the provider says.
    pub language: Option<String>,
    /// Its words with their times on the tape's axis, where the provider gives them.
    pub words: Vec<Word>,
    /// Which provider heard it.
    pub provider: String,
}

impl Segment {
    /// From what was heard in a stream that began at `origin_ms` of the tape.
    pub(super) fn of(hypothesis: Hypothesis, number: u32, origin_ms: u64, provider: &str) -> Self {
        let at = |ms: u64| origin_ms.saturating_add(ms);
        let words = hypothesis.words.into_iter();
        let words = words.map(|word| Word { start_ms: at(word.start_ms), end_ms: at(word.end_ms), ..word }).collect();
        Self {
            number,
            is_final: hypothesis.is_final,
            start_ms: at(hypothesis.start_ms),
            end_ms: at(hypothesis.end_ms.max(hypothesis.start_ms)),
            text: hypothesis.text,
            confidence: hypothesis.confidence,
            language: hypothesis.language,
            words,
            provider: provider.to_owned(),
        }
    }
}
