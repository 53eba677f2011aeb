//! The payload of an RTP packet of one of our codecs: how many samples it holds, which they are, and what silence is.

use aimg_core::Codec;

use crate::{g711, linear};

/// Samples in a payload of `bytes` bytes; half a sample at the end is not one.
pub const fn samples(codec: Codec, bytes: usize) -> usize {
    bytes / codec.bytes_per_sample()
}

/// The byte that, repeated, is silence on the wire.
pub const fn silence_byte(codec: Codec) -> u8 {
    match codec {
        Codec::Ulaw => g711::ULAW_SILENCE,
        Codec::Alaw => g711::ALAW_SILENCE,
        Codec::Slin | Codec::Slin16 => 0,
    }
}

/// Appends a payload's samples as linear ones.
pub fn decode(codec: Codec, payload: &[u8], out: &mut Vec<i16>) {
    match codec {
        Codec::Ulaw => out.extend(payload.iter().map(|&c| g711::ulaw_decode(c))),
        Codec::Alaw => out.extend(payload.iter().map(|&c| g711::alaw_decode(c))),
        Codec::Slin | Codec::Slin16 => out.extend(linear::from_wire(payload)),
    }
}

/// Appends linear samples as a payload.
pub fn encode(codec: Codec, samples: &[i16], out: &mut Vec<u8>) {
    match codec {
        Codec::Ulaw => out.extend(samples.iter().map(|&s| g711::ulaw_encode(s))),
        Codec::Alaw => out.extend(samples.iter().map(|&s| g711::alaw_encode(s))),
        Codec::Slin | Codec::Slin16 => linear::to_wire(samples, out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_milliseconds_of_each_codec() {
        for (codec, bytes) in [(Codec::Ulaw, 160), (Codec::Alaw, 160), (Codec::Slin, 320), (Codec::Slin16, 640)] {
            let silence = vec![silence_byte(codec); bytes];
            let mut heard = Vec::new();
            decode(codec, &silence, &mut heard);
            assert_eq!(heard.len() * 50, codec.sample_rate_hz() as usize, "{codec}");
            assert_eq!(heard.len(), samples(codec, bytes), "{codec}");
            assert!(heard.iter().all(|s| s.abs() <= 8), "{codec}");
            let mut again = Vec::new();
            encode(codec, &heard, &mut again);
            assert_eq!(again, silence, "{codec}");
        }
    }
}
