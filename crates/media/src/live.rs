//! The end of a spool that is still in memory: a file on tmpfs, laid out as the spool is.
//!
//! A shard must never wait for a disk. A store to a page that belongs to a disk does: while its file system is frozen,
//! throttles those who dirty pages, or commits its journal. So what a shard writes to is on tmpfs, which outlives the
//! process as the page cache does, and the shelver moves each chunk that is full to its place on the disk. A byte is at
//! the same offset in both files; where the live file has a hole, the spool has the byte.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, SeekFrom, fallocate, fstatvfs, seek, statfs};

use crate::mapping::{Mapping, reserve};

/// What statfs calls tmpfs.
const TMPFS: i64 = 0x0102_1994;
/// This part of the memory file system stays free for others: what finds no room goes to the disk directly.
const ROOM_FOR_OTHERS_PART: u64 = 8;
/// Bytes moved at once.
const PIECE_BYTES: usize = 256 << 10;

/// A live file.
#[derive(Debug)]
pub(crate) struct Live {
    file: File,
    path: PathBuf,
}

impl Live {
    /// Makes an empty one.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Opens what another process left; nothing when it left none.
    pub(crate) fn open(path: &Path) -> io::Result<Option<Self>> {
        match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => Ok(Some(Self { file, path: path.to_owned() })),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// A part of it to write to; what is there stays. Refused when others would have no room.
    pub(crate) fn map(&self, range: Range<u64>) -> io::Result<Mapping> {
        let length = range.end - range.start;
        if !self.holds(&range)? {
            let disk = fstatvfs(&self.file)?;
            if disk.f_bavail.saturating_mul(disk.f_frsize)
                < disk.f_blocks * disk.f_frsize / ROOM_FOR_OTHERS_PART + length
            {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        reserve(&self.file, range.start, length)?;
        Mapping::new(&self.file, range.start, length as usize)
    }

    /// Whether something of the range is in memory.
    pub(crate) fn holds(&self, range: &Range<u64>) -> io::Result<bool> {
        Ok(self.next_data(range)?.is_some())
    }

    /// Reads; what is not in memory reads as zeros.
    pub(crate) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    /// Copies what it has of the range to the same place of `spool`.
    pub(crate) fn copy(&self, range: Range<u64>, spool: &File) -> io::Result<()> {
        let mut piece = vec![0; PIECE_BYTES];
        let mut left = range;
        while let Some(data) = self.next_data(&left)? {
            let mut at = data.start;
            while at < data.end {
                let bytes = PIECE_BYTES.min((data.end - at) as usize);
                self.file.read_exact_at(&mut piece[..bytes], at)?;
                spool.write_all_at(&piece[..bytes], at)?;
                at += bytes as u64;
            }
            left.start = data.end;
        }
        Ok(())
    }

    /// Gives the memory of a range back, once the spool has it.
    pub(crate) fn free(&self, range: Range<u64>) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(fallocate(&self.file, flags, range.start, range.end - range.start)?)
    }

    /// How long it is, in bytes.
    pub(crate) fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Removes it, once the spool has all of it.
    pub(crate) fn remove(&self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }

    /// The first stretch of data within a range.
    fn next_data(&self, range: &Range<u64>) -> io::Result<Option<Range<u64>>> {
        if range.is_empty() {
            return Ok(None);
        }
        let start = match seek(&self.file, SeekFrom::Data(range.start)) {
            Ok(start) => start,
            // No data from there on.
            Err(rustix::io::Errno::NXIO) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        if start >= range.end {
            return Ok(None);
        }
        let end = seek(&self.file, SeekFrom::Hole(start))?.min(range.end);
        Ok(Some(start..end))
    }
}

/// Moves what a live file still has into its spool, puts it on the disk and removes the live file. Without a live file,
/// nothing is done. Only for a flow that is not open.
pub fn bring_home(live_path: &Path, spool_path: &Path) -> io::Result<()> {
    let Some(live) = Live::open(live_path)? else { return Ok(()) };
    let spool = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(spool_path)?;
    live.copy(0..live.length()?, &spool)?;
    spool.sync_all()?;
    live.remove()
}

/// The directory below `base` for the live files of a spool directory; made where needed, and the same for every process
/// that uses the spool. Refused where `base` is no memory, or somebody else could reach into it.
pub fn live_dir(base: &Path, spool_dir: &Path) -> io::Result<PathBuf> {
    if statfs(base)?.f_type != TMPFS {
        return Err(io::Error::other(format!("{} is not on tmpfs", base.display())));
    }
    // By its path, which a disk that is mounted anew keeps, and its numbers it does not.
    let spool_dir = spool_dir.canonicalize()?;
    let name = spool_dir.to_string_lossy().replace('%', "%25").replace('/', "%2F");
    let dir = base.join(format!("aimg{name}"));
    match DirBuilder::new().mode(0o700).create(&dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    let found = std::fs::symlink_metadata(&dir)?;
    let ours = found.is_dir() && found.mode() & 0o077 == 0 && found.uid() == rustix::process::geteuid().as_raw();
    if ours { Ok(dir) } else { Err(io::Error::other(format!("{} belongs to somebody else", dir.display()))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 4_096;

    /// Its files are on tmpfs, as they are in the program.
    pub(crate) fn memory() -> tempfile::TempDir {
        tempfile::tempdir_in("/dev/shm").unwrap()
    }

    #[test]
    fn what_is_in_memory_comes_home_and_holes_cost_nothing_that_is_there() {
        let (memory, disk) = (memory(), tempfile::tempdir().unwrap());
        let (live_path, spool_path) = (memory.path().join("live"), disk.path().join("spool"));
        bring_home(&live_path, &spool_path).unwrap();
        assert!(!spool_path.exists(), "nothing was left, nothing is made");

        std::fs::write(&spool_path, vec![1; 3 * PAGE]).unwrap();
        let live = Live::create(&live_path).unwrap();
        live.map(0..PAGE as u64).unwrap().bytes_mut().fill(2);
        live.map(2 * PAGE as u64..4 * PAGE as u64).unwrap().bytes_mut().fill(3);
        live.free(3 * PAGE as u64..4 * PAGE as u64).unwrap();
        let has = |page: usize| live.holds(&((page * PAGE) as u64..((page + 1) * PAGE) as u64)).unwrap();
        assert_eq!([0, 1, 2, 3].map(has), [true, false, true, false]);

        bring_home(&live_path, &spool_path).unwrap();
        let expected = [vec![2; PAGE], vec![1; PAGE], vec![3; PAGE]].concat();
        assert!(std::fs::read(&spool_path).unwrap() == expected);
        assert!(!live_path.exists());
    }

    #[test]
    fn only_memory_of_our_own_is_used() {
        let (memory, spool) = (memory(), tempfile::tempdir_in("/dev/shm").unwrap());
        let dir = live_dir(memory.path(), spool.path()).unwrap();
        assert_eq!(live_dir(memory.path(), spool.path()).unwrap(), dir);
        std::fs::remove_dir(&dir).unwrap();
        std::os::unix::fs::symlink(spool.path(), &dir).unwrap();
        assert!(live_dir(memory.path(), spool.path()).unwrap_err().to_string().contains("somebody else"));
        assert!(live_dir(Path::new("/proc"), spool.path()).unwrap_err().to_string().contains("not on tmpfs"));
    }
}
