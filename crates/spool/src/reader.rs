//! Reads a spool, whole or damaged: every record that is whole is found, everything else is counted.

use crate::record::{self, ALIGNMENT};
use crate::{HEADER_BYTES, Header, LiveCounters, Record, SpoolError};

/// Bytes that hold no record although something was written there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Bytes of damaged records.
    pub corrupt_bytes: u64,
    /// Places where records are damaged: each cost at least one packet.
    pub corrupt_spots: u64,
    /// Bytes after the last record of a chunk without a sync word: a process was killed while it wrote them.
    pub unfinished_bytes: u64,
}

impl Damage {
    /// Whether nothing that was recorded is unreadable.
    pub const fn is_none(&self) -> bool {
        self.corrupt_spots == 0
    }

    const fn add(&mut self, other: Self) {
        self.corrupt_bytes += other.corrupt_bytes;
        self.corrupt_spots += other.corrupt_spots;
        self.unfinished_bytes += other.unfinished_bytes;
    }
}

/// Iterates over the records of one chunk.
#[derive(Clone, Debug)]
pub struct ChunkReader<'a> {
    chunk: &'a [u8],
    at: usize,
    /// The end of what was written, once it mattered.
    written: Option<usize>,
    records_end: usize,
    damage: Damage,
}

impl<'a> ChunkReader<'a> {
    /// Reads `chunk` from its beginning; the last chunk of a file may be cut short.
    pub const fn new(chunk: &'a [u8]) -> Self {
        Self {
            chunk,
            at: 0,
            written: None,
            records_end: 0,
            damage: Damage { corrupt_bytes: 0, corrupt_spots: 0, unfinished_bytes: 0 },
        }
    }

    /// What was skipped up to here.
    pub const fn damage(&self) -> Damage {
        self.damage
    }

    /// Bytes of the chunk up to the end of the last record read.
    pub const fn records_end(&self) -> usize {
        self.records_end
    }

    fn take(&mut self) -> Option<Record<'a>> {
        let (record, taken) = record::decode(self.chunk.get(self.at..)?)?;
        self.at += taken;
        self.records_end = self.at;
        Some(record)
    }

    /// Finds the next record behind bytes that are none.
    fn resync(&mut self) -> Option<Record<'a>> {
        let chunk = self.chunk;
        // Found once for a chunk: from here on there are only zeros.
        let written =
            *self.written.get_or_insert_with(|| chunk.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1));
        let begin = self.at;
        while self.at < written {
            let found_at = self.at;
            if let Some(record) = self.take() {
                self.damage.corrupt_spots += 1;
                self.damage.corrupt_bytes += (found_at - begin) as u64;
                return Some(record);
            }
            self.at += ALIGNMENT;
        }
        if begin < written {
            let bytes = (written - begin) as u64;
            if chunk[begin..].starts_with(&[0, 0]) {
                self.damage.unfinished_bytes += bytes;
            } else {
                self.damage.corrupt_spots += 1;
                self.damage.corrupt_bytes += bytes;
            }
        }
        self.at = chunk.len();
        None
    }
}

impl<'a> Iterator for ChunkReader<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.chunk.len() {
            return None;
        }
        self.take().or_else(|| self.resync())
    }
}

/// Iterates over the records of a whole file, in the order in which they were received.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    header: Header,
    counters: LiveCounters,
    chunk: ChunkReader<'a>,
    /// The chunks after this one.
    rest: &'a [u8],
    /// Where in the file the chunk begins.
    chunk_at: u64,
    /// The end of the last record in the file.
    records_end: u64,
    damage_before: Damage,
}

impl<'a> Reader<'a> {
    /// Opens a spool by all its bytes.
    pub fn new(file: &'a [u8]) -> Result<Self, SpoolError> {
        let header = Header::decode(file)?;
        let (first, rest) = split_chunk(&file[HEADER_BYTES..], &header);
        Ok(Self {
            counters: LiveCounters::decode(file),
            header,
            chunk: ChunkReader::new(first),
            rest,
            chunk_at: HEADER_BYTES as u64,
            records_end: HEADER_BYTES as u64,
            damage_before: Damage::default(),
        })
    }

    /// Whose flow it is.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// What the shard counted, as of opening the reader.
    pub const fn counters(&self) -> LiveCounters {
        self.counters
    }

    /// What was skipped up to here; after the last record, in the whole file.
    pub const fn damage(&self) -> Damage {
        let mut damage = self.damage_before;
        damage.add(self.chunk.damage);
        damage
    }

    /// Bytes of the file up to the end of the last record read.
    pub const fn records_end(&self) -> u64 {
        self.records_end
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.chunk.next() {
                self.records_end = self.chunk_at + self.chunk.records_end as u64;
                return Some(record);
            }
            if self.rest.is_empty() {
                return None;
            }
            let (next, rest) = split_chunk(self.rest, &self.header);
            self.damage_before.add(self.chunk.damage);
            self.chunk_at += self.chunk.chunk.len() as u64;
            self.chunk = ChunkReader::new(next);
            self.rest = rest;
        }
    }
}

fn split_chunk<'a>(bytes: &'a [u8], header: &Header) -> (&'a [u8], &'a [u8]) {
    bytes.split_at(bytes.len().min(header.chunk_bytes as usize))
}

#[cfg(test)]
mod tests {
    use aimg_core::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::header::tests::header;
    use crate::{CHUNK_BYTES_MIN, encode_into, encoded_bytes};

