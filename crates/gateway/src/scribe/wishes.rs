//! What a tenant wants made of its calls' speech.

use std::sync::Arc;

use aimg_core::{Setting, TenantId, TenantScope};
use aimg_speech::{Boost, Providers, SpeechToText, StreamOptions};
use aimg_store::Store;
use serde_json::Value;

/// How much likelier a phrase is whose weight nobody said.
const WEIGHT: f32 = 10.0;

/// Who recognises, and how.
#[derive(Clone)]
pub(super) struct Wishes {
    /// Who recognises; nobody where it is not wanted, or nobody is set up.
    pub(super) first: Option<Arc<dyn SpeechToText>>,
    /// Who does while the first one cannot.
    pub(super) second: Option<Arc<dyn SpeechToText>>,
    /// How.
    pub(super) options: StreamOptions,
    /// Whether numbers are masked.
    pub(super) redacts: bool,
}

impl Wishes {
    /// As the tenant has set it.
    pub(super) async fn of(store: &Store, providers: &Providers, tenant: TenantId) -> Result<Self, aimg_store::Error> {
        let settings = store.settings(TenantScope::Tenant(tenant), Some(tenant)).await?;
        let value = |setting: Setting| settings.iter().find(|s| s.setting.key == setting.key).map(|s| &s.value);
        let text = |setting| value(setting).and_then(Value::as_str).unwrap_or_default();
        let named = |name: &str| {
            match name {
            "off" => None,
            "auto" => providers.recognisers().first(),
            name => providers.recogniser(name).or_else(|| {
                tracing::warn!(tenant.id = %tenant, recogniser = name, "a tenant wants a recogniser that is not set up: \
                    its calls stay without text until it is, or until the tenant's settings name another one");
                None
            }),
        }
        };
        let first = named(text(Setting::SPEECH_RECOGNISER)).cloned();
        let second = first.as_ref().and_then(|first| {
            named(text(Setting::SPEECH_RECOGNISER_SECOND)).filter(|second| second.name() != first.name()).cloned()
        });
        let set = |setting| Some(text(setting).to_owned()).filter(|text| !text.is_empty());
        let options = StreamOptions {
            language: set(Setting::SPEECH_LANGUAGE),
            model: set(Setting::SPEECH_MODEL),
            boosts: boosts(text(Setting::SPEECH_BOOSTS)),
            ..StreamOptions::new(tenant, 0)
        };
        let redacts = value(Setting::SPEECH_REDACT).and_then(Value::as_bool).unwrap_or_default();
        Ok(Self { first, second, options, redacts })
    }
}

/// One phrase a line, with its weight after the last colon.
fn boosts(text: &str) -> Vec<Boost> {
    let boost = |line: &str| {
        let weighted = line.rsplit_once(':').and_then(|(phrase, weight)| {
            let weight: f32 = weight.trim().parse().ok()?;
            weight.is_finite().then_some((phrase, weight))
        });
        let (phrase, weight) = weighted.unwrap_or((line, WEIGHT));
        Boost { phrase: phrase.trim().to_owned(), weight }
    };
    text.lines().map(boost).filter(|boost| !boost.phrase.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boost_is_a_line_with_a_weight_or_without() {
        let boost = |phrase: &str, weight| Boost { phrase: phrase.to_owned(), weight };
        let read = boosts("Acme Widget: 15\n\n  Wolfratshausen  \nratio 1:2:-4.5\n: 3\nnote: later");
        let expected = [
            boost("Acme Widget", 15.0),
            boost("Wolfratshausen", WEIGHT),
            boost("ratio 1:2", -4.5),
            boost("note: later", WEIGHT),
        ];
        assert_eq!(read, expected);
    }
}
