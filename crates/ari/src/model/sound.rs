//! Prompts.

use serde::Deserialize;

/// A prompt that Asterisk has.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Sound {
    /// Its id, such as `hello-world`.
    pub id: String,
    /// What is said.
    #[serde(default)]
    pub text: Option<String>,
    /// The languages and formats there are of it.
    #[serde(default)]
    pub formats: Vec<SoundFormat>,
}

/// One file of a prompt.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SoundFormat {
    /// Such as `en`.
    pub language: String,
    /// Such as `gsm`.
    pub format: String,
}
