//! Why a WAV file cannot be written or read, and audio not be resampled.

use std::io;

/// Why a WAV file cannot be written or read, and audio not be resampled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The reader or writer underneath failed.
    #[error("the WAV file could not be read or written: {0}")]
    Io(#[from] io::Error),
    /// The file does not begin as a WAV file.
    #[error("not a WAV file: it begins with {found:?} instead of `RIFF` or `RF64` and `WAVE`; convert it to WAV first")]
    NotWav {
        /// The first bytes.
        found: String,
    },
    /// The file ends before its audio begins.
    #[error("the WAV file is cut off inside its {0}; copy it again from its source")]
    CutOff(&'static str),
    /// A chunk that every WAV file needs is not there, or comes after the audio.
    #[error("the WAV file has no `{0}` chunk before its audio; write it again with another program")]
    ChunkMissing(&'static str),
    /// A chunk that says what cannot be.
    #[error("the WAV file's `{chunk}` chunk is damaged: {what}; write it again with another program")]
    ChunkDamaged {
        /// Which one.
        chunk: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// An encoding that is not ours.
    #[error(
        "the WAV file's encoding (format {format_tag}, {bits_per_sample} bits) is not supported; convert it to 16-bit PCM, µ-law or A-law"
    )]
    Encoding {
        /// The number in the `fmt ` chunk.
        format_tag: u16,
        /// Bits of a sample.
        bits_per_sample: u16,
    },
    /// Rates between which there is no way in whole frames.
    #[error("{from_hz} Hz cannot be resampled to {to_hz} Hz: both must be multiples of 50 above 0")]
    Rates {
        /// Samples a second of the input.
        from_hz: u32,
        /// Samples a second of the output.
        to_hz: u32,
    },
    /// What was given to write is not a whole number of frames.
    #[error(
        "{bytes} bytes are no whole number of frames of {frame_bytes} bytes; write all channels of a frame at once"
    )]
    HalfFrame {
        /// Bytes given.
        bytes: usize,
        /// Bytes of one sample of each channel.
        frame_bytes: usize,
    },
}
