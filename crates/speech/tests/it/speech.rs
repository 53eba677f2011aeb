//! Real speech for tests: Asterisk's prompts, one after the other, with what is said in them and where.

use aimg_speech::{Audio, Hypothesis, SpeechToText, StreamOptions};
use aimg_testbed::Prompt;

/// Samples a second of the prompts.
pub(crate) const RATE_HZ: u32 = 8_000;

/// Prompts that are short, and together have the letters, numbers and names that telephony has.
pub(crate) const PROMPTS: [&str; 12] = [
    "agent-pass",
    "cannot-complete-as-dialed",
    "check-number-dial-again",
    "conf-getpin",
    "conf-invalidpin",
    "conf-onlyperson",
    "conf-placeintoconf",
    "followme/sorry",
    "vm-dialout",
    "vm-nobodyavail",
    "vm-record-prepend",
    "vm-savefolder",
];

/// What was played, and when.
pub(crate) struct Played {
    pub(crate) text: String,
    pub(crate) start_ms: u64,
    pub(crate) end_ms: u64,
}

/// The prompts with silence around each.
pub(crate) fn played(names: &[&str], silence_ms: u64) -> (Vec<i16>, Vec<Played>) {
    let all = Prompt::all().unwrap();
    let silence = vec![0; (silence_ms * u64::from(RATE_HZ) / 1_000) as usize];
    let (mut samples, mut played) = (silence.clone(), Vec::new());
    for name in names {
        let prompt = all.iter().find(|prompt| prompt.name == *name).unwrap_or_else(|| panic!("no prompt {name}"));
        let start_ms = ms(samples.len());
        samples.extend(prompt.samples().unwrap());
        played.push(Played { text: prompt.text.clone(), start_ms, end_ms: ms(samples.len()) });
        samples.extend(&silence);
    }
    (samples, played)
}

pub(crate) fn ms(samples: usize) -> u64 {
    samples as u64 * 1_000 / u64::from(RATE_HZ)
}

/// Everything that is heard in samples that come as fast as they are taken, in packets of 20 ms.
pub(crate) async fn heard(by: &dyn SpeechToText, options: &StreamOptions, samples: &[i16]) -> Vec<Hypothesis> {
    let mut stream = by.open(options).await.unwrap();
    let (audio, packets) = (stream.audio, samples.chunks(160).map(<[i16]>::to_vec).collect::<Vec<_>>());
    tokio::spawn(async move {
        for packet in packets {
            if audio.send(Audio::Samples(packet)).await.is_err() {
                return;
            }
        }
    });
    let mut heard = Vec::new();
    while let Some(hypothesis) = stream.heard.recv().await {
        heard.push(hypothesis.unwrap());
    }
    heard
}
