//! Full-text search over what was said.
//!
//! A text is its words: the longest runs of letters and digits (Unicode), in lower case. We split texts and questions the
//! same way ourselves, so both databases find the same. A question asks for all of its words; `"several words"` for those
//! words in a row; `word*` for words that begin so; `OR` stands between alternatives. Anything else that somebody types
//! separates words, so no question is a syntax error.
//!
//! Hits come newest first, not by a rank: a list that grows while it is read has a place for its next page only so.

use std::fmt::Write as _;

use aimg_core::{Direction, TenantScope, Timestamp};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, Condition, DatabaseBackend, QueryFilter, QueryOrder, QuerySelect};

use crate::entity::segment;
use crate::error::{Error, Result};
use crate::store::Store;
use crate::transcripts::{SegmentRow, TranscriptFilter};

/// The most letters of a word that are looked at: PostgreSQL refuses words that are very long.
const WORD_CHARS_MAX: usize = 64;
/// The most words of a question.
pub const SEARCH_WORDS_MAX: usize = 32;
/// Letters of a segment's text that are shown around the first hit.
const SNIPPET_CHARS: usize = 240;

/// What somebody looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchQuery {
    /// One of these must fit.
    alternatives: Vec<Vec<Phrase>>,
}

/// Words in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Phrase {
    words: Vec<String>,
    /// The last one is only the beginning of a word.
    is_open: bool,
}

/// A question that nothing can be found with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SearchQueryError {
    /// It has no word.
    #[error("there is no word in it; ask for one or more words")]
    Empty,
    /// It has too many words.
    #[error("it has more than {SEARCH_WORDS_MAX} words; ask for fewer")]
    TooLong,
}

/// A segment that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchHit {
    /// Its place in the list, where the next page begins.
    pub place: SegmentPlace,
    /// The segment.
    pub segment: SegmentRow,
    /// Its text, cut to what is around the first hit.
    pub snippet: Vec<SnippetPiece>,
}

/// A piece of a snippet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnippetPiece {
    /// The text, as it was said.
    pub text: String,
    /// Whether it was asked for.
    pub is_hit: bool,
}

/// A segment's place in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentPlace {
    /// When it was spoken.
    pub at: Timestamp,
    /// The database's number of it, which decides between two that began together.
    pub id: i64,
}

impl Store {
    /// The final segments in reach that fit `query` and `filter`, newest first; only what comes after `after`.
    pub async fn search_segments(
        &self,
        scope: TenantScope,
        query: &SearchQuery,
        speaker: Option<Direction>,
        filter: &TranscriptFilter,
        after: Option<SegmentPlace>,
    ) -> Result<Vec<SearchHit>> {
        use segment::Column as C;
        let rows = self.read(scope).await?;
        let fits = match rows.backend() {
            DatabaseBackend::Postgres => Expr::cust_with_values(
                "segments.lexemes @@ to_tsquery('simple'::regconfig, $1)",
                [query.for_postgres()],
            ),
            _ => Expr::cust_with_values(
                "segments.id IN (SELECT rowid FROM segments_fts WHERE segments_fts MATCH ?)",
                [query.for_sqlite()],
            ),
        };
        let place = after.map(|place| {
            let last = Expr::tuple([Expr::value(place.at.as_micros()), Expr::value(place.id)]);
            Expr::tuple([Expr::col(C::At), Expr::col(C::Id)]).lt(last)
        });
        let wanted = [
            Some(C::IsFinal.eq(true)),
            filter.tenant.map(|tenant| C::TenantId.eq(tenant.as_uuid())),
            filter.session.map(|session| C::SessionId.eq(session.as_uuid())),
            filter.calls(&rows).map(|calls| C::SessionId.in_subquery(calls)),
            speaker.map(|speaker| C::Speaker.eq(speaker.name())),
            filter.from.map(|at| C::At.gte(at.as_micros())),
            filter.before.map(|at| C::At.lt(at.as_micros())),
            place,
            Some(fits),
        ];
        let wanted = wanted.into_iter().flatten().fold(Condition::all(), Condition::add);
        let found = rows.select::<segment::Entity>().filter(wanted).order_by_desc(C::At).order_by_desc(C::Id);
        let hit = |row: segment::Model| {
            let place = SegmentPlace { at: Timestamp::from_micros(row.at), id: row.id };
            let snippet = query.snippet(&row.text);
            Ok::<_, Error>(SearchHit { place, segment: row.try_into()?, snippet })
        };
        found.limit(filter.limit()).all(rows.db()).await?.into_iter().map(hit).collect()
    }
}

