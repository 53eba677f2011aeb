//! Digits in a row, as figures and as words.

use std::ops::Range;

/// Digits that follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// The tokens that it is made of.
    pub(super) tokens: Range<usize>,
    pub(super) digits: String,
    /// It begins with `+`.
    pub(super) has_plus: bool,
    /// It is an international bank account number, by its check digits.
    pub(super) is_iban: bool,
    /// It is a date, or money with its sign.
    pub(super) is_exempt: bool,
    /// Nothing but fillers comes before it.
    pub(super) touches_begin: bool,
    /// Nothing but fillers comes after it.
    pub(super) touches_end: bool,
}

/// What one token is.
enum Token {
    /// Figures, perhaps among letters.
    Figures(String),
    /// Words that are numbers.
    Number(Vec<Number>),
    /// May stand between digits.
    Filler,
    Other,
}

#[derive(Clone, Copy)]
enum Number {
    Digit(char),
    /// 10 to 19, by their second digit.
    Teen(char),
    /// 20 to 90, by their first digit.
    Tens(char),
    /// `oh`: 0 after another digit only.
    Oh,
    /// 00 after another digit only.
    Hundred,
    /// The next digit, so often.
    Times(usize),
}

/// All digits in a row, in order.
pub(super) fn runs(tokens: &[&str]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match iban(tokens, at).or_else(|| row(tokens, at)) {
            Some(mut run) => {
                let is_filler = |token: &&str| matches!(read(token), Token::Filler);
                run.touches_begin = tokens[..run.tokens.start].iter().all(is_filler);
                run.touches_end = tokens[run.tokens.end..].iter().all(is_filler);
                at = run.tokens.end;
                runs.push(run);
            }
            None => at += 1,
        }
    }
    runs
}

/// The row that begins here.
fn row(tokens: &[&str], begin: usize) -> Option<Run> {
    let mut digits = String::new();
    let (mut end, mut times, mut after_tens) = (begin, 1, false);
    for (index, token) in tokens.iter().enumerate().skip(begin) {
        match read(token) {
            Token::Figures(figures) => {
                digits.push_str(&figures);
                (after_tens, times) = (false, 1);
            }
            Token::Number(numbers) => {
                let before = digits.len();
                for number in numbers {
                    match number {
                        Number::Digit(digit) if after_tens && digit != '0' => {
                            digits.pop();
                            digits.push(digit);
                        }
                        Number::Digit(digit) => digits.extend(std::iter::repeat_n(digit, times)),
                        Number::Teen(digit) => digits.extend(['1', digit]),
                        Number::Tens(digit) => digits.extend([digit, '0']),
                        Number::Oh if !digits.is_empty() => digits.extend(std::iter::repeat_n('0', times)),
                        Number::Hundred if !digits.is_empty() => digits.push_str("00"),
                        Number::Oh | Number::Hundred => return None,
                        Number::Times(_) => {}
                    }
                    after_tens = matches!(number, Number::Tens(_));
                    times = if let Number::Times(times) = number { times } else { 1 };
                }
                // `double` alone says nothing yet; the unit of a ten adds no digit.
                if digits.len() == before && times > 1 {
                    continue;
                }
            }
            Token::Filler if index > begin => {
                after_tens = false;
                continue;
            }
            Token::Filler | Token::Other => break,
        }
        end = index + 1;
    }
    (!digits.is_empty()).then(|| {
        let only = (end == begin + 1).then(|| tokens[begin]);
        Run {
            tokens: begin..end,
            digits,
            has_plus: tokens[begin].starts_with(['+', '(']) && tokens[begin].contains('+'),
            is_iban: false,
            is_exempt: only.is_some_and(|token| is_date(token) || is_money(token)),
            touches_begin: false,
            touches_end: false,
        }
    })
}

