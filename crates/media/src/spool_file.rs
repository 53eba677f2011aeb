//! A spool file on disk: made with its first chunk, grown by the keeper, cut and synced at the end.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aimg_spool::{FlowMeta, HEADER_BYTES, Header, LiveCounters};

use crate::live::Live;
use crate::mapping::{Mapping, reserve};

/// What a new spool file is to be.
#[derive(Debug)]
pub(crate) struct NewSpool {
    pub(crate) path: PathBuf,
    /// Where its end is to be in memory; nothing for all of it on the disk.
    pub(crate) live_path: Option<PathBuf>,
    pub(crate) meta: FlowMeta,
    pub(crate) chunk_bytes: u32,
    /// The longest the file may grow.
    pub(crate) bytes_max: u64,
    /// The socket's drop counter at this moment.
    pub(crate) kernel_drops: u64,
}

/// An open spool file. Shared by the shard (which only passes it on), the keeper and whoever closes it.
#[derive(Debug)]
pub(crate) struct SpoolFile {
    path: PathBuf,
    file: File,
    /// Its end, as long as that is in memory.
    live: Option<Live>,
    chunk_bytes: u32,
    bytes_max: u64,
    growth: Mutex<Growth>,
    /// How many chunks, from the first on, are surely on the disk.
    shelved_chunks: Mutex<u64>,
}

/// Keeps a late request of the keeper from growing a file that was cut already.
#[derive(Debug)]
struct Growth {
    chunks: u64,
    closed: bool,
}

/// A file to write to: its header page, and the chunk in use.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) file: Arc<SpoolFile>,
    pub(crate) header: Mapping,
    pub(crate) chunk: Mapping,
    /// The number of the chunk, from 0.
    pub(crate) chunk_index: u64,
    /// Bytes of the chunk that hold records.
    pub(crate) used: usize,
    /// The chunk after it, where packets that have waited may need it before the keeper could make it.
    pub(crate) next: Option<Mapping>,
}

impl SpoolFile {
    /// Makes the file, and its directory where needed. Audio is nobody else's: modes 0600 and 0700.
    pub(crate) fn create(new: NewSpool) -> io::Result<Opened> {
        let NewSpool { path, live_path, meta, chunk_bytes, bytes_max, kernel_drops } = new;
        if let Some(parent) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        let mut page = Header { meta, chunk_bytes }.encode().map_err(io::Error::other)?;
        LiveCounters { kernel_drops_at_open: kernel_drops, ..LiveCounters::default() }.encode_into(&mut page);
        // Never over another one: that may be a recording nobody has finished yet.
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        // Without memory for it, all of it is on the disk.
        let live = live_path.and_then(|path| Live::create(&path).ok());
        let mut spool = Self::over(path, file, live, (chunk_bytes, bytes_max), 0);
        // The header comes before the length: a file with chunks has a header.
        let parts = spool.file.write_all_at(&page[..], 0).and_then(|()| {
            let header = spool.map_header(&page[..])?;
            Ok((header, spool.grow()?))
        });
        match parts {
            Ok((header, chunk)) => {
                Ok(Opened { file: Arc::new(spool), header, chunk, chunk_index: 0, used: 0, next: None })
            }
            Err(e) => {
                // It holds no packet; left behind, it would only be in the way.
                let _ = std::fs::remove_file(&spool.path);
                let _ = spool.live.map(|live| live.remove());
                Err(e)
            }
        }
    }

    /// Opens a file that another process wrote to, to go on where it stopped: behind `used` bytes of the chunk
    /// `chunk_index`. What that process had written beyond, a record that it did not complete, is wiped.
    pub(crate) fn reopen(
        path: PathBuf,
        file: File,
        live: Option<Live>,
        (chunk_bytes, bytes_max): (u32, u64),
        (chunk_index, used): (u64, usize),
    ) -> io::Result<Opened> {
        let spool = Self::over(path, file, live, (chunk_bytes, bytes_max), chunk_index);
        // What is reserved already stays as it is, and where it is.
        let is_on_disk = used > 0 && !spool.live_holds(chunk_index)?;
        let mut chunk = spool.grow_in(is_on_disk)?;
        chunk.bytes_mut()[used..].fill(0);
        // A file that has reached its bound has no next one.
        let next = spool.grow().ok();
        let header = match &spool.live {
            Some(live) => live.map(0..HEADER_BYTES as u64)?,
            None => Mapping::new(&spool.file, 0, HEADER_BYTES)?,
        };
        Ok(Opened { file: Arc::new(spool), header, chunk, chunk_index, used, next })
    }

    fn over(path: PathBuf, file: File, live: Option<Live>, (chunk_bytes, bytes_max): (u32, u64), chunks: u64) -> Self {
        let growth = Mutex::new(Growth { chunks, closed: false });
        Self { path, file, live, chunk_bytes, bytes_max, growth, shelved_chunks: Mutex::new(0) }
    }

    /// The header page, with `page` in it: in memory, or on the disk where memory has no room.
    fn map_header(&mut self, page: &[u8]) -> io::Result<Mapping> {
        if let Some(live) = &self.live {
            if let Ok(mut header) = live.map(0..HEADER_BYTES as u64) {
                header.bytes_mut().copy_from_slice(page);
                return Ok(header);
            }
            let _ = live.remove();
            self.live = None;
        }
        Mapping::new(&self.file, 0, HEADER_BYTES)
    }