impl SearchQuery {
    /// Reads what somebody typed.
    pub fn parse(text: &str) -> Result<Self, SearchQueryError> {
        let mut alternatives = vec![Vec::new()];
        let mut words_left = SEARCH_WORDS_MAX;
        // Every second piece is between quotes; a quote that is not closed reaches to the end.
        for (i, piece) in text.split('"').enumerate() {
            let quoted = i % 2 == 1;
            let terms: Vec<&str> = if quoted { vec![piece] } else { piece.split_whitespace().collect() };
            for term in terms {
                if term == "OR" && !quoted {
                    alternatives.push(Vec::new());
                    continue;
                }
                let words: Vec<String> = words(term).map(|(_, word)| folded(word)).collect();
                if words.is_empty() {
                    continue;
                }
                words_left = words_left.checked_sub(words.len()).ok_or(SearchQueryError::TooLong)?;
                let phrase = Phrase { words, is_open: term.ends_with('*') };
                alternatives.last_mut().expect("there is always one").push(phrase);
            }
        }
        alternatives.retain(|phrases| !phrases.is_empty());
        if alternatives.is_empty() { Err(SearchQueryError::Empty) } else { Ok(Self { alternatives }) }
    }

    /// As FTS5 wants it (<https://sqlite.org/fts5.html>): words are letters and digits between quotes.
    fn for_sqlite(&self) -> String {
        self.written(" OR ", " AND ", |phrase| {
            let open = if phrase.is_open { " *" } else { "" };
            format!("\"{}\"{open}", phrase.words.join(" "))
        })
    }

    /// As `to_tsquery` wants it (<https://www.postgresql.org/docs/current/datatype-textsearch.html>): likewise.
    fn for_postgres(&self) -> String {
        self.written(" | ", " & ", |phrase| {
            let open = if phrase.is_open { ":*" } else { "" };
            let words: Vec<String> = phrase.words.iter().map(|word| format!("'{word}'")).collect();
            format!("({}{open})", words.join(" <-> "))
        })
    }

    fn written(&self, or: &str, and: &str, write: impl Fn(&Phrase) -> String) -> String {
        let all = |phrases: &Vec<Phrase>| format!("({})", phrases.iter().map(&write).collect::<Vec<_>>().join(and));
        self.alternatives.iter().map(all).collect::<Vec<_>>().join(or)
    }

    /// The text around the first hit, with every hit in it marked.
    fn snippet(&self, text: &str) -> Vec<SnippetPiece> {
        let words: Vec<(usize, &str)> = words(text).collect();
        let said: Vec<String> = words.iter().map(|(_, word)| folded(word)).collect();
        let mut is_hit = vec![false; words.len()];
        for phrase in self.alternatives.iter().flatten() {
            for first in (0..said.len()).filter(|first| phrase.fits(&said[*first..])) {
                is_hit[first..first + phrase.words.len()].fill(true);
            }
        }
        let first_hit = is_hit.iter().position(|hit| *hit).map_or(0, |n| words[n].0);
        let (from, to) = window(text, first_hit);
        let mut pieces: Vec<SnippetPiece> = Vec::new();
        let mut push = |part: &str, is_hit: bool| match pieces.last_mut() {
            Some(last) if last.is_hit == is_hit => last.text.push_str(part),
            _ if part.is_empty() => {}
            _ => pieces.push(SnippetPiece { text: part.to_owned(), is_hit }),
        };
        let mut at = from;
        for ((start, word), hit) in words.iter().zip(is_hit) {
            let end = start + word.len();
            if hit && *start >= from && end <= to {
                push(&text[at..*start], false);
                push(word, true);
                at = end;
            }
        }
        push(&text[at..to], false);
        if from > 0
            && let Some(first) = pieces.first_mut()
        {
            first.text.insert(0, '…');
        }
        if to < text.len()
            && let Some(last) = pieces.last_mut()
        {
            last.text.push('…');
        }
        pieces
    }
}

impl Phrase {
    /// Whether `said` begins with it.
    fn fits(&self, said: &[String]) -> bool {
        let last = self.words.len() - 1;
        said.len() > last
            && self.words.iter().zip(said).enumerate().all(|(i, (word, said))| {
                if i == last && self.is_open { said.starts_with(word.as_str()) } else { said == word }
            })
    }
}

/// The words of a text in lower case, with single blanks between them.
pub(crate) fn terms(text: &str) -> String {
    let mut terms = String::with_capacity(text.len());
    for (_, word) in words(text) {
        let gap = if terms.is_empty() { "" } else { " " };
        let _ = write!(terms, "{gap}{}", folded(word));
    }
    terms
}

