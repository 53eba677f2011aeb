//! Room on the disks of spool and recordings: looked at every second, and no capture begins where it is short.
//!
//! What is left then belongs to the captures that run, and to their recordings: a capture that begins on a full disk would
//! cost all of them their packets. Calls go on, and so do the captures that run.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::statvfs;
use tokio::sync::watch;

/// How often the disks are looked at. 1,000 calls in µ-law write 20 MB in this time.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Captures begin again when there is this part more room than the reserve: one call's end must not let the next one in
/// and out again.
const AGAIN_PART: u64 = 10;
const MIB: u64 = 1 << 20;

/// The file system of one directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskRoom {
    /// The directory.
    pub dir: PathBuf,
    /// Bytes that we may still write there; nothing while the system does not tell.
    pub free_bytes: Option<u64>,
    /// Whether it is less than the reserve, and has not been clearly more since: no capture begins.
    pub is_low: bool,
}

/// Both disks, and what they have cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskReport {
    /// Where calls are captured to.
    pub spool: DiskRoom,
    /// Where their recordings are kept.
    pub recordings: DiskRoom,
    /// What is kept free of both, in bytes.
    pub reserve_bytes: u64,
    /// Captures that did not begin for want of room.
    pub refused: u64,
}

/// The way to the latest look at the disks. Cheap to clone; it never waits.
#[derive(Clone, Debug)]
pub(crate) struct Disks {
    report: watch::Receiver<[DiskRoom; 2]>,
    reserve_bytes: u64,
    refused: Arc<AtomicU64>,
}

impl Disks {
    /// Looks once, then every second for as long as somebody holds the result.
    pub(crate) async fn watch(spool_dir: &Path, recordings_dir: &Path, reserve_bytes: u64) -> Self {
        let rooms =
            [spool_dir, recordings_dir].map(|dir| DiskRoom { dir: dir.into(), free_bytes: None, is_low: false });
        let rooms = look(rooms, reserve_bytes).await;
        let (sender, report) = watch::channel(rooms);
        tokio::spawn(look_on(sender, reserve_bytes));
        Self { report, reserve_bytes, refused: Arc::default() }
    }

    /// As of the last look, a second ago at most where the disks answer.
    pub(crate) fn report(&self) -> DiskReport {
        let [spool, recordings] = self.report.borrow().clone();
        DiskReport {
            spool,
            recordings,
            reserve_bytes: self.reserve_bytes,
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    /// Whether there is room on both, as far as is known.
    pub(crate) fn have_room(&self) -> bool {
        self.report.borrow().iter().all(|room| !room.is_low)
    }

    /// Lets a capture begin, or says in one sentence why not.
    pub(crate) fn admit(&self) -> Result<(), String> {
        let rooms = self.report.borrow();
        let Some(room) = rooms.iter().find(|room| room.is_low) else { return Ok(()) };
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(format!("no new capture for want of room: {}", room.shortage(self.reserve_bytes)))
    }
}

impl DiskRoom {
    /// That it is low, in a sentence that stays the same while it is.
    pub(crate) fn below(&self, reserve_bytes: u64) -> String {
        let reserve = reserve_bytes.div_ceil(MIB);
        format!("the disk of {} has less than {reserve} MiB free, which are kept for what runs", self.dir.display())
    }

    fn shortage(&self, reserve_bytes: u64) -> String {
        let (free, reserve) = (self.free_bytes.unwrap_or(0) / MIB, reserve_bytes.div_ceil(MIB));
        format!(
            "the disk of {} has {free} MiB free, and {reserve} MiB are kept for what runs; make room",
            self.dir.display()
        )
    }

    /// The same room as a look found it.
    fn seen(self, free_bytes: Option<u64>, reserve_bytes: u64) -> Self {
        let enough = if self.is_low { reserve_bytes.saturating_add(reserve_bytes / AGAIN_PART) } else { reserve_bytes };
        // A look that failed says nothing: what was last known holds.
        let is_low = free_bytes.map_or(self.is_low, |free| free < enough);
        Self { free_bytes, is_low, ..self }
    }
}

async fn look_on(sender: watch::Sender<[DiskRoom; 2]>, reserve_bytes: u64) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = sender.closed() => return,
            _ = looks.tick() => {}
        }
        let before = sender.borrow().clone();
        let rooms = look(before.clone(), reserve_bytes).await;
        for (room, was) in rooms.iter().zip(&before) {
            if was.is_low && !room.is_low {
                tracing::info!("the disk of {} has room: captures begin", room.dir.display());
            }
            if room.free_bytes.is_none() && was.free_bytes.is_some() {
                tracing::error!("the free space of {} cannot be seen any more", room.dir.display());
            }
        }
        sender.send_replace(rooms);
    }
}

/// A disk that hangs lets this wait, and nobody else.
async fn look(rooms: [DiskRoom; 2], reserve_bytes: u64) -> [DiskRoom; 2] {
    let dirs = rooms.each_ref().map(|room| room.dir.clone());
    let free = tokio::task::spawn_blocking(move || dirs.map(|dir| free_bytes(&dir))).await.unwrap_or_default();
    let mut free = free.into_iter();
    rooms.map(|room| room.seen(free.next().flatten(), reserve_bytes))
}

/// Bytes that a program without special rights may still write.
fn free_bytes(dir: &Path) -> Option<u64> {
    statvfs(dir).ok().map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disks(free: [u64; 2], reserve_bytes: u64) -> Disks {
        let rooms = free.map(|free| {
            DiskRoom { dir: "/spool".into(), free_bytes: None, is_low: false }.seen(Some(free), reserve_bytes)
        });
        Disks { report: watch::channel(rooms).1, reserve_bytes, refused: Arc::default() }
    }

    #[test]
    fn below_the_reserve_of_either_disk_no_capture_begins() {
        for (free, admitted) in
            [([100 * MIB, 100 * MIB], true), ([99 * MIB, 200 * MIB], false), ([200 * MIB, 0], false)]
        {
            let disks = disks(free, 100 * MIB);
            assert_eq!(disks.admit().is_ok(), admitted, "{free:?}");
            assert_eq!((disks.have_room(), disks.report().refused), (admitted, u64::from(!admitted)));
        }
        let sentence = disks([7 * MIB, 0], 100 * MIB).admit().unwrap_err();
        assert!(
            ["/spool has 7 MiB free", "100 MiB are kept", "make room"].iter().all(|w| sentence.contains(w)),
            "{sentence}"
        );
        assert!(disks([0, 0], 0).admit().is_ok(), "without a reserve nothing is kept free");
    }

    #[test]
    fn captures_begin_again_with_clearly_more_room() {
        let mut room = DiskRoom { dir: "/".into(), free_bytes: None, is_low: false };
        for (free, is_low) in [
            (Some(100), false),
            (Some(99), true),
            (Some(105), true),
            (None, true),
            (Some(110), false),
            (Some(105), false),
            (None, false),
        ] {
            room = room.seen(free, 100);
            assert_eq!((room.is_low, room.free_bytes), (is_low, free));
        }
    }

    #[tokio::test]
    async fn a_real_disk_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let disks = Disks::watch(dir.path(), dir.path(), u64::MAX / 2).await;
        assert!(disks.report().spool.free_bytes.is_some_and(|free| free > 0));
        assert!(disks.admit().is_err(), "nobody has so much room");
    }
}
