//! The voice, and whether the recogniser understands it.

use aimg_core::TenantId;
use aimg_speech::local::{Config as LocalConfig, LocalRecogniser};
use aimg_speech::voice::{Config, ProgramVoice};
use aimg_speech::{StreamOptions, TextToSpeech, VoiceOptions};
use aimg_testbed::WordErrors;
use uuid::Uuid;

use crate::model::model;
use crate::speech::heard;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_is_heard() {
    const TEXT: &str = "Please wait while I connect your call to the sales department.";
    let voice = ProgramVoice::new(Config::flite("flite"));
    voice.check().await.unwrap();
    let local = LocalRecogniser::start(LocalConfig::new("local", model().await)).unwrap();
    for (name, rate_hz) in [(None, 16_000), (Some("kal"), 8_000)] {
        let options = VoiceOptions { voice: name.map(str::to_owned), ..VoiceOptions::default() };
        let mut speech = voice.speak(TEXT, &options).await.unwrap();
        assert_eq!(speech.sample_rate_hz, rate_hz);
        let mut samples = Vec::new();
        while let Some(piece) = speech.audio.recv().await {
            samples.extend(piece.unwrap());
        }
        let options = StreamOptions::new(TenantId::from_uuid(Uuid::from_u128(1)), rate_hz);
        let finals = heard(&local, &options, &samples).await.into_iter().filter(|hypothesis| hypothesis.is_final);
        let text = finals.map(|hypothesis| hypothesis.text).collect::<Vec<_>>().join(" ");
        assert!(WordErrors::between(TEXT, &text).errors <= 1, "{name:?}: {text}");
    }
}
