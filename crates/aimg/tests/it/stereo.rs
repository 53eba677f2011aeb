//! The two channels of a recording, as bytes of µ-law and as samples.

use std::fs::File;
use std::path::Path;

use aimg_audio::g711::ulaw_decode;
use aimg_audio::wav::{Encoding, Format, WavReader};

/// Samples of a millisecond.
pub(crate) const SAMPLES_PER_MS: usize = 8;

/// Microseconds of a sample.
pub(crate) const SAMPLE_US: i64 = 125;

/// A recording, de-interleaved.
#[derive(Debug)]
pub(crate) struct Stereo {
    /// The caller.
    pub(crate) left: Vec<u8>,
    /// The callee.
    pub(crate) right: Vec<u8>,
}

impl Stereo {
    pub(crate) fn read(path: &Path) -> Self {
        let wav = WavReader::new(File::open(path).unwrap()).unwrap();
        assert_eq!(wav.format(), Format::stereo(Encoding::Ulaw, 8_000));
        let bytes = wav.into_bytes().unwrap();
        let channel = |n: usize| bytes.iter().skip(n).step_by(2).copied().collect();
        Self { left: channel(0), right: channel(1) }
    }
}

/// What one hears of µ-law.
pub(crate) fn samples(ulaw: &[u8]) -> Vec<i16> {
    ulaw.iter().map(|&code| ulaw_decode(code)).collect()
}
