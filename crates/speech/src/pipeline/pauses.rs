//! Where on the tape somebody speaks, by its level.

use aimg_audio::level::rms_dbfs;

/// Levels a second.
const WINDOWS_PER_SECOND: u32 = 50;

/// Follows the level of a tape from one place on.
#[derive(Debug)]
pub(super) struct Pauses {
    quiet_below_dbfs: f64,
    window: Vec<i16>,
    window_samples: usize,
    /// Up to where it has listened.
    position: u64,
    first_loud: Option<u64>,
    /// Where the last loud window ended, or where it began to listen.
    quiet_from: u64,
}

impl Pauses {
    pub(super) fn new(sample_rate_hz: u32, quiet_below_dbfs: f64, position: u64) -> Self {
        let window_samples = (sample_rate_hz / WINDOWS_PER_SECOND).max(1) as usize;
        let window = Vec::with_capacity(window_samples);
        Self { quiet_below_dbfs, window, window_samples, position, first_loud: None, quiet_from: position }
    }

    /// Takes the next samples; whether some of them are loud.
    pub(super) fn push(&mut self, mut samples: &[i16]) -> bool {
        let mut is_loud = false;
        while !samples.is_empty() {
            let room = self.window_samples - self.window.len();
            let (now, later) = samples.split_at(room.min(samples.len()));
            self.window.extend_from_slice(now);
            self.position += now.len() as u64;
            samples = later;
            if self.window.len() == self.window_samples {
                is_loud |= self.judge();
            }
        }
        is_loud
    }

    /// Up to where it has listened.
    pub(super) const fn position(&self) -> u64 {
        self.position
    }

    /// Where the first loud window begins.
    pub(super) const fn first_loud(&self) -> Option<u64> {
        self.first_loud
    }

    /// How long it has been quiet, in samples.
    pub(super) const fn quiet_samples(&self) -> u64 {
        self.position - self.window.len() as u64 - self.quiet_from
    }

    fn judge(&mut self) -> bool {
        let is_loud = rms_dbfs(&self.window) >= self.quiet_below_dbfs;
        if is_loud {
            self.first_loud.get_or_insert(self.position - self.window.len() as u64);
            self.quiet_from = self.position;
        }
        self.window.clear();
        is_loud
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loud_and_quiet_are_found_however_the_samples_come() {
        let mut samples = vec![3; 800];
        samples.extend([4_000; 320]);
        samples.extend([-3; 500]);
        for piece in [1, 160, 333, 2_000] {
            let mut pauses = Pauses::new(8_000, -55.0, 1_000);
            let loud = samples.chunks(piece).filter(|piece| pauses.push(piece)).count();
            assert!(loud > 0, "{piece}");
            assert_eq!((pauses.first_loud(), pauses.position()), (Some(1_800), 2_620), "{piece}");
            // Of the 500 samples, 480 are whole windows.
            assert_eq!(pauses.quiet_samples(), 480, "{piece}");
        }
    }
}
