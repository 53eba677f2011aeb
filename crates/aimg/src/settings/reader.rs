//! Takes the settings out of what was found, one by one: value, row to be shown, or problem.

use std::collections::BTreeMap;
use std::fmt::Display;

use super::error::{Problem, SettingsError};
use super::report::{Row, shown};
use super::sources::{Found, Gathered, Origin};
use super::table::{Fallback, Setting};

/// Reads settings and keeps account.
pub(super) struct Reader {
    found: BTreeMap<&'static str, Found>,
    strangers: Vec<String>,
    rows: Vec<Row>,
    problems: Vec<Problem>,
}

impl Reader {
    pub(super) fn new(gathered: Gathered) -> Self {
        let Gathered { found, strangers, problems } = gathered;
        Self { found, strangers, rows: Vec::new(), problems }
    }

    /// The value of a setting with a fixed default.
    pub(super) fn read<T>(&mut self, setting: &Setting<T>) -> T {
        let default = match setting.about.default {
            Fallback::Text(text) => text,
            Fallback::Unset | Fallback::Derived(_) => "",
        };
        self.read_or(setting, default)
    }

    /// The value of a setting; `default` when it is not set, or is wrong, so that the others are looked at too.
    pub(super) fn read_or<T>(&mut self, setting: &Setting<T>, default: impl Display) -> T {
        let about = &setting.about;
        let default = default.to_string();
        let Found { text, origin } =
            self.found.remove(about.key).unwrap_or_else(|| Found { text: default.clone(), origin: Origin::Default });
        self.rows.push(Row { key: about.key, env: about.env, value: shown(about, &text), origin });
        (setting.parse)(&text).unwrap_or_else(|| {
            self.reject(setting, "not a value it takes");
            (setting.parse)(&default).expect("a default is a value that the setting takes")
        })
    }

    /// Notes that the value of a setting that was read cannot be used.
    pub(super) fn reject<T>(&mut self, setting: &Setting<T>, why: impl Display) {
        let about = &setting.about;
        let row = self.rows.iter().rfind(|row| row.key == about.key).expect("what is rejected was read");
        self.problems.push(Problem::Value {
            key: about.key,
            value: row.value.clone(),
            place: row.origin.place(about.env),
            why: why.to_string(),
            allowed: about.allowed,
        });
    }

    /// The rows and the strange variables, or everything that was wrong.
    pub(super) fn finish(self) -> Result<(Vec<Row>, Vec<String>), SettingsError> {
        if self.problems.is_empty() { Ok((self.rows, self.strangers)) } else { Err(SettingsError::new(self.problems)) }
    }
}
