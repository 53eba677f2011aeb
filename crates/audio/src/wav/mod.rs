//! WAV files: RIFF, and RF64 (EBU Tech 3306) beyond 4 GB.
//!
//! Written are 16-bit PCM, µ-law and A-law; the bytes of the audio are the caller's, so that a µ-law recording holds
//! exactly what Asterisk sent. Read are the same encodings, with any other chunks around them.

mod reader;
mod writer;

pub use reader::WavReader;
pub use writer::{WavWriter, endless_header};

/// How samples are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// 16-bit linear, little-endian.
    Pcm16,
    /// G.711 A-law.
    Alaw,
    /// G.711 µ-law.
    Ulaw,
}

impl Encoding {
    const ALL: [Self; 3] = [Self::Pcm16, Self::Alaw, Self::Ulaw];

    /// The format tag of the `fmt ` chunk.
    const fn format_tag(self) -> u16 {
        match self {
            Self::Pcm16 => 1,
            Self::Alaw => 6,
            Self::Ulaw => 7,
        }
    }

    /// Bytes of one sample.
    pub const fn sample_bytes(self) -> u16 {
        match self {
            Self::Pcm16 => 2,
            Self::Alaw | Self::Ulaw => 1,
        }
    }
}

/// What the audio of a file is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    encoding: Encoding,
    /// Never 0.
    channels: u16,
    sample_rate_hz: u32,
}

impl Format {
    /// One channel.
    pub const fn mono(encoding: Encoding, sample_rate_hz: u32) -> Self {
        Self { encoding, channels: 1, sample_rate_hz }
    }

    /// Two channels: left, right.
    pub const fn stereo(encoding: Encoding, sample_rate_hz: u32) -> Self {
        Self { encoding, channels: 2, sample_rate_hz }
    }

    /// How samples are stored.
    pub const fn encoding(self) -> Encoding {
        self.encoding
    }

    /// How many channels, 1 or more.
    pub const fn channels(self) -> u16 {
        self.channels
    }

    /// Samples a second of each channel.
    pub const fn sample_rate_hz(self) -> u32 {
        self.sample_rate_hz
    }

    /// Bytes of one sample of each channel.
    pub const fn frame_bytes(self) -> u32 {
        self.channels as u32 * self.encoding.sample_bytes() as u32
    }
}

/// Bytes of a `ds64` chunk without a table (EBU Tech 3306 §3.5), and of the JUNK chunk that keeps its place.
const DS64_BYTES: u32 = 28;
/// What a 32-bit size says when the real one is in `ds64`, or unknown to a program that wrote to a pipe.
const SIZE_ELSEWHERE: u32 = u32::MAX;
