//! The fuzz target of this crate as a plain function: for cargo-fuzz, and for tests over the kept corpus.

use crate::{ChunkReader, HEADER_BYTES, PACKET_BYTES_MAX, Reader, Record, encoded_bytes};

/// Reads `data` as a spool file, and also as a single chunk.
///
/// # Panics
///
/// When more is found than is there: that is what a fuzzer looks for.
pub fn fuzz_file(data: &[u8]) {
    let mut chunk = ChunkReader::new(data);
    let found: usize = chunk.by_ref().map(|record| length(&record)).sum();
    let skipped = chunk.damage().corrupt_bytes + chunk.damage().unfinished_bytes;
    assert!(chunk.records_end() <= data.len() && found as u64 + skipped <= data.len() as u64, "more than there is");

    let Ok(mut reader) = Reader::new(data) else { return };
    let found: usize = reader.by_ref().map(|record| length(&record)).sum();
    let skipped = reader.damage().corrupt_bytes + reader.damage().unfinished_bytes;
    assert!(reader.records_end() <= data.len() as u64, "the last record ends beyond the file");
    assert!((HEADER_BYTES + found) as u64 + skipped <= data.len() as u64, "more than there is");
}

fn length(record: &Record<'_>) -> usize {
    assert!(record.packet.len() <= PACKET_BYTES_MAX, "too long a packet");
    encoded_bytes(record.packet.len())
}
