//! Bytes to samples, where a piece may end within one.

/// Keeps what is left of a sample until its other half comes.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    half: Option<u8>,
}

impl Joined {
    /// The samples that are whole; little-endian.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Vec<i16> {
        let all: Vec<u8> = self.half.take().into_iter().chain(bytes.iter().copied()).collect();
        if all.len() % 2 == 1 {
            self.half = all.last().copied();
        }
        aimg_audio::linear::from_wav(&all).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_may_end_within_a_sample() {
        let mut joined = Joined::default();
        let pieces = [&[1, 0, 2][..], &[0], &[], &[3], &[0, 4, 0]];
        let read: Vec<i16> = pieces.iter().flat_map(|piece| joined.read(piece)).collect();
        assert_eq!(read, [1, 2, 3, 4]);
    }
}
