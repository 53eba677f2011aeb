//! What is masked, what is silenced, and what stays as it was.

use proptest::prelude::*;

use super::*;

fn segment(text: &str, start_ms: u64) -> Segment {
    let tokens = text.split_whitespace().enumerate();
    let words: Vec<Word> = tokens
        .map(|(index, word)| Word {
            word: word.to_owned(),
            start_ms: start_ms + 1_000 * index as u64,
            end_ms: start_ms + 1_000 * index as u64 + 800,
            confidence: Some(0.5),
            speaker: None,
        })
        .collect();
    Segment {
        number: 0,
        is_final: true,
        start_ms,
        end_ms: words.last().map_or(start_ms, |word| word.end_ms),
        text: text.to_owned(),
        confidence: None,
        language: None,
        words,
        provider: "test".to_owned(),
    }
}

fn once(range: Range<u64>) -> Vec<Range<u64>> {
    Vec::from_iter([range])
}

fn redacted(text: &str) -> String {
    let mut one = segment(text, 0);
    let silent = Redactor::new().redact(&mut one);
    assert_eq!(silent.is_empty(), one.text == text, "{text}");
    let words: Vec<&str> = one.words.iter().map(|word| word.word.as_str()).collect();
    assert_eq!(words, one.text.split_whitespace().collect::<Vec<_>>(), "{text}");
    one.text
}

#[test]
fn numbers_are_masked_however_they_are_told() {
    for (told, masked) in [
        ("it is 4242 4242 4242 4242.", "it is [card]."),
        ("it is 4242-4242-4242-4242 thanks", "it is [card] thanks"),
        ("four two four two um four two four two four two four two four two four two", "[card]"),
        ("forty-two forty-two forty two forty two four two four two double four two four two no", "[account] no"),
        ("card 4242 4242 4242 4241", "card [account]"),
        ("call +49 30 123456, please", "call [phone], please"),
        ("call (030) 901 820", "call [phone]"),
        ("one eight hundred five five five oh one nine nine", "[phone]"),
        ("send it to DE89 3704 0044 0532 0130 00 today", "send it to [account] today"),
        ("GB29NWBK60161331926819", "[account]"),
        ("NL91 ABNA 0417 1643 00 now", "[account] now"),
        ("triple seven double eight nine nine it is", "[phone] it is"),
    ] {
        assert_eq!(redacted(told), masked, "{told}");
    }
}

#[test]
fn what_is_no_number_stays() {
    for text in [
        "room 1234, at 5 to 6",
        "six digits 123456 are told",
        "on 2026-11-24 and on 24.11.2026",
        "it costs $1,234,567.89 now",
        "one of the hundred, oh no, twenty-one  of them",
        "to 45 people in the hall of fame",
        "",
    ] {
        assert_eq!(redacted(text), *text, "{text}");
    }
}

#[test]
fn words_and_times_go_with_the_text() {
    let mut one = segment("my card 4242 4242 4242 4242 is it", 10_000);
    assert_eq!(Redactor::new().redact(&mut one), once(11_850..15_950));
    let words: Vec<_> = one.words.iter().map(|word| (word.word.as_str(), word.start_ms, word.end_ms)).collect();
    assert_eq!(words[2..4], [("[card]", 12_000, 15_800), ("is", 16_000, 16_800)]);
    // Without words, or with words that do not agree, the whole of it is silent.
    for words in [Vec::new(), vec![Word { word: "my".to_owned(), ..one.words[0].clone() }]] {
        let mut one = Segment { words, ..segment("my card 4242 4242 4242 4242 is it", 10_000) };
        assert_eq!(Redactor::new().redact(&mut one), once(9_850..17_950));
        assert_eq!((one.text.as_str(), one.words.len()), ("my card [card] is it", 0));
    }
}

#[test]
fn numbers_go_on_in_the_next_segment() {
    let mut redactor = Redactor::new();
    let mut first = segment("it is four two four two", 0);
    assert_eq!(redactor.redact(&mut first), []);
    let interim = Segment { is_final: false, ..segment("4242", 7_000) };
    let mut seen = interim.clone();
    redactor.redact(&mut seen);
    assert_eq!(seen.text, "[phone]", "what is told live is masked too");
    let mut second = segment("4242 4242", 7_000);
    // What was said before is silenced as well.
    assert_eq!(redactor.redact(&mut second), [1_850..5_950, 6_850..8_950]);
    assert_eq!(second.text, "[account]");
    let mut third = segment("4242, yes", 9_500);
    redactor.redact(&mut third);
    assert_eq!(third.text, "[card], yes");
    let mut fourth = segment("3 of them", 12_000);
    assert_eq!(redactor.redact(&mut fourth), [], "the number was over");
    // And so much later it is another one.
    redactor.redact(&mut segment("it is 4242", 20_000));
    assert_eq!(redactor.redact(&mut segment("4242", 30_000)), []);
}

/// Digits in a row over texts that follow each other, as far as they are figures alone.
fn longest_row(texts: &[String]) -> usize {
    let (mut longest, mut row) = (0, 0);
    for token in texts.iter().flat_map(|text| text.split_whitespace()) {
        let is_figures = token.bytes().all(|b| b.is_ascii_digit());
        row = if is_figures { row + token.len() } else { 0 };
        longest = longest.max(row);
    }
    longest
}

proptest! {
    #[test]
    fn no_long_row_of_digits_is_left_and_nothing_else_is_lost(
        said in prop::collection::vec(prop::collection::vec("[0-9]{1,8}|one|oh|double|um|hello|yes[.]|[0-9]{3}-[0-9]{3}", 0..12), 1..6)
    ) {
        let mut redactor = Redactor::new();
        let mut texts = Vec::new();
        for (index, tokens) in said.iter().enumerate() {
            let text = tokens.join(" ");
            let mut one = segment(&text, index as u64 * 15_000);
            one.end_ms = index as u64 * 15_000 + 14_000;
            let silent = redactor.redact(&mut one);
            prop_assert_eq!(silent.is_empty(), one.text == text);
            let kept = |text: &str| text.split_whitespace().filter(|t| ["hello", "yes."].contains(t)).count();
            prop_assert_eq!(kept(&one.text), kept(&text));
            texts.push(one.text);
        }
        prop_assert!(longest_row(&texts) <= DIGITS_MAX, "{:?}", texts);
    }

    #[test]
    fn no_text_does_harm(text in "\\PC{0,60}") {
        let mut one = segment(&text, 0);
        Redactor::new().redact(&mut one);
    }
}
