//! Audio at another sample rate, in frames of 20 ms, without moving it in time.

use std::fmt;

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler as _};

use crate::Error;

/// Frames a second: the rhythm of telephony.
const FRAMES_PER_SECOND: u32 = 50;

/// Takes one channel from one rate to another.
///
/// The filter knows a sample only when those after it have come: what comes out is [`Resampler::latency_samples`] behind
/// what was put in. Sample n of the input is sample n × to / from of the output all the same.
pub struct Resampler {
    fft: Fft<f32>,
    frame: [usize; 2],
    /// Of the beginning of the output, what the filter makes of nothing.
    to_skip: usize,
    input: Vec<f32>,
    output: Vec<f32>,
}

impl fmt::Debug for Resampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resampler").field("frame", &self.frame).finish_non_exhaustive()
    }
}

impl Resampler {
    /// Between two rates in samples a second, both multiples of 50.
    pub fn new(from_hz: u32, to_hz: u32) -> Result<Self, Error> {
        let refused = || Error::Rates { from_hz, to_hz };
        let frame = [from_hz, to_hz].map(|hz| (hz / FRAMES_PER_SECOND) as usize);
        let [from, to] = [from_hz, to_hz].map(|hz| hz as usize);
        let fft = Fft::new_custom(from, to, frame[0], 1, 1, rubato::WindowFunction::BlackmanHarris2, FixedSync::Both)
            .map_err(|_| refused())?;
        if [fft.input_frames_next(), fft.output_frames_next()] != frame {
            return Err(refused());
        }
        let to_skip = fft.output_delay();
        Ok(Self { fft, frame, to_skip, input: vec![0.0; frame[0]], output: vec![0.0; frame[1]] })
    }

    /// How far the output is behind the input, in samples of the output.
    pub fn latency_samples(&self) -> usize {
        self.fft.output_delay()
    }

    /// Takes 20 ms, of which missing ones are silence, and appends what can be known of the output.
    pub fn push(&mut self, frame: &[i16], out: &mut Vec<i16>) {
        let samples = frame.iter().copied().chain(std::iter::repeat(0));
        self.input.iter_mut().zip(samples).for_each(|(to, from)| *to = f32::from(from) / 32_768.0);
        let [frame_in, frame_out] = self.frame;
        let fits = "the buffers are as long as the resampler said";
        let input = InterleavedSlice::new(&self.input, 1, frame_in).expect(fits);
        let mut output = InterleavedSlice::new_mut(&mut self.output, 1, frame_out).expect(fits);
        self.fft.process_into_buffer(&input, &mut output, None).expect(fits);
        // As numbers out of range would: the cast saturates.
        out.extend(self.output[self.to_skip.min(frame_out)..].iter().map(|s| (s * 32_768.0).round() as i16));
        self.to_skip = self.to_skip.saturating_sub(frame_out);
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    fn tone(hz: f64, rate_hz: u32, samples: usize) -> Vec<i16> {
        (0..samples).map(|n| ((n as f64 * hz * TAU / f64::from(rate_hz)).sin() * 12_000.0) as i16).collect()
    }

    fn resampled(samples: &[i16], from_hz: u32, to_hz: u32) -> (Vec<i16>, usize) {
        let mut resampler = Resampler::new(from_hz, to_hz).unwrap();
        let mut out = Vec::new();
        samples.chunks((from_hz / 50) as usize).for_each(|frame| resampler.push(frame, &mut out));
        (out, resampler.latency_samples())
    }

    #[test]
    fn a_tone_keeps_its_pitch_its_level_and_its_place() {
        for (from_hz, to_hz) in [(8_000, 16_000), (16_000, 8_000)] {
            for hz in [200.0, 1_000.0, 3_000.0] {
                let (out, latency) = resampled(&tone(hz, from_hz, from_hz as usize), from_hz, to_hz);
                assert_eq!(out.len() + latency, to_hz as usize);
                assert!(latency <= (to_hz / 100) as usize, "{latency}");
                let expected = tone(hz, to_hz, to_hz as usize);
                // The edges are where the tone begins and ends, which is no tone.
                let middle = latency..out.len() - latency;
                let worst = middle.map(|n| (i32::from(out[n]) - i32::from(expected[n])).abs()).max().unwrap();
                assert!(worst <= 60, "{from_hz} to {to_hz}, {hz} Hz: wrong by {worst} of 12000");
            }
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_carry_is_taken_out() {
        let (out, latency) = resampled(&tone(6_000.0, 16_000, 16_000), 16_000, 8_000);
        let loudest = out[latency..out.len() - latency].iter().map(|s| s.unsigned_abs()).max().unwrap();
        assert!(loudest < 100, "{loudest} of 12000 is left");
    }

    #[test]
    fn rates_without_whole_frames_are_refused() {
        for (from_hz, to_hz) in [(0, 8_000), (8_000, 0), (8_000, 11_025)] {
            assert!(matches!(Resampler::new(from_hz, to_hz), Err(Error::Rates { .. })), "{from_hz} to {to_hz}");
        }
    }

    #[test]
    fn a_short_frame_ends_in_silence() {
        let mut resampler = Resampler::new(8_000, 16_000).unwrap();
        let mut out = Vec::new();
        resampler.push(&tone(1_000.0, 8_000, 80), &mut out);
        resampler.push(&[], &mut out);
        resampler.push(&[], &mut out);
        assert_eq!(out.len(), 3 * 320 - resampler.latency_samples());
        assert!(out[..100].iter().any(|s| s.abs() > 5_000) && out[400..].iter().all(|s| s.abs() < 20));
    }
}
