//! Audio that is kept, and can be read again.

use std::io;

use async_trait::async_trait;

/// The audio of one direction: linear samples, mono, without holes, counted from 0. It may still be growing.
#[async_trait]
pub trait Tape: Send {
    /// Its samples a second.
    fn sample_rate_hz(&self) -> u32;

    /// How much of it there is.
    fn length(&self) -> Length;

    /// Samples from place `from` on, at most so many; waits until there are some. None at all is the end of the tape. Losing
    /// the future does no harm.
    async fn read(&mut self, from: u64, samples_max: usize) -> io::Result<Vec<i16>>;

    /// Nothing before this place will be read again.
    fn forget(&mut self, _before: u64) {}
}

/// How much of a tape there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length {
    /// Samples.
    pub samples: u64,
    /// There will be no more.
    pub is_complete: bool,
}
