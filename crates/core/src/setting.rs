//! The settings that are kept in the database: for the whole installation, and differently for a tenant.
//!
//! What a node needs to start is not here but in its configuration. Each setting here is read where it takes effect, so
//! that a change needs no restart.

use serde_json::Value;

/// One setting that somebody can change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    /// Its stable name: `area.what_unit`.
    pub key: &'static str,
    /// What it can be.
    pub kind: SettingKind,
    /// What it is until somebody sets it.
    pub default: SettingDefault,
    /// Who may change it.
    pub changed_by: ChangedBy,
    /// What it does, for people.
    pub says: &'static str,
}

/// What a setting can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingKind {
    /// Yes or no.
    Bool,
    /// A whole number.
    Number {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// One of a few words.
    Choice {
        /// The words.
        of: &'static [&'static str],
    },
    /// A text.
    Text {
        /// The most bytes of it.
        bytes_max: usize,
    },
    /// A text that is sealed in the database and never shown again.
    Secret {
        /// The most bytes of it.
        bytes_max: usize,
    },
}

/// What a setting is until somebody sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingDefault {
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Number(i64),
    /// A text.
    Text(&'static str),
    /// Nothing.
    Unset,
}

/// Who may change a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangedBy {
    /// Whoever runs the installation, for all tenants or for one.
    Installation,
    /// Also a tenant's own administrators, for their tenant.
    Tenant,
}

/// The most days that anything can be asked to be kept: a hundred years.
const DAYS_MAX: i64 = 36_500;

impl Setting {
    /// Days after which a recording is removed with its file.
    pub const RECORDINGS_RETENTION_DAYS: Self = Self {
        key: "recordings.retention_days",
        kind: SettingKind::Number { min: 0, max: DAYS_MAX },
        default: SettingDefault::Number(0),
        changed_by: ChangedBy::Tenant,
        says: "Days after which a recording is removed, with its file and certificate. 0 keeps recordings for ever.",
    };
    /// Days after which a transcript is removed.
    pub const TRANSCRIPTS_RETENTION_DAYS: Self = Self {
        key: "transcripts.retention_days",
        kind: SettingKind::Number { min: 0, max: DAYS_MAX },
        default: SettingDefault::Number(0),
        changed_by: ChangedBy::Tenant,
        says: "Days after which a transcript is removed, with its segments. 0 keeps transcripts for ever.",
    };
    /// Days after which an entry of the audit log is removed.
    pub const AUDIT_RETENTION_DAYS: Self = Self {
        key: "audit.retention_days",
        kind: SettingKind::Number { min: 0, max: DAYS_MAX },
        default: SettingDefault::Number(0),
        changed_by: ChangedBy::Installation,
        says: "Days after which an entry of the audit log is removed. 0 keeps entries for ever.",
    };

    /// Who makes text of calls.
    pub const SPEECH_RECOGNISER: Self = Self {
        key: "speech.recogniser",
        kind: SettingKind::Choice { of: &["auto", "off", "riva", "http", "websocket", "local"] },
        default: SettingDefault::Text("auto"),
        changed_by: ChangedBy::Tenant,
        says: "Who makes text of calls, as they go on. `auto` takes the first that is set up: riva, http, websocket, local.",
    };
    /// Who makes text of calls while the first one cannot.
    pub const SPEECH_RECOGNISER_SECOND: Self = Self {
        key: "speech.recogniser_second",
        kind: SettingKind::Choice { of: &["off", "riva", "http", "websocket", "local"] },
        default: SettingDefault::Text("off"),
        changed_by: ChangedBy::Tenant,
        says: "Who makes text of calls while the first recogniser fails or has no place.",
    };
    /// The language of calls.
    pub const SPEECH_LANGUAGE: Self = Self {
        key: "speech.language",
        kind: SettingKind::Text { bytes_max: 35 },
        default: SettingDefault::Text(""),
        changed_by: ChangedBy::Tenant,
        says: "The language that is spoken in calls, as BCP 47 (`en-US`). Empty: what the recogniser is set up for.",
    };
    /// The recogniser's model.
    pub const SPEECH_MODEL: Self = Self {
        key: "speech.model",
        kind: SettingKind::Text { bytes_max: 128 },
        default: SettingDefault::Text(""),
        changed_by: ChangedBy::Tenant,
        says: "The recogniser's model, by the recogniser's own name for it. Empty: its default for the language.",
    };
    /// Words that are likelier in calls.
    pub const SPEECH_BOOSTS: Self = Self {
        key: "speech.boosts",
        kind: SettingKind::Text { bytes_max: 8_192 },
        default: SettingDefault::Text(""),
        changed_by: ChangedBy::Tenant,
        says: "Words and phrases that are likely in calls, one a line, with a weight on the recogniser's scale after the \
               last `:`, as in `Acme Widget:15`. For recognisers that can be told.",
    };

