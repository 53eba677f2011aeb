//! A flow's spool as its shard sees it: a mapped chunk to write to and, in time, the next one. No system calls here.

use std::sync::Arc;

use aimg_core::Timestamp;
use aimg_spool::{LiveCounters, Record, Route, encode_into};

use crate::mapping::Mapping;
use crate::spool_file::{Opened, SpoolFile, chunk_offset};

/// After a failure the next chunk is asked for again so much later.
const RETRY_US: i64 = 1_000_000;

/// Writes records.
#[derive(Debug)]
pub(crate) struct SpoolWriter {
    file: Arc<SpoolFile>,
    header: Mapping,
    chunk: Mapping,
    chunk_index: u64,
    used: usize,
    next: Next,
    /// A full chunk, for the keeper to unmap.
    retired: Option<Mapping>,
}

#[derive(Debug)]
enum Next {
    /// To be asked for once half of the chunk is used.
    Unasked,
    /// The keeper is at it.
    Asked,
    Ready(Mapping),
    /// The keeper could not; to be asked for again.
    Failed {
        again_at: Timestamp,
    },
}

/// No chunk has room for the packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoRoom;

impl SpoolWriter {
    pub(crate) fn new(opened: Opened) -> Self {
        let Opened { file, header, chunk, chunk_index, used, next } = opened;
        Self { file, header, chunk, chunk_index, used, next: next.map_or(Next::Unasked, Next::Ready), retired: None }
    }

    /// Copies a record into the file's pages; it survives the death of the process from here on.
    pub(crate) fn push(&mut self, record: &Record<'_>) -> Result<(), NoRoom> {
        if let Some(bytes) = encode_into(&mut self.chunk.bytes_mut()[self.used..], record) {
            self.used += bytes;
            return Ok(());
        }
        match std::mem::replace(&mut self.next, Next::Unasked) {
            Next::Ready(chunk) => {
                self.retired = Some(std::mem::replace(&mut self.chunk, chunk));
                self.chunk_index += 1;
                self.used = 0;
            }
            waiting => {
                self.next = waiting;
                return Err(NoRoom);
            }
        }
        self.used = encode_into(self.chunk.bytes_mut(), record).ok_or(NoRoom)?;
        Ok(())
    }

    /// Whether the keeper is to be asked for the next chunk.
    pub(crate) fn wants_chunk(&self, now: Timestamp) -> bool {
        match &self.next {
            Next::Unasked => self.used * 2 >= self.chunk.length(),
            Next::Failed { again_at } => now >= *again_at,
            Next::Asked | Next::Ready(_) => false,
        }
    }

    /// The keeper has been asked.
    pub(crate) fn asked(&mut self) {
        self.next = Next::Asked;
    }

    /// The chunk to be unmapped with the next request. Put back with [`SpoolWriter::keep_retired`] when it failed.
    pub(crate) fn take_retired(&mut self) -> Option<Mapping> {
        self.retired.take()
    }

    /// Takes back what the keeper had no room for.
    pub(crate) fn keep_retired(&mut self, retired: Option<Mapping>) {
        self.retired = retired;
    }

    /// The next chunk is here.
    pub(crate) fn supply(&mut self, chunk: Mapping) {
        self.next = Next::Ready(chunk);
    }

    /// The next chunk could not be made.
    pub(crate) fn refuse(&mut self, now: Timestamp) {
        self.next = Next::Failed { again_at: Timestamp::from_micros(now.as_micros() + RETRY_US) };
    }

    /// Shows the count in the file's header, for the case that we die.
    pub(crate) fn show_dropped_by_us(&mut self, total: u64) {
        self.show(LiveCounters::DROPPED_BY_US_AT, total);
    }

    /// Shows in the file's header how far readers of the live file will find records.
    pub(crate) fn show_committed(&mut self) {
        let used = self.used_bytes();
        self.show(LiveCounters::COMMITTED_BYTES_AT, used);
    }

    /// Shows in the file's header whose packets it takes, for the process that takes over.
    pub(crate) fn show_route(&mut self, route: Route) {
        LiveCounters::show_route(self.header.bytes_mut(), route);
    }

    fn show(&mut self, at: usize, value: u64) {
        self.header.bytes_mut()[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    /// Bytes of the file up to the end of the last record.
    pub(crate) fn used_bytes(&self) -> u64 {
        chunk_offset(self.chunk_index, self.chunk.length() as u32) + self.used as u64
    }

    /// The number of the chunk in use: all before it are full.
    pub(crate) const fn full_chunks(&self) -> u64 {
        self.chunk_index
    }

    /// The file it writes to.
    pub(crate) const fn file(&self) -> &Arc<SpoolFile> {
        &self.file
    }

    /// Gives up the mappings; the file is left, to be cut to its used bytes.
    pub(crate) fn finish(mut self) -> Arc<SpoolFile> {
        self.show_committed();
        self.file
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool_file::tests::new_spool;

    const PACKET: [u8; 1_000] = [5; 1_000];

    fn record(n: u32) -> Record<'static> {
        Record { arrival: Timestamp::from_micros(0), kernel_drops: n, packet: &PACKET }
    }

    fn at(us: i64) -> Timestamp {
        Timestamp::from_micros(us)
    }

    #[test]
    fn without_a_next_chunk_packets_are_refused_until_it_comes() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = SpoolWriter::new(SpoolFile::create(new_spool(directory.path(), 1 << 20)).unwrap());
        let file = Arc::clone(writer.file());
        // 8 records of 1024 bytes fill the chunk; half of it asks for the next.
        for n in 0..8 {
            assert_eq!(writer.wants_chunk(at(0)), n >= 4, "{n}");
            assert_eq!(writer.push(&record(n)), Ok(()));
        }
        assert_eq!(writer.push(&record(8)), Err(NoRoom));

        writer.asked();
        assert!(!writer.wants_chunk(at(5)));
        writer.refuse(at(5));
        assert!(!writer.wants_chunk(at(6)));
        assert!(writer.wants_chunk(at(5 + RETRY_US)));
        assert_eq!(writer.push(&record(8)), Err(NoRoom));
        writer.show_dropped_by_us(2);

        writer.supply(file.grow().unwrap());
        assert_eq!(writer.push(&record(9)), Ok(()));
        assert!(writer.take_retired().is_some());

        let used_bytes = writer.used_bytes();
        let file = writer.finish();
        file.close(used_bytes).unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        assert_eq!(bytes.len() as u64, used_bytes);
        let reader = aimg_spool::Reader::new(&bytes).unwrap();
        assert_eq!(reader.counters().dropped_by_us, 2);
        assert_eq!(reader.counters().committed_bytes, used_bytes);
        assert_eq!(reader.map(|r| r.kernel_drops).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6, 7, 9]);
    }
}
