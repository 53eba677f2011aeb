//! What Riva is asked for: the settings, what the stream wants, and the custom names that are fields of Riva's.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::proto::AudioEncoding;
use super::proto::asr::{EndpointingConfig, RecognitionConfig, SpeakerDiarizationConfig, SpeechContext};
use super::settings::Settings;
use crate::error::{ErrorKind, Result};
use crate::recognise::{Boost, StreamOptions};

/// The rates that Riva resamples by itself, in Hz.
const RATES_HZ: std::ops::RangeInclusive<u32> = 8_000..=48_000;
/// Riva's scale of boosts.
const BOOSTS: std::ops::RangeInclusive<f32> = -20.0..=20.0;

/// How samples of this rate are sent.
pub(super) const fn encoding(settings: &Settings, sample_rate_hz: u32) -> AudioEncoding {
    if settings.ulaw && sample_rate_hz == 8_000 { AudioEncoding::Mulaw } else { AudioEncoding::LinearPcm }
}

/// What is asked for. What the stream wants wins over the settings.
pub(super) fn recognition(settings: &Settings, options: &StreamOptions) -> Result<RecognitionConfig> {
    let invalid = |what: String| settings.error(ErrorKind::Invalid, what);
    let rate = options.sample_rate_hz;
    if !RATES_HZ.contains(&rate) {
        return Err(invalid(format!("{rate} Hz: Riva takes 8000 to 48000 Hz")));
    }
    let language = options.language.as_deref().unwrap_or(&settings.language);
    let model = options.model.as_deref().or_else(|| settings.models.value(language)).unwrap_or_default();
    let speakers_max = options.speakers_max.filter(|_| settings.speakers);
    let mut config = RecognitionConfig {
        encoding: encoding(settings, rate).into(),
        sample_rate_hertz: i32::try_from(rate).expect("it is at most 48000"),
        language_code: language.to_owned(),
        max_alternatives: settings.alternatives_max.into(),
        profanity_filter: settings.profanity_filter,
        speech_contexts: contexts(&options.boosts).map_err(invalid)?,
        audio_channel_count: 1,
        enable_word_time_offsets: settings.word_times,
        enable_automatic_punctuation: settings.punctuation,
        model: model.to_owned(),
        diarization_config: speakers_max
            .map(|max| SpeakerDiarizationConfig { enable_speaker_diarization: true, max_speaker_count: max.into() }),
        ..RecognitionConfig::default()
    };
    let mut custom: BTreeMap<&str, &str> = settings.custom.iter().collect();
    custom.extend(options.custom.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    for (name, value) in custom {
        set(&mut config, name, value).map_err(invalid)?;
    }
    Ok(config)
}

/// Sets a field by Riva's name; what is no field is for the model.
fn set(config: &mut RecognitionConfig, name: &str, value: &str) -> std::result::Result<(), String> {
    let ends = || config.endpointing_config.unwrap_or_default();
    let ends = match name {
        "max_alternatives" => return parsed(name, value).map(|v| config.max_alternatives = v),
        "profanity_filter" => return parsed(name, value).map(|v| config.profanity_filter = v),
        "enable_automatic_punctuation" => return parsed(name, value).map(|v| config.enable_automatic_punctuation = v),
        "verbatim_transcripts" => return parsed(name, value).map(|v| config.verbatim_transcripts = v),
        "start_history" => EndpointingConfig { start_history: Some(parsed(name, value)?), ..ends() },
        "start_threshold" => EndpointingConfig { start_threshold: Some(parsed(name, value)?), ..ends() },
        "stop_history" => EndpointingConfig { stop_history: Some(parsed(name, value)?), ..ends() },
        "stop_threshold" => EndpointingConfig { stop_threshold: Some(parsed(name, value)?), ..ends() },
        "stop_history_eou" => EndpointingConfig { stop_history_eou: Some(parsed(name, value)?), ..ends() },
        "stop_threshold_eou" => EndpointingConfig { stop_threshold_eou: Some(parsed(name, value)?), ..ends() },
        _ => {
            config.custom_configuration.insert(name.to_owned(), value.to_owned());
            return Ok(());
        }
    };
    config.endpointing_config = Some(ends);
    Ok(())
}

fn parsed<T: FromStr>(name: &str, value: &str) -> std::result::Result<T, String> {
    value.parse().map_err(|_| format!("`{value}` is no value for {name}"))
}

/// One context for the phrases of each weight.
fn contexts(boosts: &[Boost]) -> std::result::Result<Vec<SpeechContext>, String> {
    let mut contexts: Vec<SpeechContext> = Vec::new();
    for Boost { phrase, weight } in boosts {
        if !BOOSTS.contains(weight) {
            return Err(format!("a boost of {weight}: Riva takes -20 to 20"));
        }
        match contexts.iter_mut().find(|context| context.boost.total_cmp(weight).is_eq()) {
            Some(context) => context.phrases.push(phrase.clone()),
            None => contexts.push(SpeechContext { phrases: vec![phrase.clone()], boost: *weight }),
        }
    }
    Ok(contexts)
}

#[cfg(test)]
mod tests {
    use aimg_core::TenantId;
    use uuid::Uuid;

    use super::*;

    fn settings() -> Settings {
        Settings::new("riva:1".parse().unwrap())
    }

    fn options() -> StreamOptions {
        StreamOptions::new(TenantId::from_uuid(Uuid::from_u128(1)), 8_000)
    }

    #[test]
    fn settings_stand_where_nothing_is_wanted() {
        let settings = Settings {
            models: "en-US=parakeet,de-DE=conformer".parse().unwrap(),
            custom: "stop_history:700,apply_partial_itn:true".parse().unwrap(),
            ..settings()
        };
        let config = recognition(&settings, &options()).unwrap();
        let expected = RecognitionConfig {
            encoding: AudioEncoding::LinearPcm.into(),
            sample_rate_hertz: 8_000,
            language_code: "en-US".to_owned(),
            max_alternatives: 3,
            profanity_filter: true,
            audio_channel_count: 1,
            enable_word_time_offsets: true,
            enable_automatic_punctuation: true,
            model: "parakeet".to_owned(),
            custom_configuration: [("apply_partial_itn".to_owned(), "true".to_owned())].into(),
            endpointing_config: Some(EndpointingConfig { stop_history: Some(700), ..Default::default() }),
            ..Default::default()
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn what_the_stream_wants_wins() {
        let settings =
            Settings { custom: "stop_history=700,max_alternatives=2".parse().unwrap(), ulaw: true, ..settings() };
        let boost = |phrase: &str, weight| Boost { phrase: phrase.to_owned(), weight };
        let custom = [("stop_history", "500"), ("stop_threshold_eou", "0.9"), ("verbatim_transcripts", "true")];
        let wants = StreamOptions {
            language: Some("de-DE".to_owned()),
            model: Some("own".to_owned()),
            speakers_max: Some(2),
            boosts: vec![boost("Asterisk", 10.0), boost("uh", -5.0), boost("Kamailio", 10.0)],
            custom: custom.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            ..options()
        };
        let config = recognition(&settings, &wants).unwrap();
        assert_eq!((config.language_code.as_str(), config.model.as_str()), ("de-DE", "own"));
        assert_eq!((config.encoding(), config.max_alternatives), (AudioEncoding::Mulaw, 2));
        assert!(config.verbatim_transcripts);
        let ends = EndpointingConfig { stop_history: Some(500), stop_threshold_eou: Some(0.9), ..Default::default() };
        assert_eq!(config.endpointing_config, Some(ends));
        let context = |phrases: &[&str], boost| SpeechContext {
            phrases: phrases.iter().map(|&phrase| phrase.to_owned()).collect(),
            boost,
        };
        assert_eq!(config.speech_contexts, [context(&["Asterisk", "Kamailio"], 10.0), context(&["uh"], -5.0)]);
        let two = SpeakerDiarizationConfig { enable_speaker_diarization: true, max_speaker_count: 2 };
        assert_eq!(config.diarization_config, Some(two));

        let without = Settings { speakers: false, ..settings.clone() };
        assert_eq!(recognition(&without, &wants).unwrap().diarization_config, None);
        let wideband = StreamOptions { sample_rate_hz: 16_000, ..wants };
        assert_eq!(recognition(&settings, &wideband).unwrap().encoding(), AudioEncoding::LinearPcm);
    }

    #[test]
    fn what_riva_cannot_take_is_told_before() {
        let slow = StreamOptions { sample_rate_hz: 4_000, ..options() };
        let loud = StreamOptions { boosts: vec![Boost { phrase: "x".to_owned(), weight: 21.0 }], ..options() };
        let wrong = StreamOptions { custom: [("stop_history".to_owned(), "soon".to_owned())].into(), ..options() };
        for (options, words) in
            [(slow, "4000 Hz"), (loud, "a boost of 21"), (wrong, "`soon` is no value for stop_history")]
        {
            let error = recognition(&settings(), &options).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Invalid);
            assert!(error.what.contains(words), "{error}");
        }
    }
}