    /// Whether numbers are masked in the text of calls.
    pub const SPEECH_REDACT: Self = Self {
        key: "speech.redact",
        kind: SettingKind::Bool,
        default: SettingDefault::Bool(false),
        changed_by: ChangedBy::Tenant,
        says: "Whether card, account and phone numbers are masked in the text of calls, live and as it is kept: seven digits or \
               more in a row, as figures or as English words. The recordings keep what was said.",
    };

    /// Every setting there is, by key.
    pub const ALL: &[Self] = &[
        Self::AUDIT_RETENTION_DAYS,
        Self::RECORDINGS_RETENTION_DAYS,
        Self::SPEECH_BOOSTS,
        Self::SPEECH_LANGUAGE,
        Self::SPEECH_MODEL,
        Self::SPEECH_RECOGNISER,
        Self::SPEECH_RECOGNISER_SECOND,
        Self::SPEECH_REDACT,
        Self::TRANSCRIPTS_RETENTION_DAYS,
    ];

    /// The setting of this key.
    pub fn named(key: &str) -> Result<&'static Self, UnknownSetting> {
        // Who knows how it begins has found it.
        let from = |known: &&str| (!known.starts_with(key), distance(key, known));
        let nearest = || Self::ALL.iter().map(|s| s.key).min_by_key(from).unwrap_or_default();
        Self::ALL
            .iter()
            .find(|setting| setting.key == key)
            .ok_or_else(|| UnknownSetting { key: key.to_owned(), nearest: nearest() })
    }

    /// Whether its value is sealed and never shown.
    pub const fn is_secret(&self) -> bool {
        matches!(self.kind, SettingKind::Secret { .. })
    }

    /// Refuses what it cannot be.
    pub fn check(&self, value: &Value) -> Result<(), BadSetting> {
        let fits = match self.kind {
            SettingKind::Bool => value.is_boolean(),
            SettingKind::Number { min, max } => value.as_i64().is_some_and(|number| (min..=max).contains(&number)),
            SettingKind::Choice { of } => value.as_str().is_some_and(|word| of.contains(&word)),
            SettingKind::Text { bytes_max } => value.as_str().is_some_and(|text| text.len() <= bytes_max),
            SettingKind::Secret { bytes_max } => {
                value.as_str().is_some_and(|text| !text.is_empty() && text.len() <= bytes_max)
            }
        };
        if fits { Ok(()) } else { Err(BadSetting { key: self.key, allowed: self.kind.to_string() }) }
    }
}

impl SettingDefault {
    /// As JSON.
    pub fn value(self) -> Value {
        match self {
            Self::Bool(value) => value.into(),
            Self::Number(value) => value.into(),
            Self::Text(value) => value.into(),
            Self::Unset => Value::Null,
        }
    }
}

