//! Live audio on its way to a recogniser: what it has not dealt with yet is kept here, as long as there is room.
//!
//! A recogniser that is too far behind loses its roll; it goes on with the recording, once that is made.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aimg_speech::pipeline::{Length, Tape};
use async_trait::async_trait;
use tokio::sync::watch;

/// What one direction keeps, at most: ten minutes.
const KEPT_S: u64 = 600;

/// The memory that all rolls of a node may take together, in samples: 256 MB.
const KEPT_BY_ALL_SAMPLES: u64 = 128 << 20;

/// How much all rolls keep. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct Room(Arc<AtomicU64>);

impl Room {
    /// Audio that is kept now, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed) * size_of::<i16>() as u64
    }
}

/// The end that is written.
#[derive(Debug)]
pub(super) struct Roll(Arc<Shared>);

/// The end that is read.
#[derive(Debug)]
pub(super) struct RollTape {
    shared: Arc<Shared>,
    changed: watch::Receiver<()>,
}

#[derive(Debug)]
struct Shared {
    rate_hz: u32,
    room: Room,
    kept: Mutex<Kept>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The place of the first sample that is kept.
    from: u64,
    samples: VecDeque<i16>,
    is_complete: bool,
    /// Why nothing more can be read.
    broken: Option<&'static str>,
}

impl Kept {
    fn end(&self) -> u64 {
        self.from + self.samples.len() as u64
    }
}

/// A roll and its tape.
pub(super) fn roll(rate_hz: u32, room: Room) -> (Roll, RollTape) {
    let (sender, changed) = watch::channel(());
    let shared = Arc::new(Shared { rate_hz, room, kept: Mutex::default(), changed: sender });
    (Roll(Arc::clone(&shared)), RollTape { shared, changed })
}

impl Shared {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, kept: &mut Kept, samples: usize) {
        kept.samples.drain(..samples);
        kept.from += samples as u64;
        self.room.0.fetch_sub(samples as u64, Ordering::Relaxed);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let samples = self.kept().samples.len() as u64;
        self.room.0.fetch_sub(samples, Ordering::Relaxed);
    }
}

impl Roll {
    /// Puts samples at their place: what is missing before them is silence, what is there already stays. False once nobody can
    /// read it any more.
    pub(super) fn write(&self, position: u64, samples: &[i16]) -> bool {
        let Shared { rate_hz, room, .. } = &*self.0;
        let mut kept = self.0.kept();
        let silence = position.saturating_sub(kept.end());
        let known = kept.end().saturating_sub(position).min(samples.len() as u64) as usize;
        let new = silence + (samples.len() - known) as u64;
        let kept_max = KEPT_S * u64::from(*rate_hz);
        if kept.samples.len() as u64 + new > kept_max || room.0.load(Ordering::Relaxed) + new > KEPT_BY_ALL_SAMPLES {
            kept.broken = Some("the recogniser is too far behind");
        }
        if kept.broken.is_none() {
            room.0.fetch_add(new, Ordering::Relaxed);
            kept.samples.extend(std::iter::repeat_n(0, silence as usize));
            kept.samples.extend(&samples[known..]);
        }
        let goes_on = kept.broken.is_none();
        drop(kept);
        self.0.changed.send_replace(());
        goes_on
    }

    /// It ends here: there is no more.
    pub(super) fn end(self) {
        self.0.kept().is_complete = true;
    }

    /// It cannot be read any further: there is more, and it is elsewhere.
    pub(super) fn break_off(self, why: &'static str) {
        self.0.kept().broken.get_or_insert(why);
    }
}

/// Whose end was never told, has broken off.
impl Drop for Roll {
    fn drop(&mut self) {
        let mut kept = self.0.kept();
        if !kept.is_complete {
            kept.broken.get_or_insert("nobody listens to the call any more");
        }
        drop(kept);
        self.0.changed.send_replace(());
    }
}

#[async_trait]
impl Tape for RollTape {
    fn sample_rate_hz(&self) -> u32 {
        self.shared.rate_hz
    }

    fn length(&self) -> Length {
        let kept = self.shared.kept();
        Length { samples: kept.end(), is_complete: kept.is_complete }
    }

    async fn read(&mut self, from: u64, samples_max: usize) -> io::Result<Vec<i16>> {
        loop {
            self.changed.borrow_and_update();
            {
                let kept = self.shared.kept();
                if from < kept.from {
                    return Err(io::Error::other("it was forgotten"));
                }
                let within = usize::try_from(from - kept.from).unwrap_or(usize::MAX).min(kept.samples.len());
                let there = kept.samples.range(within..);
                if there.len() > 0 {
                    return Ok(there.take(samples_max).copied().collect());
                }
                if let Some(why) = kept.broken {
                    return Err(io::Error::other(why));
                }
                if kept.is_complete {
                    return Ok(Vec::new());
                }
            }
            if self.changed.changed().await.is_err() {
                return Err(io::Error::other("nobody writes it any more"));
            }
        }
    }

    fn forget(&mut self, before: u64) {
        let mut kept = self.shared.kept();
        let samples = before.saturating_sub(kept.from).min(kept.samples.len() as u64) as usize;
        self.shared.forget(&mut kept, samples);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_is_read_in_its_place_until_it_is_forgotten() {
        let room = Room::default();
        let (roll, mut tape) = roll(8_000, room.clone());
        assert!(roll.write(2, &[1, 2, 3]));
        assert!(roll.write(4, &[9, 4, 5]), "what is there stays");
        assert_eq!(tape.read(0, 100).await.unwrap(), [0, 0, 1, 2, 3, 4, 5]);
        assert_eq!(tape.read(3, 2).await.unwrap(), [2, 3]);
        assert_eq!(tape.length(), Length { samples: 7, is_complete: false });
        tape.forget(4);
        assert_eq!((tape.read(4, 100).await.unwrap(), room.bytes()), (vec![3, 4, 5], 6));
        assert!(tape.read(3, 1).await.is_err());
        let (read, ()) = tokio::join!(tape.read(7, 10), async { assert!(roll.write(7, &[6])) });
        assert_eq!(read.unwrap(), [6]);
        roll.end();
        assert_eq!(tape.read(8, 10).await.unwrap(), [0; 0]);
        assert!(tape.length().is_complete);
        drop(tape);
        assert_eq!(room.bytes(), 0);
    }

    #[tokio::test]
    async fn who_is_too_far_behind_reads_what_is_there_and_no_more() {
        let (roll, mut tape) = roll(8_000, Room::default());
        let minute = vec![7; 480_000];
        for minute_no in 0..10 {
            assert!(roll.write(minute_no * 480_000, &minute));
        }
        assert!(!roll.write(4_800_000, &[7]));
        assert_eq!(tape.read(4_799_999, 10).await.unwrap(), [7]);
        let why = tape.read(4_800_000, 10).await.unwrap_err();
        assert!(why.to_string().contains("too far behind"), "{why}");
        tape.forget(4_800_000);
        assert!(!roll.write(4_800_000, &[7]), "what was missed stays missed");
    }

    #[tokio::test]
    async fn a_roll_that_is_left_breaks_off() {
        let (left, mut tape) = roll(8_000, Room::default());
        drop(left);
        assert!(tape.read(0, 1).await.is_err());
        let (broken, mut tape) = roll(8_000, Room::default());
        broken.write(0, &[1]);
        broken.break_off("skipped");
        assert_eq!(tape.read(0, 9).await.unwrap(), [1]);
        assert!(tape.read(1, 1).await.unwrap_err().to_string().contains("skipped"));
    }
}
