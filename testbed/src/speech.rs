//! Speech with known words, as the bytes that go over the wire.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use aimg_audio::g711::{ULAW_SILENCE, ulaw_decode, ulaw_encode};
use aimg_audio::wav::WavReader;

use crate::{Error, Root, Version};

/// Samples of one RTP packet: 20 ms at 8 kHz. Speech is whole packets, so that no packet is cut short.
const PACKET_SAMPLES: usize = 160;

/// Samples a second.
const SAMPLE_RATE_HZ: u64 = 8_000;

/// Mono speech at 8 kHz, as µ-law. Its text is in the documentation of Debian's `asterisk-core-sounds-en`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Speech {
    ulaw: Vec<u8>,
}

impl Speech {
    /// A prompt of Asterisk's, such as `demo-congrats`.
    pub fn prompt(name: &str) -> Result<Self, Error> {
        // Only this installation has them as linear WAV.
        let sounds = Root::of(Version::V22)?.sounds();
        let file = format!("{name}.wav");
        let path = fs::read_dir(&sounds)
            .map_err(Error::io(format!("cannot read {}", sounds.display())))?
            .filter_map(Result::ok)
            .map(|language| language.path().join(&file))
            .find(|path| path.is_file())
            .ok_or_else(|| Error::NoPrompt { name: name.to_owned(), directory: sounds.clone() })?;
        let wav = File::open(&path).map_err(Error::io(format!("cannot open {}", path.display())))?;
        let samples = WavReader::new(wav)
            .and_then(WavReader::into_channels)
            .map_err(|source| Error::BadPrompt { path, source })?
            .swap_remove(0);
        Ok(Self::from_ulaw(samples.into_iter().map(ulaw_encode).collect()))
    }

    /// What callers say unless told otherwise: 30 s.
    pub fn caller() -> Result<Self, Error> {
        Self::prompt("demo-congrats")
    }

    /// What callees say unless told otherwise: 73 s.
    pub fn callee() -> Result<Self, Error> {
        Self::prompt("demo-instruct")
    }

    /// Any µ-law audio, padded with silence to whole packets.
    pub fn from_ulaw(mut ulaw: Vec<u8>) -> Self {
        ulaw.resize(ulaw.len().next_multiple_of(PACKET_SAMPLES), ULAW_SILENCE);
        Self { ulaw }
    }

    /// The same, cut or padded with silence to a length (rounded up to whole packets).
    pub fn lasting(mut self, length: Duration) -> Self {
        let samples = length.as_micros() as u64 * SAMPLE_RATE_HZ / 1_000_000;
        self.ulaw.resize(samples as usize, ULAW_SILENCE);
        Self::from_ulaw(self.ulaw)
    }

    /// The bytes on the wire, one a sample.
    pub fn ulaw(&self) -> &[u8] {
        &self.ulaw
    }

    /// What a receiver hears: linear samples at 8 kHz.
    pub fn samples(&self) -> Vec<i16> {
        self.ulaw.iter().map(|&code| ulaw_decode(code)).collect()
    }

    /// How long it takes to say.
    pub fn duration(&self) -> Duration {
        Duration::from_micros(self.ulaw.len() as u64 * 1_000_000 / SAMPLE_RATE_HZ)
    }

    /// Writes the bytes without any header, as SIPp and Asterisk's `.ulaw` want them.
    pub(crate) fn write_ulaw(&self, path: &Path) -> Result<(), Error> {
        fs::write(path, &self.ulaw).map_err(Error::io(format!("cannot write {}", path.display())))
    }
}

#[cfg(test)]
mod tests {
    use aimg_audio::level::rms_dbfs;

    use super::*;

    #[test]
    fn speech_is_whole_packets() {
        for (bytes, packets) in [(0, 0), (1, 1), (160, 1), (161, 2)] {
            assert_eq!(Speech::from_ulaw(vec![0; bytes]).ulaw().len(), packets * PACKET_SAMPLES, "{bytes}");
        }
        let speech = Speech::from_ulaw(vec![0; 800]);
        assert_eq!(speech.clone().lasting(Duration::from_millis(45)).duration(), Duration::from_millis(60));
        let padded = speech.lasting(Duration::from_millis(200));
        assert_eq!(padded.duration(), Duration::from_millis(200));
        assert_eq!(padded.samples()[800..], [0; 800]);
    }

    #[test]
    fn prompts_are_loud_and_different() {
        let (caller, callee) = (Speech::caller().unwrap(), Speech::callee().unwrap());
        assert!(caller.duration() > Duration::from_secs(25) && callee.duration() > Duration::from_secs(60));
        assert!(rms_dbfs(&caller.samples()) > -30.0);
        assert_ne!(caller.ulaw()[..8000], callee.ulaw()[..8000]);
        assert!(matches!(Speech::prompt("no-such-prompt"), Err(Error::NoPrompt { .. })));
    }
}