    /// The next chunk, reserved and mapped: in memory where there is room.
    pub(crate) fn grow(&self) -> io::Result<Mapping> {
        self.grow_in(false)
    }

    fn grow_in(&self, is_on_disk: bool) -> io::Result<Mapping> {
        let mut growth = self.growth.lock().unwrap_or_else(PoisonError::into_inner);
        if growth.closed {
            return Err(io::Error::other("the flow is closed"));
        }
        let offset = chunk_offset(growth.chunks, self.chunk_bytes);
        let length = u64::from(self.chunk_bytes);
        if offset + length > self.bytes_max {
            return Err(io::Error::other(format!("the spool file has reached its bound of {} bytes", self.bytes_max)));
        }
        let in_memory = self.live.as_ref().filter(|_| !is_on_disk).and_then(|l| l.map(offset..offset + length).ok());
        let mapping = match in_memory {
            Some(mapping) => mapping,
            None => {
                reserve(&self.file, offset, length)?;
                Mapping::new(&self.file, offset, self.chunk_bytes as usize)?
            }
        };
        growth.chunks += 1;
        Ok(mapping)
    }

    fn live_holds(&self, chunk: u64) -> io::Result<bool> {
        let range = chunk_offset(chunk, self.chunk_bytes)..chunk_offset(chunk + 1, self.chunk_bytes);
        self.live.as_ref().map_or(Ok(false), |live| live.holds(&range))
    }

    /// Moves the first `chunks` chunks to the disk, as far as they are not there. The shard has done with them.
    pub(crate) fn shelve(&self, chunks: u64) -> io::Result<()> {
        let Some(live) = &self.live else { return Ok(()) };
        let mut shelved = self.shelved_chunks.lock().unwrap_or_else(PoisonError::into_inner);
        if *shelved < chunks {
            let range = chunk_offset(*shelved, self.chunk_bytes)..chunk_offset(chunks, self.chunk_bytes);
            live.copy(range.clone(), &self.file)?;
            // A disk that fails takes what is written, and loses it when the kernel writes it back.
            self.file.sync_data()?;
            live.free(range)?;
            *shelved = chunks;
        }
        Ok(())
    }

    /// Whether its flow is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.growth.lock().unwrap_or_else(PoisonError::into_inner).closed
    }

    /// Cuts the file to `used_bytes` and puts it on the disk, its name included. The flow's mappings must be gone.
    pub(crate) fn close(&self, used_bytes: u64) -> io::Result<()> {
        self.growth.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        let _shelving = self.shelved_chunks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(live) = &self.live {
            live.copy(0..used_bytes, &self.file)?;
        }
        self.file.set_len(used_bytes)?;
        self.file.sync_all()?;
        if let Some(live) = &self.live {
            live.remove()?;
        }
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
            _ => Ok(()),
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Where chunk `index` begins in a file.
pub(crate) const fn chunk_offset(index: u64, chunk_bytes: u32) -> u64 {
    HEADER_BYTES as u64 + index * chunk_bytes as u64
}

#[cfg(test)]
pub(crate) mod tests {
    use aimg_core::{Codec, Direction, Timestamp};

    use super::*;

    pub(crate) fn new_spool(directory: &Path, bytes_max: u64) -> NewSpool {
        let id = "0198c1de-1111-7000-8000-000000000000";
        NewSpool {
            path: directory.join("tenant/flow.spool"),
            live_path: None,
            meta: FlowMeta {
                tenant: id.parse().unwrap(),
                session: id.parse().unwrap(),
                part: 0,
                direction: Direction::Caller,
                codec: Codec::Ulaw,
                opened_at: Timestamp::from_micros(1),
                pbx: id.parse().unwrap(),
            },
            chunk_bytes: 8_192,
            bytes_max,
            kernel_drops: 17,
        }
    }

    #[test]
    fn a_new_file_is_a_spool_without_records() {
        let directory = tempfile::tempdir().unwrap();
        let opened = SpoolFile::create(new_spool(directory.path(), 1 << 20)).unwrap();
        let bytes = std::fs::read(opened.file.path()).unwrap();
        assert_eq!(bytes.len(), 4_096 + 8_192);
        let reader = aimg_spool::Reader::new(&bytes).unwrap();
        assert_eq!(reader.counters().kernel_drops_at_open, 17);
        assert_eq!(reader.count(), 0);
    }

    #[test]
    fn an_existing_file_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = new_spool(directory.path(), 0).path;
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, b"precious").unwrap();
        let error = SpoolFile::create(new_spool(directory.path(), 1 << 20)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(path).unwrap(), b"precious");
    }

    #[test]
    fn it_grows_to_its_bound_and_not_after_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let file = SpoolFile::create(new_spool(directory.path(), 4_096 + 2 * 8_192)).unwrap().file;
        assert!(file.grow().is_ok());
        assert!(file.grow().unwrap_err().to_string().contains("bound of 20480 bytes"));
        file.close(5_000).unwrap();
        assert!(file.grow().unwrap_err().to_string().contains("closed"));
        assert_eq!(std::fs::metadata(file.path()).unwrap().len(), 5_000);
    }

    #[test]
    fn a_file_that_cannot_be_made_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let new = new_spool(directory.path(), 100);
        let path = new.path.clone();
        assert!(SpoolFile::create(new).is_err());
        assert!(!path.exists());
    }
}
