//! 16-bit linear samples as bytes: big-endian on RTP (Asterisk's slin, RFC 3551 L16), little-endian in WAV files.

/// The samples of big-endian bytes; half a sample at the end is not one.
pub fn from_wire(bytes: &[u8]) -> impl ExactSizeIterator<Item = i16> + '_ {
    bytes.as_chunks().0.iter().map(|b| i16::from_be_bytes(*b))
}

/// Appends samples as big-endian bytes.
pub fn to_wire(samples: &[i16], out: &mut Vec<u8>) {
    out.extend(samples.iter().flat_map(|s| s.to_be_bytes()));
}

/// The samples of little-endian bytes; half a sample at the end is not one.
pub fn from_wav(bytes: &[u8]) -> impl ExactSizeIterator<Item = i16> + '_ {
    bytes.as_chunks().0.iter().map(|b| i16::from_le_bytes(*b))
}

/// Appends samples as little-endian bytes.
pub fn to_wav(samples: &[i16], out: &mut Vec<u8>) {
    out.extend(samples.iter().flat_map(|s| s.to_le_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_order_is_that_of_the_place() {
        let samples = [0, 1, -2, 0x1234, i16::MIN, i16::MAX];
        let (mut wire, mut wav) = (Vec::new(), Vec::new());
        to_wire(&samples, &mut wire);
        to_wav(&samples, &mut wav);
        assert_eq!(wire[6..8], [0x12, 0x34]);
        assert_eq!(wav[6..8], [0x34, 0x12]);
        assert!(from_wire(&wire).eq(samples) && from_wav(&wav).eq(samples));
    }

    #[test]
    fn half_a_sample_is_left_out() {
        assert_eq!(from_wire(&[0, 5, 1]).collect::<Vec<_>>(), [5]);
        assert_eq!(from_wav(&[9]).count(), 0);
    }
}