/// The words of a text as they stand there, and where they begin in it, in bytes.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let pieces = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    pieces.map(|word| (word.as_ptr() as usize - text.as_ptr() as usize, word))
}

/// A word as it is compared. What lower case makes of a letter and is none itself is left out: it would end the word.
fn folded(word: &str) -> String {
    let lower = word.chars().flat_map(char::to_lowercase).filter(|c| c.is_alphanumeric());
    lower.take(WORD_CHARS_MAX).collect()
}

/// Where a snippet begins and ends that shows what is at `hit`: some of it before, most of it after. In bytes.
fn window(text: &str, hit: usize) -> (usize, usize) {
    let before = text[..hit].char_indices().rev().nth(SNIPPET_CHARS / 4).map_or(0, |(at, c)| at + c.len_utf8());
    let length = text[before..].char_indices().nth(SNIPPET_CHARS).map_or(text.len() - before, |(at, _)| at);
    (before, before + length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn questions_are_written_for_either_database() {
        for (question, sqlite, postgres) in [
            ("Hallo", r#"("hallo")"#, "(('hallo'))"),
            ("neuer Vertrag", r#"("neuer" AND "vertrag")"#, "(('neuer') & ('vertrag'))"),
            (r#""neuer Vertrag""#, r#"("neuer vertrag")"#, "(('neuer' <-> 'vertrag'))"),
            ("E-Mail vertr*", r#"("e mail" AND "vertr" *)"#, "(('e' <-> 'mail') & ('vertr':*))"),
            (r#"a OR "b c" d"#, r#"("a") OR ("b c" AND "d")"#, "(('a')) | (('b' <-> 'c') & ('d'))"),
            (r#"OR a OR OR "b"#, r#"("a") OR ("b")"#, "(('a')) | (('b'))"),
            (
                "or not NEAR(x) col:y",
                r#"("or" AND "not" AND "near x" AND "col y")"#,
                "(('or') & ('not') & ('near' <-> 'x') & ('col' <-> 'y'))",
            ),
        ] {
            let query = SearchQuery::parse(question).unwrap();
            assert_eq!((query.for_sqlite().as_str(), query.for_postgres().as_str()), (sqlite, postgres), "{question}");
        }
        for nothing in ["", " ", "OR", "\"\"", "* - ( ) ' \\ \0"] {
            assert_eq!(SearchQuery::parse(nothing), Err(SearchQueryError::Empty), "{nothing:?}");
        }
        assert!(SearchQuery::parse(&"a ".repeat(SEARCH_WORDS_MAX)).is_ok());
        assert_eq!(SearchQuery::parse(&"a ".repeat(SEARCH_WORDS_MAX + 1)), Err(SearchQueryError::TooLong));
    }

    fn marked(question: &str, text: &str) -> String {
        let pieces = SearchQuery::parse(question).unwrap().snippet(text);
        pieces.iter().map(|p| if p.is_hit { format!("[{}]", p.text) } else { p.text.clone() }).collect()
    }

    #[test]
    fn snippets_mark_what_was_asked_for() {
        for (question, text, expected) in [
            ("vertrag", "Der Vertrag, der VERTRAG!", "Der [Vertrag], der [VERTRAG]!"),
            (r#""der vertrag""#, "Der neue und der Vertrag", "Der neue und [der] [Vertrag]"),
            ("straß*", "Große Straße 5", "Große [Straße] 5"),
            ("x OR 5", "Große Straße 5", "Große Straße [5]"),
            ("nichts", "Große Straße", "Große Straße"),
            ("a", "", ""),
        ] {
            assert_eq!(marked(question, text), expected, "{question}");
        }
        let long = format!("{}Treffer{}", "ä ".repeat(500), " ö".repeat(500));
        let snippet = marked("treffer", &long);
        assert!(snippet.starts_with('…') && snippet.ends_with('…') && snippet.contains("[Treffer]"), "{snippet}");
        assert_eq!(snippet.chars().count(), SNIPPET_CHARS + 4);
    }

    proptest! {
        #[test]
        fn any_text_is_words_and_a_snippet_of_itself(text in "\\PC{0,400}", question in "\\PC{0,40}") {
            let terms = terms(&text);
            prop_assert!(terms.split(' ').all(|w| w.chars().all(char::is_alphanumeric)), "{terms}");
            if let Ok(query) = SearchQuery::parse(&question) {
                let shown: String = query.snippet(&text).into_iter().map(|p| p.text).collect();
                prop_assert!(text.contains(shown.trim_matches('…')) || text.contains('…'), "{shown}");
            }
        }
    }
}
