//! Asterisk's prompts and their texts, for whoever wants to know whether speech is understood.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use aimg_audio::wav::WavReader;

use crate::{Error, Root, Version};

/// Where Debian keeps the texts, under the root.
const TEXTS: &str = "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz";
/// Prompts of fewer words say little about a recogniser.
const WORDS_MIN: usize = 4;

/// A prompt: one human speaker, recorded in a studio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// Its name, such as `demo-congrats`.
    pub name: String,
    /// What is said.
    pub text: String,
    path: PathBuf,
}

impl Prompt {
    /// All prompts of four words or more that have a text without remarks, in order of their names.
    pub fn all() -> Result<Vec<Self>, Error> {
        let root = Root::of(Version::V22)?;
        let texts = root.path().join(TEXTS);
        let unzipped = Command::new("zcat").arg(&texts).output().map_err(Error::io("cannot run zcat"))?;
        let sounds = root.sounds();
        let languages: Vec<PathBuf> = fs::read_dir(&sounds)
            .map_err(Error::io(format!("cannot read {}", sounds.display())))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        let find = |name: &str| languages.iter().map(|dir| dir.join(format!("{name}.wav"))).find(|path| path.is_file());
        let texts = String::from_utf8_lossy(&unzipped.stdout);
        let prompt = |line: &str| {
            let (name, text) = line.split_once(": ")?;
            let is_plain = !text.contains(['[', '(', '<']) && text.split_whitespace().count() >= WORDS_MIN;
            let path = is_plain.then(|| find(name))??;
            Some(Self { name: name.to_owned(), text: text.trim().to_owned(), path })
        };
        let mut prompts: Vec<Self> = texts.lines().filter_map(prompt).collect();
        prompts.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(prompts)
    }

    /// The one of a name.
    pub fn named(name: &str) -> Result<Self, Error> {
        let all = Self::all()?;
        let directory = Root::of(Version::V22)?.sounds();
        all.into_iter()
            .find(|prompt| prompt.name == name)
            .ok_or_else(|| Error::NoPrompt { name: name.into(), directory })
    }

    /// Its samples, mono at 8 kHz.
    pub fn samples(&self) -> Result<Vec<i16>, Error> {
        let wav = File::open(&self.path).map_err(Error::io(format!("cannot open {}", self.path.display())))?;
        let channels = WavReader::new(wav).and_then(WavReader::into_channels);
        Ok(channels.map_err(|source| Error::BadPrompt { path: self.path.clone(), source })?.swap_remove(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_many_prompts_with_text_and_sound() {
        let prompts = Prompt::all().unwrap();
        assert!(prompts.len() >= 200, "{}", prompts.len());
        let congrats = Prompt::named("demo-congrats").unwrap();
        assert!(congrats.text.starts_with("Congratulations.") && congrats.samples().unwrap().len() > 25 * 8_000);
        assert!(matches!(Prompt::named("beep"), Err(Error::NoPrompt { .. })));
    }
}
