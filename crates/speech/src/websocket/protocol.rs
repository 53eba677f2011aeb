//! What differs between services, as data: presets in TOML, and what is overridden of them.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::Deserialize;
use toml::{Table, Value};
use url::Url;

/// How one service is spoken to. Texts in which `{…}` may stand are templates: `{key}`, `{model}`, `{language}`, `{rate}` (Hz),
/// `{interim}` (`true` or `false`), `{boosts}` (a list in JSON). An empty text stands for nothing.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protocol {
    /// A template of the address, `ws` or `wss`. A pair of its query of which nothing is known is left out, and one with
    /// `{boost}` stands there for each likely phrase.
    pub url: String,
    /// Templates of headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The model of streams that name none.
    #[serde(default)]
    pub model: String,
    /// The rates it takes, the best first, in Hz.
    pub sample_rates_hz: Vec<u32>,
    /// A template of messages with audio, whose `{audio}` is base64; empty: audio goes as binary messages.
    #[serde(default)]
    pub audio_message: String,
    /// The audio of one message, in milliseconds.
    #[serde(default = "chunk_ms")]
    pub chunk_ms: u32,
    /// The least audio of one message, in milliseconds: a shorter rest is filled up with silence.
    #[serde(default)]
    pub chunk_ms_min: u32,
    /// A template of the first message.
    #[serde(default)]
    pub first_message: String,
    /// After so long without audio, in seconds, the connection is kept alive; 0: never.
    #[serde(default)]
    pub keep_alive_s: u32,
    /// By this message; empty: by a piece of silence.
    #[serde(default)]
    pub keep_alive_message: String,
    /// Makes final what has been said.
    #[serde(default)]
    pub finalise_message: String,
    /// Ends the audio; empty: the WebSocket is closed, and what was not final by then is not.
    #[serde(default)]
    pub close_message: String,
    /// The longest a stream may be, in seconds; 0: as long as it likes.
    #[serde(default)]
    pub stream_max_s: u32,
    /// Where in its messages things stand.
    pub answers: Answers,
}

/// Where in a service's messages things stand, as JSON pointers (RFC 6901): from the message, or, for `word…`, from one word.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answers {
    /// What sort of message it is; empty: each one with a text is a result.
    #[serde(default)]
    pub kind: String,
    /// The sort that says that audio may come; empty: it may at once.
    #[serde(default)]
    pub ready_kind: String,
    /// The sort that says what was heard.
    #[serde(default)]
    pub result_kind: String,
    /// The sort that says what went wrong.
    #[serde(default)]
    pub error_kind: String,
    /// The sort that says that all was told, after the audio has ended; empty: it closes the WebSocket then.
    #[serde(default)]
    pub end_kind: String,
    /// What went wrong, in words. Without an `error_kind`, a message that has this is an error.
    #[serde(default)]
    pub error: String,
    /// What was heard.
    pub text: String,
    /// Whether that is final: `true`, or anything but `false`, 0 and nothing; empty: always.
    #[serde(default)]
    pub is_final: String,
    /// In which language.
    #[serde(default)]
    pub language: String,
    /// How sure it is, from 0 to 1.
    #[serde(default)]
    pub confidence: String,
    /// The unit of all times, which are counted from the first audio.
    #[serde(default)]
    pub time_unit: TimeUnit,
    /// Where the result begins.
    #[serde(default)]
    pub start: String,
    /// Where it ends.
    #[serde(default)]
    pub end: String,
    /// How long it is, where its end is not told.
    #[serde(default)]
    pub duration: String,
    /// The list of its words.
    #[serde(default)]
    pub words: String,
    /// A word's text.
    #[serde(default)]
    pub word: String,
    /// Where it begins.
    #[serde(default)]
    pub word_start: String,
    /// Where it ends.
    #[serde(default)]
    pub word_end: String,
    /// How sure the service is of it, from 0 to 1.
    #[serde(default)]
    pub word_confidence: String,
}

/// The unit of a service's times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum TimeUnit {
    /// Seconds.
    #[default]
    #[serde(rename = "s")]
    Seconds,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
}

impl TimeUnit {
    /// So many of them in milliseconds; what is below 0 or no number is 0.
    pub(super) fn ms(self, time: f64) -> u64 {
        match self {
            Self::Seconds => (time * 1_000.0).round() as u64,
            Self::Milliseconds => time.round() as u64,
        }
    }
}

const fn chunk_ms() -> u32 {
    100
}

/// A service that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// None: all is told.
    None,
    /// Deepgram.
    Deepgram,
    /// AssemblyAI.
    AssemblyAi,
}

impl FromStr for Preset {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "none" => Ok(Self::None),
            "deepgram" => Ok(Self::Deepgram),
            "assemblyai" => Ok(Self::AssemblyAi),
            _ => Err(()),
        }
    }
}

impl Preset {
    const fn text(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Deepgram => include_str!("presets/deepgram.toml"),
            Self::AssemblyAi => include_str!("presets/assemblyai.toml"),
        }
    }
}

