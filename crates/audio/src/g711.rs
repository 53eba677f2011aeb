//! G.711: µ-law and A-law to linear samples and back, by table.
//!
//! The tables are computed at compile time from the definition in ITU-T G.711 (11/88). µ-law carries 14 bits and A-law
//! 13; linear samples are 16 bits wide with the code's value at the top, as everywhere in telephony.

/// µ-law's code of no sound.
pub const ULAW_SILENCE: u8 = 0xFF;
/// A-law's code of no sound (it has no zero: this is its smallest positive value, 8).
pub const ALAW_SILENCE: u8 = 0xD5;

/// Linear bits that µ-law does not see.
const ULAW_SHIFT: u32 = 2;
/// Linear bits that A-law does not see.
const ALAW_SHIFT: u32 = 4;
/// What µ-law adds to a magnitude so that each segment begins at a power of two.
const ULAW_BIAS: u16 = 33;
/// The largest biased magnitude: the end of µ-law's eighth segment.
const ULAW_MAGNITUDE_MAX: u16 = 0x1FFF;

static ULAW_TO_LINEAR: [i16; 256] = ulaw_to_linear();
static ALAW_TO_LINEAR: [i16; 256] = alaw_to_linear();
static LINEAR_TO_ULAW: [u8; 1 << (16 - ULAW_SHIFT)] = linear_to_ulaw();
static LINEAR_TO_ALAW: [u8; 1 << (16 - ALAW_SHIFT)] = linear_to_alaw();

/// The linear sample of a µ-law code: -32124 to 32124.
pub fn ulaw_decode(code: u8) -> i16 {
    ULAW_TO_LINEAR[usize::from(code)]
}

/// The linear sample of an A-law code: -32256 to 32256.
pub fn alaw_decode(code: u8) -> i16 {
    ALAW_TO_LINEAR[usize::from(code)]
}

/// The µ-law code nearest to a linear sample; what is louder than the code's loudest becomes its loudest.
pub fn ulaw_encode(sample: i16) -> u8 {
    LINEAR_TO_ULAW[usize::from(sample.cast_unsigned() >> ULAW_SHIFT)]
}

/// The A-law code nearest to a linear sample.
pub fn alaw_encode(sample: i16) -> u8 {
    LINEAR_TO_ALAW[usize::from(sample.cast_unsigned() >> ALAW_SHIFT)]
}

const fn ulaw_to_linear() -> [i16; 256] {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        // All bits travel inverted (G.711 §3.2).
        let bits = !(code as u8);
        let segment = (bits >> 4) & 7;
        let step = (bits & 0xF) as i16;
        // The middle of the quantising interval, in 14 bits.
        let magnitude = (((step << 1) + ULAW_BIAS as i16) << segment) - ULAW_BIAS as i16;
        let sample = magnitude << ULAW_SHIFT;
        table[code] = if bits & 0x80 == 0 { sample } else { -sample };
        code += 1;
    }
    table
}

const fn alaw_to_linear() -> [i16; 256] {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        // Even bits travel inverted (G.711 §3.1).
        let bits = (code as u8) ^ 0x55;
        let segment = (bits >> 4) & 7;
        let step = (bits & 0xF) as i16;
        // The first two segments share one step size; the added 8 is the middle of the interval.
        let sample = match segment {
            0 => (step << 4) + 8,
            _ => (((step + 16) << 4) + 8) << (segment - 1),
        };
        table[code] = if bits & 0x80 == 0 { -sample } else { sample };
        code += 1;
    }
    table
}

const fn linear_to_ulaw() -> [u8; 1 << (16 - ULAW_SHIFT)] {
    let mut table = [0; 1 << (16 - ULAW_SHIFT)];
    let mut index = 0;
    while index < table.len() {
        let (sign, magnitude) = sign_and_magnitude(index as u16, 16 - ULAW_SHIFT);
        let biased =
            if magnitude + ULAW_BIAS > ULAW_MAGNITUDE_MAX { ULAW_MAGNITUDE_MAX } else { magnitude + ULAW_BIAS };
        let segment = biased.ilog2() - ULAW_BIAS.ilog2();
        let step = ((biased >> (segment + 1)) & 0xF) as u8;
        table[index] = !(sign | ((segment as u8) << 4) | step);
        index += 1;
    }
    table
}

const fn linear_to_alaw() -> [u8; 1 << (16 - ALAW_SHIFT)] {
    let mut table = [0; 1 << (16 - ALAW_SHIFT)];
    let mut index = 0;
    while index < table.len() {
        let (sign, magnitude) = sign_and_magnitude(index as u16, 16 - ALAW_SHIFT);
        let segment = if magnitude < 32 { magnitude >> 4 } else { magnitude.ilog2() as u16 - 3 };
        let step = match segment {
            0 => magnitude,
            _ => magnitude >> (segment - 1),
        } & 0xF;
        // A-law's sign bit is set for positive values.
        table[index] = ((sign ^ 0x80) | ((segment as u8) << 4) | step as u8) ^ 0x55;
        index += 1;
    }
    table
}

