//! A tape's samples at the rate that a provider takes.

use aimg_audio::resample::Resampler;

/// Frames a second that the resampler takes.
const FRAMES_PER_SECOND: u32 = 50;

/// The samples of one stream on their way to the provider. Their times stay what they are.
#[derive(Debug)]
pub(super) struct Feed {
    resampler: Option<Resampler>,
    frame: Vec<i16>,
    frame_samples: usize,
}

impl Feed {
    pub(super) fn new(from_hz: u32, to_hz: u32) -> Result<Self, aimg_audio::Error> {
        let resampler = (from_hz != to_hz).then(|| Resampler::new(from_hz, to_hz)).transpose()?;
        let frame_samples = (from_hz / FRAMES_PER_SECOND).max(1) as usize;
        Ok(Self { resampler, frame: Vec::new(), frame_samples })
    }

    /// What can be given of these samples and those before.
    pub(super) fn push(&mut self, samples: Vec<i16>) -> Vec<i16> {
        let Some(resampler) = &mut self.resampler else { return samples };
        self.frame.extend(samples);
        let mut out = Vec::new();
        let whole = self.frame.len() - self.frame.len() % self.frame_samples;
        self.frame.drain(..whole).as_slice().chunks(self.frame_samples).for_each(|frame| {
            resampler.push(frame, &mut out);
        });
        out
    }

    /// What is left.
    pub(super) fn finish(&mut self) -> Vec<i16> {
        let Some(resampler) = &mut self.resampler else { return Vec::new() };
        let mut out = Vec::new();
        resampler.push(&std::mem::take(&mut self.frame), &mut out);
        // Behind the input by less than a frame.
        resampler.push(&[], &mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_resampled_stays_where_it_was_and_ends_whole() {
        let mut samples = vec![0; 4_000];
        samples.extend((0..800).map(|n| if n % 2 == 0 { 8_000 } else { 6_000 }));
        for piece in [7, 160, 1_000, 4_800] {
            let mut feed = Feed::new(8_000, 16_000).unwrap();
            let mut out: Vec<i16> = samples.chunks(piece).flat_map(|piece| feed.push(piece.to_vec())).collect();
            out.extend(feed.finish());
            let loud: Vec<usize> = (0..out.len()).filter(|&n| out[n] > 3_500).collect();
            let near = |at: usize, expected: usize| at.abs_diff(expected) < 16;
            assert!(near(loud[0], 8_000) && near(*loud.last().unwrap(), 9_600), "{piece}: {:?}", loud.len());
        }
    }

    #[test]
    fn of_the_same_rate_nothing_is_changed_or_kept() {
        let mut feed = Feed::new(8_000, 8_000).unwrap();
        assert_eq!((feed.push(vec![1, 2, 3]), feed.finish()), (vec![1, 2, 3], vec![]));
        assert!(Feed::new(8_000, 11_025).is_err());
    }
}
