//! The effective settings, to be shown; and the table of all settings, to be read.

use serde::Serialize;

use super::sources::Origin;
use super::table::About;

/// What is shown in place of a secret.
const HIDDEN: &str = "(hidden)";

/// One setting as it is in effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    /// Its place in the TOML file.
    pub(crate) key: &'static str,
    /// Its environment variable.
    pub(crate) env: &'static str,
    /// Its value; empty where it is not set, a word where it is secret.
    pub(crate) value: String,
    /// Where the value comes from.
    pub(crate) origin: Origin,
}

/// `text` as it may be shown.
pub(super) fn shown(about: &About, text: &str) -> String {
    if about.secret && !text.is_empty() { HIDDEN.to_owned() } else { text.to_owned() }
}

/// The Markdown table of every setting, as it stands in `docs/configuration.md`.
#[cfg(test)]
pub(super) fn markdown() -> String {
    use super::table::{ALL, Fallback};

    let head = "| TOML key | environment | default | allowed | what it does |\n|---|---|---|---|---|\n";
    ALL.iter().fold(head.to_owned(), |table, about| {
        let default = match about.default {
            Fallback::Text(text) => format!("`{text}`"),
            Fallback::Unset => "not set".to_owned(),
            Fallback::Derived(described) => described.to_owned(),
        };
        let About { key, env, allowed, help, .. } = about;
        format!("{table}| `{key}` | `{env}` | {default} | {allowed} | {help} |\n")
    })
}