/// A protocol that cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// It is no TOML, or a field is missing, unknown or of another type.
    #[error("it is no protocol of a recogniser: {0}")]
    Unreadable(#[from] toml::de::Error),
    /// A field's value is of no use.
    #[error("`{field}` {why}")]
    Field {
        /// Which one.
        field: &'static str,
        /// What is wrong, and what is allowed.
        why: String,
    },
}

impl Protocol {
    /// A preset with what `overrides`, in TOML, has of it.
    pub fn read(preset: Preset, overrides: &str) -> Result<Self, Unfit> {
        let mut table: Table = preset.text().parse()?;
        merge(&mut table, overrides.parse()?);
        let protocol: Self = Value::Table(table).try_into()?;
        protocol.check()?;
        Ok(protocol)
    }

    fn check(&self) -> Result<(), Unfit> {
        let field = |field, why: &str| Err(Unfit::Field { field, why: why.to_owned() });
        match super::template::address(&self.url, &super::template::Values::default()).parse::<Url>() {
            Ok(url) if matches!(url.scheme(), "ws" | "wss") && url.has_host() => {}
            _ => return field("url", "is no address such as wss://stt.example.com/listen?rate={rate}"),
        }
        if self.sample_rates_hz.is_empty() || self.sample_rates_hz.iter().any(|rate| !(8_000..=48_000).contains(rate)) {
            return field("sample_rates_hz", "are to be some of 8000 to 48000");
        }
        if !(10..=1_000).contains(&self.chunk_ms) || self.chunk_ms_min > self.chunk_ms {
            return field("chunk_ms", "is to be 10 to 1000, and not less than `chunk_ms_min`");
        }
        if !self.audio_message.is_empty() && !self.audio_message.contains("{audio}") {
            return field("audio_message", "has no {audio}");
        }
        if self.answers.text.is_empty() {
            return field("answers.text", "says nowhere where the text is");
        }
        let Answers { kind, ready_kind, result_kind, error_kind, end_kind, .. } = &self.answers;
        if kind.is_empty() && [ready_kind, result_kind, error_kind, end_kind].iter().any(|sort| !sort.is_empty()) {
            return field("answers.kind", "says nowhere what sort of message it is");
        }
        if self.answers.pointers().iter().any(|pointer| !pointer.is_empty() && !pointer.starts_with('/')) {
            return field("answers", "has a place that is no JSON pointer such as /channel/alternatives/0/transcript");
        }
        Ok(())
    }
}

impl Answers {
    fn pointers(&self) -> [&str; 14] {
        [
            &self.kind,
            &self.error,
            &self.text,
            &self.is_final,
            &self.language,
            &self.confidence,
            &self.start,
            &self.end,
            &self.duration,
            &self.words,
            &self.word,
            &self.word_start,
            &self.word_end,
            &self.word_confidence,
        ]
    }
}

/// Tables are merged; everything else is replaced.
fn merge(table: &mut Table, overrides: Table) {
    for (name, value) in overrides {
        match (table.get_mut(&name), value) {
            (Some(Value::Table(inner)), Value::Table(overrides)) => merge(inner, overrides),
            (_, value) => drop(table.insert(name, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_a_preset_can_be_overridden() {
        for preset in [Preset::Deepgram, Preset::AssemblyAi] {
            let plain = Protocol::read(preset, "").unwrap();
            let other =
                Protocol::read(preset, "model = 'mine'\n[answers]\ntext = '/t'\n[headers]\nX-More = 'a'").unwrap();
            assert_eq!((other.model.as_str(), other.answers.text.as_str(), other.headers.len()), ("mine", "/t", 2));
            assert_eq!(other.answers.words, plain.answers.words);
        }
    }

    #[test]
    fn what_cannot_be_spoken_is_told() {
        let own = "url = 'ws://host/'\nsample_rates_hz = [16000]\n[answers]\ntext = '/text'";
        assert_eq!(Protocol::read(Preset::None, own).unwrap().chunk_ms, 100);
        for (overrides, told) in [
            ("url = 'https://host/'", "url"),
            ("url = ", "TOML"),
            ("speed = 3", "speed"),
            ("sample_rates_hz = []", "sample_rates_hz"),
            ("chunk_ms = 5", "chunk_ms"),
            ("chunk_ms_min = 200", "chunk_ms"),
            ("audio_message = '{}'", "{audio}"),
            ("[answers]\ntext = ''", "answers.text"),
            ("[answers]\nkind = ''", "answers.kind"),
            ("[answers]\nstart = 'start'", "JSON pointer"),
            ("[answers]\ntime_unit = 'h'", "time_unit"),
        ] {
            let error = Protocol::read(Preset::Deepgram, overrides).unwrap_err();
            assert!(format!("{error}").contains(told), "{overrides}: {error}");
        }
        assert!(Protocol::read(Preset::None, "").is_err());
    }
}
