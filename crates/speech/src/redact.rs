//! Card, account and phone numbers are taken out of what was said: a [`Redactor`] masks segments, and tells what of the audio
//! is to be silenced.
//!
//! A number is seven digits or more in a row: as figures in any language, or as words in English, with fillers between them,
//! and over segments that follow each other. What remains: a number that goes on in the next segment shows the up to six digits
//! that came before; digits that the recogniser misheard as other words (`for`, `to`, `ate`) are not found, nor are shorter
//! secrets. A row of years is masked too; a date, and money with its sign, are not.

mod digits;

use std::ops::Range;

use crate::pipeline::Segment;
use crate::recognise::Word;
use digits::{Run, runs};

/// As many digits in a row as may be told.
const DIGITS_MAX: usize = 6;
/// Of a number that has gone on for long, so many digits are remembered: none has more.
const CARRIED_MAX: usize = 40;
/// Segments that are further apart belong to different numbers.
const APART_MS: u64 = 5_000;
/// The places of words are known so well.
const MARGIN_MS: u64 = 150;

/// Masks what one speaker says, segment by segment.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    /// The digits with which the last final segment ended.
    tail: Option<Tail>,
}

#[derive(Clone, Debug)]
struct Tail {
    digits: String,
    /// Where they are, in milliseconds of the tape.
    from_ms: u64,
    until_ms: u64,
}

/// What was found in the tokens of a text.
struct Found {
    /// The tokens that are masked, and with what.
    masked: Vec<(Range<usize>, &'static str)>,
    /// Digits at the end, with those that came before, and whether any did.
    tail: Option<(String, bool)>,
    /// The first token of those digits.
    tail_from: Option<usize>,
    /// Whether it goes on with a number that began before.
    goes_on: bool,
}

impl Redactor {
    /// Nothing was said yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Masks a segment, in its text and its words; gives what of the audio is to be silenced, in milliseconds of the tape.
    /// That may begin before the segment, where a number did. An interim segment changes nothing for those after it.
    pub fn redact(&mut self, segment: &mut Segment) -> Vec<Range<u64>> {
        let before = self.tail.clone().filter(|tail| segment.start_ms <= tail.until_ms.saturating_add(APART_MS));
        let carried = before.as_ref().map_or("", |tail| tail.digits.as_str());

        let tokens: Vec<&str> = segment.text.split_whitespace().collect();
        let in_text = find(&tokens, carried);
        let spoken: Vec<&str> = segment.words.iter().map(|word| word.word.as_str()).collect();
        let in_words = find(&spoken, carried);
        let whole = segment.start_ms..segment.end_ms;
        // Words that cannot be told apart as the text can are worth less than what they might give away.
        let agrees = in_text.masked.len() == in_words.masked.len();
        let place = |tokens: &Range<usize>| match segment.words.get(tokens.clone()) {
            Some([first, .., last]) => first.start_ms..last.end_ms.max(first.start_ms),
            Some([only]) => only.start_ms..only.end_ms,
            _ => whole.clone(),
        };
        let mut silent: Vec<Range<u64>> = match (agrees, in_text.masked.is_empty() && in_words.masked.is_empty()) {
            (_, true) => Vec::new(),
            (true, _) => in_words.masked.iter().map(|(tokens, _)| place(tokens)).collect(),
            (false, _) => vec![whole.clone()],
        };
        let goes_on = in_text.goes_on || in_words.goes_on;
        if let Some(tail) = before.as_ref().filter(|_| goes_on) {
            silent.insert(0, tail.from_ms..tail.until_ms);
        }
        let tail = in_text.tail.map(|(digits, began_before)| {
            let from_ms = before.as_ref().filter(|_| began_before).map(|tail| tail.from_ms);
            let in_words = || in_words.tail_from.and_then(|first| segment.words.get(first)).map(|word| word.start_ms);
            let skipped = digits.len().saturating_sub(CARRIED_MAX);
            let digits = digits[skipped..].to_owned();
            Tail { digits, from_ms: from_ms.or_else(in_words).unwrap_or(whole.start), until_ms: whole.end }
        });

        let text = masked_text(&segment.text, &tokens, &in_text.masked);
        let words = if agrees { masked_words(&segment.words, &in_words.masked) } else { Vec::new() };
        (segment.text, segment.words) = (text, words);
        if segment.is_final {
            self.tail = tail;
        }
        let wider = |range: Range<u64>| range.start.saturating_sub(MARGIN_MS)..range.end.saturating_add(MARGIN_MS);
        silent.into_iter().map(wider).collect()
    }
}

fn find(tokens: &[&str], carried: &str) -> Found {
    let mut found = Found { masked: Vec::new(), tail: None, tail_from: None, goes_on: false };
    for run in runs(tokens).into_iter().filter(|run| !run.is_exempt) {
        let began_before = run.touches_begin && !carried.is_empty();
        let digits = if began_before { format!("{carried}{}", run.digits) } else { run.digits.clone() };
        if digits.len() > DIGITS_MAX || run.is_iban {
            found.masked.push((run.tokens.clone(), mask(&digits, &run)));
            found.goes_on |= began_before;
        }
        if run.touches_end {
            found.tail_from = Some(run.tokens.start);
            found.tail = Some((digits, began_before));
        }
    }
    found
}

/// What stands for a number.
fn mask(digits: &str, run: &Run) -> &'static str {
    match digits.len() {
        _ if run.is_iban => "[account]",
        13..=19 if luhn(digits) => "[card]",
        7..=11 => "[phone]",
        12..=15 if run.has_plus || digits.starts_with('0') => "[phone]",
        _ => "[account]",
    }
}

/// The check digit that cards have (ISO/IEC 7812-1).
fn luhn(digits: &str) -> bool {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(digit - b'0');
            match (place % 2, digit) {
                (0, _) => digit,
                (_, 5..) => digit * 2 - 9,
                _ => digit * 2,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// The text, with everything that is not masked as it was.
fn masked_text(text: &str, tokens: &[&str], masked: &[(Range<usize>, &'static str)]) -> String {
    let offset = |token: &str| token.as_ptr() as usize - text.as_ptr() as usize;
    let (mut out, mut from) = (String::with_capacity(text.len()), 0);
    for (range, mask) in masked {
        let last = tokens[range.end - 1];
        out.push_str(&text[from..offset(tokens[range.start])]);
        out.push_str(mask);
        from = offset(last) + last.len() - rest(last).len();
    }
    out.push_str(&text[from..]);
    out
}

/// What a token has after its number: the sentence's end, which stays.
fn rest(token: &str) -> &str {
    &token[token.trim_end_matches(['.', ',', '?', '!', ';', ':']).len()..]
}

fn masked_words(words: &[Word], masked: &[(Range<usize>, &'static str)]) -> Vec<Word> {
    let mut out = Vec::with_capacity(words.len());
    let mut from = 0;
    for (range, mask) in masked {
        out.extend_from_slice(&words[from..range.start]);
        let (first, last) = (&words[range.start], &words[range.end - 1]);
        let end_ms = last.end_ms.max(first.start_ms);
        let word = format!("{mask}{}", rest(&last.word));
        out.push(Word { word, end_ms, confidence: None, ..first.clone() });
        from = range.end;
    }
    out.extend_from_slice(&words[from..]);
    out
}

#[cfg(test)]
mod tests;
