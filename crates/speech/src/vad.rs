//! Where somebody speaks: samples in, utterances out.
//!
//! Pure and deterministic: the same samples give the same utterances, however they were divided among calls. The detector
//! knows voice from silence and noise; a steady low tone, such as a dial tone, it takes for voice.

use std::fmt;

use earshot::Detector;

/// The rate of the samples, in Hz: the detector's.
pub const SAMPLE_RATE_HZ: u32 = 16_000;
/// The detector looks at 16 ms at once.
const FRAME_SAMPLES: usize = 256;
/// Frames of a sound that count as the beginning of speech: a click is shorter.
const BEGINNING_FRAMES: usize = 3;
/// How much less than the threshold is enough while somebody speaks: words fade.
const FADING: f32 = 0.15;
/// Frames over which the likelihood of voice is averaged when an utterance that is too long is cut: about a pause for breath.
const BREATH_FRAMES: usize = 9;

/// How speech is cut into utterances.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cutting {
    /// From which likelihood on a frame is voice, 0 to 1. Lower finds more in noise, and more noise.
    pub threshold: f32,
    /// Silence that ends an utterance, in milliseconds. It delays every final text.
    pub silence_ms: u32,
    /// How much before the first and after the last voice belongs to an utterance, in milliseconds.
    pub padding_ms: u32,
    /// The longest utterance, in milliseconds; a longer one is cut where voice is least likely.
    pub utterance_max_ms: u32,
}

impl Default for Cutting {
    fn default() -> Self {
        // Whisper loses words beyond 28 s.
        Self { threshold: 0.4, silence_ms: 480, padding_ms: 240, utterance_max_ms: 27_000 }
    }
}

/// A piece of audio in which somebody speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Utterance {
    /// Its first sample, counted from the stream's first.
    pub start: u64,
    /// What was said, and a little around it.
    pub samples: Vec<i16>,
}

impl Utterance {
    /// The sample after its last, counted from the stream's first.
    pub fn end(&self) -> u64 {
        self.start + self.samples.len() as u64
    }
}

/// Cuts a stream of mono samples at [`SAMPLE_RATE_HZ`] into utterances. They are in order and do not overlap.
pub struct Utterances {
    cutting: Cutting,
    detector: Box<Detector>,
    /// Samples that are less than a frame.
    rest: Vec<i16>,
    /// Whole frames that may belong to an utterance, from `start` on.
    held: Vec<i16>,
    start: u64,
    /// In silence: how many frames of voice were the last.
    voiced_frames: usize,
    speaking: Option<Speaking>,
}

/// Of an utterance that has begun.
struct Speaking {
    /// The likelihood of voice of each frame that is held.
    scores: Vec<f32>,
    /// How many frames without voice were the last.
    silent_frames: usize,
}

impl fmt::Debug for Utterances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Utterances").field("start", &self.start).field("held", &self.held.len()).finish_non_exhaustive()
    }
}

impl Utterances {
    /// A stream that begins.
    pub fn new(cutting: Cutting) -> Self {
        Self {
            cutting,
            detector: Box::default(),
            rest: Vec::new(),
            held: Vec::new(),
            start: 0,
            voiced_frames: 0,
            speaking: None,
        }
    }

    /// Takes what comes next, and appends the utterances that end in it.
    pub fn push(&mut self, samples: &[i16], ended: &mut Vec<Utterance>) {
        self.rest.extend_from_slice(samples);
        let rest = std::mem::take(&mut self.rest);
        let mut frames = rest.chunks_exact(FRAME_SAMPLES);
        for frame in &mut frames {
            ended.extend(self.push_frame(frame));
        }
        self.rest.extend_from_slice(frames.remainder());
    }

    /// The utterance that has begun and not ended: its first sample, and what there is of it.
    pub fn open(&self) -> Option<(u64, &[i16])> {
        self.speaking.as_ref().map(|_| (self.start, &self.held[..]))
    }

    /// Ends the utterance that has begun, if one has: the speaker has finished, or the stream.
    pub fn end(&mut self) -> Option<Utterance> {
        self.speaking.take()?;
        self.held.append(&mut self.rest);
        Some(self.take_held(self.held.len()))
    }