    fn record(index: usize, packet: &[u8]) -> Record<'_> {
        Record { arrival: Timestamp::from_micros(index as i64), kernel_drops: index as u32, packet }
    }

    /// A file of these packets as a shard writes it: the last chunk whole. With the place of each record.
    fn spool(packets: &[Vec<u8>]) -> (Vec<u8>, Vec<usize>) {
        let chunk_bytes = CHUNK_BYTES_MIN as usize;
        let mut file = header(CHUNK_BYTES_MIN).encode().unwrap().to_vec();
        let mut places = Vec::new();
        let (mut at, mut end) = (HEADER_BYTES, HEADER_BYTES);
        for (index, packet) in packets.iter().enumerate() {
            if at + encoded_bytes(packet.len()) > end {
                at = end;
                end += chunk_bytes;
                file.resize(end, 0);
            }
            places.push(at);
            at += encode_into(&mut file[at..end], &record(index, packet)).unwrap();
        }
        (file, places)
    }

    fn read(file: &[u8]) -> (Vec<(usize, Vec<u8>)>, Reader<'_>) {
        let mut reader = Reader::new(file).unwrap();
        let records = reader.by_ref().map(|r| (r.kernel_drops as usize, r.packet.to_vec())).collect();
        (records, reader)
    }

    fn packets(count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|i| (0..i * 13 % 700).map(|j| (i + j) as u8).collect()).collect()
    }

    #[test]
    fn every_record_over_many_chunks() {
        let packets = packets(200);
        let (file, places) = spool(&packets);
        assert!(file.len() > HEADER_BYTES + 5 * CHUNK_BYTES_MIN as usize);
        let (records, reader) = read(&file);
        assert_eq!(records, packets.iter().cloned().enumerate().collect::<Vec<_>>());
        assert_eq!(reader.damage(), Damage::default());
        let end = places[199] + encoded_bytes(packets[199].len());
        assert_eq!(reader.records_end(), end as u64);
        // Cut to its used length, as after a close, it is the same.
        assert_eq!(read(&file[..end]).0, records);
    }

    #[test]
    fn a_new_file_has_no_records() {
        let (file, _) = spool(&[]);
        assert_eq!(read(&file).0, []);
        let empty_chunk = [&file[..], &[0; CHUNK_BYTES_MIN as usize]].concat();
        let (records, reader) = read(&empty_chunk);
        assert_eq!((records.len(), reader.damage(), reader.records_end()), (0, Damage::default(), HEADER_BYTES as u64));
    }

    #[test]
    fn a_record_without_its_sync_word_was_never_finished() {
        let (mut file, places) = spool(&packets(5));
        file[places[4]..places[4] + 2].fill(0);
        let (records, reader) = read(&file);
        assert_eq!(records.len(), 4);
        assert!(reader.damage().is_none());
        assert!(reader.damage().unfinished_bytes > 0);
        assert_eq!(reader.records_end(), places[4] as u64);
    }

    #[test]
    fn damage_costs_the_records_it_touches_and_no_other() {
        let (mut file, places) = spool(&packets(50));
        file[places[20] + 30] ^= 1;
        file[places[49] + 2] ^= 1;
        let (records, reader) = read(&file);
        let indices: Vec<_> = records.iter().map(|(index, _)| *index).collect();
        assert_eq!(indices, (0..49).filter(|i| *i != 20).collect::<Vec<_>>());
        assert_eq!(reader.damage().corrupt_spots, 2);
        assert!(reader.damage().corrupt_bytes >= (places[21] - places[20]) as u64);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn what_damage_did_not_touch_is_read(
            count in 1..120usize,
            spots in prop::collection::vec((any::<prop::sample::Index>(), 1..3_000usize, any::<u64>()), 1..5),
        ) {
            let packets = packets(count);
            let (clean, places) = spool(&packets);
            let mut file = clean.clone();
            for (index, length, seed) in spots {
                let begin = HEADER_BYTES + index.index(file.len() - HEADER_BYTES);
                let end = (begin + length).min(file.len());
                let mut noise = seed;
                for byte in &mut file[begin..end] {
                    noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    *byte = (noise >> 56) as u8;
                }
            }
            let (records, reader) = read(&file);
            let untouched: Vec<_> = (0..count)
                .filter(|i| {
                    let span = places[*i]..places[*i] + encoded_bytes(packets[*i].len());
                    file[span.clone()] == clean[span]
                })
                .map(|i| (i, packets[i].clone()))
                .collect();
            // Damage within the padding of a record does not hurt it.
            for record in &untouched {
                prop_assert!(records.contains(record), "record {} of {}", record.0, count);
            }
            for (index, packet) in &records {
                prop_assert_eq!(packet, &packets[*index]);
            }
            prop_assert!(records.len() == count || !reader.damage().is_none() || reader.damage().unfinished_bytes > 0);
        }

        #[test]
        fn any_bytes_are_read_without_panic(
            bytes in prop::collection::vec(prop_oneof![3 => Just(0u8), 1 => Just(0x5d), 1 => Just(0xa1), 3 => any::<u8>()], 0..1_500),
            cut in any::<prop::sample::Index>(),
        ) {
            let chunk = ChunkReader::new(&bytes);
            prop_assert!(chunk.count() <= bytes.len());
            let (mut file, _) = spool(&packets(30));
            let at = cut.index(file.len());
            file.truncate(at);
            file.extend_from_slice(&bytes);
            if let Ok(reader) = Reader::new(&file) {
                prop_assert!(reader.count() <= file.len());
            }
        }
    }
}
