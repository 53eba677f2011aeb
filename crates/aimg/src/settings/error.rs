//! What is wrong with the settings.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// The settings cannot be used, and all the reasons why.
#[derive(Debug)]
pub(crate) struct SettingsError {
    problems: Vec<Problem>,
}

impl SettingsError {
    pub(super) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// At least one, in the order in which they were met.
    #[cfg(test)]
    pub(crate) fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            let separator = if n == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SettingsError {}

/// One thing that is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Problem {
    /// A value that is not allowed.
    #[error("{key} = {value} ({place}) is {why}; allowed: {allowed}")]
    Value {
        /// The setting.
        key: &'static str,
        /// Its value, or a word in place of a secret.
        value: String,
        /// Where it is set.
        place: String,
        /// What it is instead.
        why: String,
        /// Which values it takes.
        allowed: &'static str,
    },
    /// A key of the TOML file that is no setting.
    #[error("{key} ({place}) is no setting{}", did_you_mean(*.suggestion))]
    UnknownKey {
        /// The key.
        key: String,
        /// Where it stands.
        place: String,
        /// A setting with a similar name.
        suggestion: Option<&'static str>,
    },
    /// The file is not TOML.
    #[error("{place} is not TOML: {message}")]
    NotToml {
        /// Where it goes wrong.
        place: String,
        /// What is wrong.
        message: String,
    },
    /// A line of `.env` that sets nothing. Its text is not shown: it may hold a secret.
    #[error("{place} is not of the form NAME=value; quote values with spaces, and comment with #")]
    NotDotEnv {
        /// Where it goes wrong.
        place: String,
    },
    /// A variable whose value is no text.
    #[error("{name} in the environment is not UTF-8; set it to a text")]
    NotUtf8 {
        /// The variable.
        name: &'static str,
    },
    /// A file that cannot be read.
    #[error("{path} cannot be read: {source}; make it readable, or name another file with --config")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    match suggestion {
        Some(key) => format!("; did you mean {key}?"),
        None => "; docs/configuration.md lists them".to_owned(),
    }
}