    fn push_frame(&mut self, frame: &[i16]) -> Option<Utterance> {
        let score = self.detector.predict_i16(frame);
        self.held.extend_from_slice(frame);
        match &mut self.speaking {
            None => {
                self.voiced_frames = if score >= self.cutting.threshold { self.voiced_frames + 1 } else { 0 };
                let kept = frames(self.cutting.padding_ms) + self.voiced_frames;
                let dropped = self.held.len().saturating_sub(kept * FRAME_SAMPLES);
                self.held.drain(..dropped);
                self.start += dropped as u64;
                if self.voiced_frames >= BEGINNING_FRAMES {
                    // What is held from before is not looked at again, so it may be anything but silence.
                    let scores = vec![score; self.held.len() / FRAME_SAMPLES];
                    self.speaking = Some(Speaking { scores, silent_frames: 0 });
                    self.voiced_frames = 0;
                }
                None
            }
            Some(speaking) => {
                speaking.scores.push(score);
                let is_voice = score >= self.cutting.threshold - FADING;
                speaking.silent_frames = if is_voice { 0 } else { speaking.silent_frames + 1 };
                if speaking.silent_frames >= frames(self.cutting.silence_ms) {
                    let after = speaking.silent_frames.saturating_sub(frames(self.cutting.padding_ms));
                    self.speaking = None;
                    return Some(self.take_held(self.held.len() - after * FRAME_SAMPLES));
                }
                (self.held.len() >= frames(self.cutting.utterance_max_ms) * FRAME_SAMPLES).then(|| self.cut())
            }
        }
    }

    /// Cuts the utterance in its last third, where voice is least likely; it goes on after the cut.
    fn cut(&mut self) -> Utterance {
        let speaking = self.speaking.as_mut().expect("only an utterance that has begun is cut");
        let first = speaking.scores.len() * 2 / 3;
        let likelihood = |window: &[f32]| window.iter().sum::<f32>();
        let quietest = speaking.scores[first..]
            .windows(BREATH_FRAMES)
            .enumerate()
            .min_by(|a, b| likelihood(a.1).total_cmp(&likelihood(b.1)))
            .map_or(speaking.scores.len(), |(at, _)| first + at + BREATH_FRAMES / 2);
        speaking.scores.drain(..quietest);
        self.take_held(quietest * FRAME_SAMPLES)
    }

    fn take_held(&mut self, samples: usize) -> Utterance {
        let after = self.held.split_off(samples);
        let utterance = Utterance { start: self.start, samples: std::mem::replace(&mut self.held, after) };
        self.start = utterance.end();
        utterance
    }
}

/// Whole frames of a time, at least one.
fn frames(ms: u32) -> usize {
    ((ms * SAMPLE_RATE_HZ / 1_000) as usize).div_ceil(FRAME_SAMPLES).max(1)
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    fn cut(samples: &[i16], piece: usize) -> Vec<Utterance> {
        let mut utterances = Utterances::new(Cutting::default());
        let mut ended = Vec::new();
        samples.chunks(piece).for_each(|piece| utterances.push(piece, &mut ended));
        ended.extend(utterances.end());
        ended
    }

    fn seconds(seconds: f64) -> usize {
        (seconds * f64::from(SAMPLE_RATE_HZ)) as usize
    }

    /// Numbers that look random, always the same.
    fn noise(loudness: i16) -> Vec<i16> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 16) as i16 as i32 * i32::from(loudness) / 32_768) as i16
        };
        (0..seconds(10.0)).map(|_| next()).collect()
    }

    fn tone(hz: f64) -> Vec<i16> {
        let angle = |n: usize| n as f64 * hz * TAU / f64::from(SAMPLE_RATE_HZ);
        (0..seconds(10.0)).map(|n| (angle(n).sin() * 8_000.0) as i16).collect()
    }

    #[test]
    fn silence_and_noise_are_no_speech() {
        let sounds = [("silence", vec![0; seconds(10.0)]), ("faint noise", noise(30)), ("noise", noise(300))];
        for (name, sound) in sounds {
            let speech: usize = cut(&sound, 320).iter().map(|utterance| utterance.samples.len()).sum();
            assert_eq!(speech, 0, "{name}");
        }
    }

    #[test]
    fn a_tone_that_is_taken_for_speech_is_cut_all_the_same() {
        let tone = [tone(440.0), tone(440.0), tone(440.0)].concat();
        let utterances = cut(&tone, 320);
        assert!(utterances.len() > 1, "the detector takes it for speech");
        assert!(utterances.iter().all(|utterance| utterance.samples.len() <= seconds(27.1)));
    }

    #[test]
    fn nothing_is_nothing() {
        assert_eq!(cut(&[], 1), []);
        assert_eq!(cut(&[0; 255], 7), []);
        let utterances = Utterances::new(Cutting::default());
        assert_eq!(utterances.open(), None);
    }
}
