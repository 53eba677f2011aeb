//! The providers of an installation, by name.

use std::fmt;
use std::sync::Arc;

use crate::recognise::SpeechToText;
use crate::synthesise::TextToSpeech;

/// Who recognises and who speaks, in the order in which they are preferred.
#[derive(Clone, Default)]
pub struct Providers {
    recognisers: Vec<Arc<dyn SpeechToText>>,
    voices: Vec<Arc<dyn TextToSpeech>>,
}

impl Providers {
    /// With another recogniser, after those that are there.
    #[must_use]
    pub fn with_recogniser(mut self, recogniser: Arc<dyn SpeechToText>) -> Self {
        self.recognisers.push(recogniser);
        self
    }

    /// With another voice, after those that are there.
    #[must_use]
    pub fn with_voice(mut self, voice: Arc<dyn TextToSpeech>) -> Self {
        self.voices.push(voice);
        self
    }

    /// The recogniser of this name.
    pub fn recogniser(&self, name: &str) -> Option<&Arc<dyn SpeechToText>> {
        self.recognisers.iter().find(|recogniser| recogniser.name() == name)
    }

    /// The voice of this name.
    pub fn voice(&self, name: &str) -> Option<&Arc<dyn TextToSpeech>> {
        self.voices.iter().find(|voice| voice.name() == name)
    }

    /// All recognisers, the preferred one first.
    pub fn recognisers(&self) -> &[Arc<dyn SpeechToText>] {
        &self.recognisers
    }

    /// All voices, the preferred one first.
    pub fn voices(&self) -> &[Arc<dyn TextToSpeech>] {
        &self.voices
    }
}

impl fmt::Debug for Providers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let recognisers: Vec<_> = self.recognisers.iter().map(|provider| provider.name()).collect();
        let voices: Vec<_> = self.voices.iter().map(|provider| provider.name()).collect();
        f.debug_struct("Providers").field("recognisers", &recognisers).field("voices", &voices).finish()
    }
}