impl std::fmt::Display for SettingKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bool => f.write_str("true or false"),
            Self::Number { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Choice { of } => write!(f, "one of {}", of.join(", ")),
            Self::Text { bytes_max } => write!(f, "a text of at most {bytes_max} bytes"),
            Self::Secret { bytes_max } => write!(f, "a text of 1 to {bytes_max} bytes"),
        }
    }
}

/// A key that no setting has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no setting `{key}`; did you mean `{nearest}`?")]
pub struct UnknownSetting {
    /// The key.
    pub key: String,
    /// The key of the setting that is most like it.
    pub nearest: &'static str,
}

/// A value that a setting cannot have. It may be a secret, so it is not repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` must be {allowed}")]
pub struct BadSetting {
    /// The setting.
    pub key: &'static str,
    /// What it can be.
    pub allowed: String,
}

/// How many letters have to be changed, added or taken out to make one text of the other (Levenshtein). Of a longer text
/// only the beginning is looked at.
fn distance(a: &str, b: &str) -> usize {
    const LOOKED_AT: usize = 64;
    let b: Vec<char> = b.chars().take(LOOKED_AT).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(LOOKED_AT).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            let least = changed.min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], least);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_are_known_by_key_and_an_unknown_one_by_its_nearest() {
        for pair in Setting::ALL.windows(2) {
            assert!(pair[0].key < pair[1].key, "sorted and unique: {}", pair[1].key);
        }
        for setting in Setting::ALL {
            assert_eq!(Setting::named(setting.key), Ok(setting));
            let default = setting.default.value();
            assert!(default.is_null() == setting.is_secret(), "{}", setting.key);
            assert!(default.is_null() || setting.check(&default).is_ok(), "{}", setting.key);
        }
        for (asked, nearest) in [
            ("recording.retention_days", "recordings.retention_days"),
            ("audit", "audit.retention_days"),
            ("speech.recognizer", "speech.recogniser"),
            ("Transcripts.Retention_Days", "transcripts.retention_days"),
        ] {
            assert_eq!(Setting::named(asked).unwrap_err().nearest, nearest);
        }
        assert_eq!(Setting::named(&"é".repeat(10_000)).unwrap_err().key.len(), 20_000, "a long one ends too");
    }

    #[test]
    fn values_are_of_their_kind() {
        let secret = Setting {
            kind: SettingKind::Secret { bytes_max: 4 },
            default: SettingDefault::Unset,
            ..Setting::AUDIT_RETENTION_DAYS
        };
        let text = Setting { kind: SettingKind::Text { bytes_max: 4 }, ..secret };
        let switch = Setting { kind: SettingKind::Bool, default: SettingDefault::Bool(true), ..secret };
        for (setting, value, fits) in [
            (Setting::AUDIT_RETENTION_DAYS, json!(0), true),
            (Setting::AUDIT_RETENTION_DAYS, json!(36_500), true),
            (Setting::AUDIT_RETENTION_DAYS, json!(36_501), false),
            (Setting::AUDIT_RETENTION_DAYS, json!(-1), false),
            (Setting::AUDIT_RETENTION_DAYS, json!(1.5), false),
            (Setting::AUDIT_RETENTION_DAYS, json!("1"), false),
            (Setting::AUDIT_RETENTION_DAYS, json!(null), false),
            (switch, json!(false), true),
            (switch, json!(0), false),
            (secret, json!("1234"), true),
            (secret, json!(""), false),
            (secret, json!("12345"), false),
            (text, json!(""), true),
            (text, json!("1234"), true),
            (text, json!("12345"), false),
            (text, json!(1), false),
            (Setting::SPEECH_RECOGNISER, json!("local"), true),
            (Setting::SPEECH_RECOGNISER, json!("Local"), false),
            (Setting::SPEECH_RECOGNISER, json!(null), false),
        ] {
            assert_eq!(setting.check(&value).is_ok(), fits, "{:?} {value}", setting.kind);
        }
        assert!(!secret.check(&json!("12345")).unwrap_err().to_string().contains("12345"));
    }
}