/// The account number that begins here (ISO 13616).
fn iban(tokens: &[&str], begin: usize) -> Option<Run> {
    let mut all = String::new();
    let mut found = None;
    for (index, token) in tokens.iter().enumerate().skip(begin) {
        let part: String = token.chars().filter(char::is_ascii_alphanumeric).collect();
        // The letters of a bank are told in capitals, as words are not.
        let is_part = part.bytes().any(|b| b.is_ascii_digit()) || part.bytes().all(|b| b.is_ascii_uppercase());
        if !is_part || (index == begin && part.len() < 4) {
            break;
        }
        all.push_str(&part.to_ascii_uppercase());
        let is_head =
            all.bytes().zip(0..4).all(|(b, place)| if place < 2 { b.is_ascii_uppercase() } else { b.is_ascii_digit() });
        if all.len() > 34 || !is_head {
            break;
        }
        if all.len() >= 15 && remainder(&all) == 1 {
            found = Some(index + 1);
        }
    }
    let end = found?;
    let digits = tokens[begin..end].concat().chars().filter(char::is_ascii_digit).collect();
    let tokens = begin..end;
    Some(Run {
        tokens,
        digits,
        has_plus: false,
        is_iban: true,
        is_exempt: false,
        touches_begin: false,
        touches_end: false,
    })
}

/// By 97, with the head at the end and letters as numbers from 10.
fn remainder(all: &str) -> u32 {
    let (head, body) = all.split_at(4);
    body.chars().chain(head.chars()).fold(0, |sum, c| {
        let value = c.to_digit(36).unwrap_or(0);
        (if value > 9 { sum * 100 } else { sum * 10 } + value) % 97
    })
}

fn read(token: &str) -> Token {
    if token.chars().any(|c| c.is_ascii_digit()) {
        return Token::Figures(token.chars().filter(char::is_ascii_digit).collect());
    }
    let word = token.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    if word.is_empty()
        || ["um", "uh", "er", "erm", "hm", "and", "then", "dash", "hyphen", "minus", "plus", "dot", "space"]
            .contains(&&*word)
    {
        return Token::Filler;
    }
    let numbers: Option<Vec<Number>> = word.split('-').map(number).collect();
    numbers.map_or(Token::Other, Token::Number)
}

fn number(word: &str) -> Option<Number> {
    const DIGITS: [&str; 10] = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    const TEENS: [&str; 10] =
        ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"];
    const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
    let among = |words: &[&str], first: u8| {
        let place = words.iter().position(|known| *known == word)?;
        Some(char::from(b'0' + first + u8::try_from(place).ok()?))
    };
    match word {
        "oh" | "o" => Some(Number::Oh),
        "nought" | "nil" => Some(Number::Digit('0')),
        "hundred" => Some(Number::Hundred),
        "double" => Some(Number::Times(2)),
        "triple" | "treble" => Some(Number::Times(3)),
        _ => among(&DIGITS, 0)
            .map(Number::Digit)
            .or_else(|| among(&TEENS, 0).map(Number::Teen))
            .or_else(|| among(&TENS, 2).map(Number::Tens)),
    }
}

/// As in 2026-11-24, 24.11.2026 or 11/24/26.
fn is_date(token: &str) -> bool {
    let token = token.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    ['-', '.', '/'].into_iter().any(|separator| {
        let parts: Vec<&str> = token.split(separator).collect();
        let within = |part: &str, allowed: Range<u32>| {
            part.len() <= 2
                && part.bytes().all(|b| b.is_ascii_digit())
                && part.parse().is_ok_and(|n| allowed.contains(&n))
        };
        let is_year = |part: &str| {
            let is_four = part.len() == 4 && (part.starts_with("19") || part.starts_with("20"));
            (is_four || part.len() == 2) && part.bytes().all(|b| b.is_ascii_digit())
        };
        match parts[..] {
            [year, month, day] if year.len() == 4 => is_year(year) && within(month, 1..13) && within(day, 1..32),
            [first, second, year] => {
                let is_day_and_month = |day, month| within(day, 1..32) && within(month, 1..13);
                is_year(year) && (is_day_and_month(first, second) || is_day_and_month(second, first))
            }
            _ => false,
        }
    })
}

/// As in $1,234,567.89.
fn is_money(token: &str) -> bool {
    let bare = token.trim_end_matches(['.', ',', '?', '!', ';', ':']);
    let inner = bare.strip_prefix(['$', '€', '£']).or_else(|| bare.strip_suffix(['$', '€', '£']));
    inner.is_some_and(|inner| {
        inner.bytes().filter(u8::is_ascii_digit).count() <= 11
            && inner.bytes().all(|b| b.is_ascii_digit() || matches!(b, b',' | b'.'))
    })
}
