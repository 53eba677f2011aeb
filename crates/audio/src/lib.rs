//! Audio as numbers: G.711, linear PCM, levels, sample rates, WAV files, and where one sound is found in another.
//!
//! Pure: files and sockets are the caller's; the WAV reader and writer work on any `Read` or `Write + Seek`.

pub mod correlate;
mod error;
pub mod g711;
pub mod level;
pub mod linear;
pub mod payload;
pub mod resample;
pub mod wav;

pub use error::Error;
