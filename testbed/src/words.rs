//! How many words of a text are wrong: the word error rate, which recognisers are judged by.

use std::ops::AddAssign;

/// Ways of writing what sounds the same, after all else has been made equal.
const SAME: [(&[&str], &[&str]); 6] = [
    (&["voice", "mail"], &["voicemail"]),
    (&["e", "mail"], &["email"]),
    (&["ok"], &["okay"]),
    (&["can", "not"], &["cannot"]),
    (&["log", "in"], &["login"]),
    (&["hash"], &["pound"]),
];

/// Words that were said, and errors of whoever wrote them down: replaced, left out, added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WordErrors {
    /// Errors.
    pub errors: usize,
    /// Words that were said.
    pub words: usize,
}

impl WordErrors {
    /// Compares what was written with what was said. Case and punctuation do not count, and digits are words.
    pub fn between(said: &str, written: &str) -> Self {
        let (said, written) = (normalised(said), normalised(written));
        // The least number of errors, row by row (Levenshtein).
        let mut row: Vec<usize> = (0..=written.len()).collect();
        for (line, word) in said.iter().enumerate() {
            let mut diagonal = std::mem::replace(&mut row[0], line + 1);
            for (column, other) in written.iter().enumerate() {
                let replaced = diagonal + usize::from(word != other);
                diagonal = row[column + 1];
                row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
            }
        }
        Self { errors: row[written.len()], words: said.len() }
    }

    /// Errors a word; 0 where nothing was said.
    pub fn rate(self) -> f64 {
        self.errors as f64 / self.words.max(1) as f64
    }
}

impl AddAssign for WordErrors {
    fn add_assign(&mut self, other: Self) {
        self.errors += other.errors;
        self.words += other.words;
    }
}

/// The words of a text as they sound.
fn normalised(text: &str) -> Vec<String> {
    let spaced: String = text
        .to_lowercase()
        .replace('*', " star ")
        .replace('#', " pound ")
        .replace('’', "'")
        .chars()
        .map(|c| if c.is_alphanumeric() || c == '\'' { c } else { ' ' })
        .collect();
    let mut words = Vec::new();
    for word in spaced.split_whitespace().map(|word| word.trim_matches('\'')).filter(|word| !word.is_empty()) {
        match word.parse::<u32>() {
            Ok(number) if number < 1_000_000 => spell(number, &mut words),
            _ => words.push(word.to_owned()),
        }
    }
    for (parts, whole) in SAME {
        while let Some(at) = words.windows(parts.len()).position(|window| window == parts) {
            words.splice(at..at + parts.len(), whole.iter().map(|&word| word.to_owned()));
        }
    }
    words
}

/// A number in words.
fn spell(number: u32, words: &mut Vec<String>) {
    const SMALL: [&str; 20] = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
    ];
    const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
    let beyond = |unit: u32, words: &mut Vec<String>| {
        if !number.is_multiple_of(unit) {
            spell(number % unit, words);
        }
    };
    match number {
        0..=19 => words.push(SMALL[number as usize].to_owned()),
        20..=99 => {
            words.push(TENS[number as usize / 10 - 2].to_owned());
            beyond(10, words);
        }
        100..=999 => {
            spell(number / 100, words);
            words.push("hundred".to_owned());
            beyond(100, words);
        }
        _ => {
            spell(number / 1_000, words);
            words.push("thousand".to_owned());
            beyond(1_000, words);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_what_was_replaced_left_out_or_added() {
        for (said, written, errors, words) in [
            ("", "", 0, 0),
            ("", "you", 1, 0),
            ("Please press one.", "please press 1", 0, 3),
            ("press 42, then #", "Press forty-two then pound", 0, 5),
            ("Extension 105", "extension one five", 1, 4),
            ("one hundred five", "105", 0, 3),
            ("Voice mail is ok", "voicemail is okay", 0, 3),
            ("the other caller's", "other callers now", 3, 3),
            ("a b c d", "a c d", 1, 4),
            ("a b", "x y z", 3, 2),
        ] {
            assert_eq!(WordErrors::between(said, written), WordErrors { errors, words }, "{said} | {written}");
        }
    }

    #[test]
    fn the_rate_is_over_all_words() {
        let mut all = WordErrors::between("a b c", "a b c");
        all += WordErrors::between("d", "e");
        assert!((all.rate() - 0.25).abs() < 1e-9);
        assert!(WordErrors::default().rate().abs() < 1e-9);
    }
}