/// The sign bit (0x80 for negative) and the magnitude of a two's complement number of `bits` bits. Negative numbers are
/// counted from -1, so that both signs have the same decision values.
const fn sign_and_magnitude(number: u16, bits: u32) -> (u8, u16) {
    let negative = number >> (bits - 1) != 0;
    if negative { (0x80, !number & ((1 << (bits - 1)) - 1)) } else { (0, number) }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Encode = fn(i16) -> u8;
    type Decode = fn(u8) -> i16;
    const LAWS: [(&str, Encode, Decode); 2] =
        [("µ-law", ulaw_encode, ulaw_decode), ("A-law", alaw_encode, alaw_decode)];

    #[test]
    fn decodes_the_values_of_the_standard() {
        // Tables 2a/2b (µ-law, 14 bits × 4) and 1a/1b (A-law, 13 bits × 8) of G.711.
        for (code, sample) in [
            (0x80, 8031 * 4),
            (0x8F, 4191 * 4),
            (0x9F, 2079 * 4),
            (0xAF, 1023 * 4),
            (0xBF, 495 * 4),
            (0xCF, 231 * 4),
            (0xDF, 99 * 4),
            (0xEF, 33 * 4),
            (0xFE, 2 * 4),
            (0xFF, 0),
            (0x7F, 0),
            (0x7E, -2 * 4),
            (0x00, -8031 * 4),
        ] {
            assert_eq!(i32::from(ulaw_decode(code)), sample, "µ-law {code:#04x}");
        }
        for (code, sample) in [
            (0xAA, 4032 * 8),
            (0xA5, 2112 * 8),
            (0xB5, 1056 * 8),
            (0x85, 528 * 8),
            (0x95, 264 * 8),
            (0xE5, 132 * 8),
            (0xF5, 66 * 8),
            (0xD5, 8),
            (0x55, -8),
            (0x2A, -4032 * 8),
        ] {
            assert_eq!(i32::from(alaw_decode(code)), sample, "A-law {code:#04x}");
        }
    }

    /// The positive decision values: from the end of each segment and its 16 equal steps.
    fn decision_values(segment_ends: &[i32], first_steps: &[i32]) -> Vec<i32> {
        let mut values = first_steps.to_vec();
        for pair in segment_ends.windows(2) {
            values.extend((1..=16).map(|step| pair[0] + (pair[1] - pair[0]) / 16 * step));
        }
        values
    }

    #[test]
    fn encodes_by_the_decision_values_of_the_standard() {
        let ulaw_first: Vec<i32> = std::iter::once(0).chain((1..=31).step_by(2)).collect();
        let alaw_first: Vec<i32> = (0..=64).step_by(2).collect();
        let ulaw = decision_values(&[31, 95, 223, 479, 991, 2015, 4063, 8159], &ulaw_first);
        let alaw = decision_values(&[64, 128, 256, 512, 1024, 2048, 4096], &alaw_first);
        for (sample, code) in (0..=i16::MAX).map(|s| (s, ulaw_encode(s))) {
            let interval = ulaw.partition_point(|&v| v * 4 <= i32::from(sample)).min(128);
            assert_eq!(code, 0xFF - (interval - 1) as u8, "µ-law of {sample}");
            assert_eq!(ulaw_encode(!sample), code ^ 0x80, "µ-law of {}", !sample);
        }
        for (sample, code) in (0..=i16::MAX).map(|s| (s, alaw_encode(s))) {
            let interval = alaw.partition_point(|&v| v * 8 <= i32::from(sample)).min(128);
            assert_eq!(code, (0x80 + (interval - 1) as u8) ^ 0x55, "A-law of {sample}");
            assert_eq!(alaw_encode(!sample), code ^ 0x80, "A-law of {}", !sample);
        }
    }

    #[test]
    fn decoding_again_changes_nothing() {
        for (law, encode, decode) in LAWS {
            for code in 0..=255 {
                assert_eq!(decode(encode(decode(code))), decode(code), "{law} {code:#04x}");
            }
        }
    }

    #[test]
    fn louder_stays_louder() {
        for (law, encode, decode) in LAWS {
            let heard: Vec<i16> = (i16::MIN..=i16::MAX).map(|s| decode(encode(s))).collect();
            assert!(heard.is_sorted(), "{law}");
            assert!(heard[0] < -32_000 && heard[65_535] > 32_000, "{law}");
        }
    }

    #[test]
    fn silence_is_the_code_of_zero() {
        assert_eq!((ulaw_encode(0), alaw_encode(0)), (ULAW_SILENCE, ALAW_SILENCE));
    }
}
