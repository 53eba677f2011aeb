//! A part of a spool file in memory, with a block of the disk behind every page.
//!
//! A store to a page without a block kills the process with SIGBUS once the disk is full. So the blocks are reserved
//! before the part is mapped, and every page is touched here, by the keeper's thread, not by the shard's.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use memmap2::{Advice, MmapMut, MmapOptions};

/// The smallest page of any machine we run on: one store in each touches every page.
const PAGE_BYTES: usize = 4_096;

/// A mapped, writable, shared part of a file.
#[derive(Debug)]
pub(crate) struct Mapping(MmapMut);

impl Mapping {
    /// Maps `length` bytes at `offset` that [`reserve`] has reserved.
    pub(crate) fn new(file: &File, offset: u64, length: usize) -> io::Result<Self> {
        // SAFETY: the bytes of a mapping change under us, or end in SIGBUS, when somebody else writes to the file or
        // cuts it. We make spool files ourselves, with mode 0600, in a directory that belongs to the gateway; each part
        // is mapped once; `SpoolFile` cuts a file only after its flow has given up its mappings. Readers of a live
        // spool read the file, they do not map it writable.
        let mut map = unsafe { MmapOptions::new().offset(offset).len(length).map_mut(file) }?;
        if map.advise(Advice::PopulateWrite).is_err() {
            // Linux before 5.14. A store of what is there: the part may be one that another process has begun.
            map.iter_mut().step_by(PAGE_BYTES).for_each(|byte| *byte = std::hint::black_box(*byte));
        }
        Ok(Self(map))
    }

    /// How many bytes it has. Told without a look at the file, which for every packet would be a miss of the cache.
    pub(crate) fn length(&self) -> usize {
        self.0.len()
    }

    /// The bytes.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// Reserves blocks for `length` bytes at `offset`, at the end of the file, and makes the file that long.
pub(crate) fn reserve(file: &File, offset: u64, length: u64) -> io::Result<()> {
    match allocate(file, offset, length) {
        Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => write_zeros(file, offset, length),
        done => done,
    }
}

fn allocate(file: &File, offset: u64, length: u64) -> io::Result<()> {
    let too_far = |_| io::Error::from_raw_os_error(libc::EFBIG);
    let (offset, length) = (i64::try_from(offset).map_err(too_far)?, i64::try_from(length).map_err(too_far)?);
    loop {
        // SAFETY: plain numbers, and a descriptor that `file` keeps open during the call.
        if unsafe { libc::fallocate(file.as_raw_fd(), 0, offset, length) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn write_zeros(file: &File, offset: u64, length: u64) -> io::Result<()> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    let end = offset + length;
    let mut at = offset;
    while at < end {
        let bytes = ZEROS.len().min(usize::try_from(end - at).unwrap_or(ZEROS.len()));
        file.write_all_at(&ZEROS[..bytes], at)?;
        at += bytes as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_in_the_file() {
        let file = tempfile::tempfile().unwrap();
        reserve(&file, 0, 12_288).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 12_288);
        let mut mapping = Mapping::new(&file, 4_096, 8_192).unwrap();
        mapping.bytes_mut()[8_191] = 7;
        let mut byte = [0];
        file.read_exact_at(&mut byte, 12_287).unwrap();
        assert_eq!(byte, [7]);
    }

    #[test]
    fn zeros_make_the_file_as_long_as_an_allocation_does() {
        let file = tempfile::tempfile().unwrap();
        write_zeros(&file, 4_096, 100_000).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 104_096);
    }
}
