//! The encodings in which Asterisk can send us a call.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How the audio of a flow is encoded on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// G.711 µ-law, 8 kHz, one byte a sample.
    Ulaw,
    /// G.711 A-law, 8 kHz, one byte a sample.
    Alaw,
    /// 16-bit linear, 8 kHz, big-endian on the wire.
    Slin,
    /// 16-bit linear, 16 kHz, big-endian on the wire.
    Slin16,
}

impl Codec {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ulaw, Self::Alaw, Self::Slin, Self::Slin16];

    /// Asterisk's name of the format, as in externalMedia's `format`.
    pub const fn asterisk_name(self) -> &'static str {
        match self {
            Self::Ulaw => "ulaw",
            Self::Alaw => "alaw",
            Self::Slin => "slin",
            Self::Slin16 => "slin16",
        }
    }

    /// The RTP payload type that Asterisk's chan_rtp sends (Asterisk 16 to 23).
    pub const fn payload_type(self) -> u8 {
        match self {
            Self::Ulaw => 0,
            Self::Alaw => 8,
            Self::Slin => 10,
            Self::Slin16 => 118,
        }
    }

    /// Samples a second.
    pub const fn sample_rate_hz(self) -> u32 {
        match self {
            Self::Ulaw | Self::Alaw | Self::Slin => 8_000,
            Self::Slin16 => 16_000,
        }
    }

    /// Bytes of one sample on the wire.
    pub const fn bytes_per_sample(self) -> usize {
        match self {
            Self::Ulaw | Self::Alaw => 1,
            Self::Slin | Self::Slin16 => 2,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.asterisk_name())
    }
}

/// A codec name that we cannot capture.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a codec we capture: use ulaw, alaw, slin or slin16")]
pub struct UnknownCodec(String);

impl FromStr for Codec {
    type Err = UnknownCodec;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|c| c.asterisk_name() == s).ok_or_else(|| UnknownCodec(s.to_owned()))
    }
}
