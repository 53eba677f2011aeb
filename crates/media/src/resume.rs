//! Takes a flow over from a process that was killed: its ledger, its source and its spool, from the spool alone.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use aimg_core::{Codec, Timestamp};
use aimg_rtp::{Arrival, Axis, LedgerBuilder, Packet};
use aimg_spool::{ChunkReader, HEADER_BYTES, Header, LiveCounters, Route};

use crate::LeftSpool;
use crate::flow::{Flow, History};
use crate::live::Live;
use crate::published::Published;
use crate::spool_file::{SpoolFile, chunk_offset};

/// Opens the spool at `path` to go on with its flow. The ledger is built again from its records, as the killed process
/// built it.
///
/// A spool that is damaged, or whose source was not known yet, is refused and left as it is: whoever finishes it makes of
/// it what can be made.
pub(crate) fn resume(left: &LeftSpool, bytes_max: u64, published: Arc<Published>) -> io::Result<(Flow, Route)> {
    let LeftSpool { path, live_path } = left;
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut page = vec![0; HEADER_BYTES];
    let live = live_path.as_deref().map(Live::open).transpose()?.flatten();
    match &live {
        Some(live) => live.read_exact_at(&mut page, 0)?,
        None => file.read_exact_at(&mut page, 0)?,
    }
    let header = Header::decode(&page).map_err(io::Error::other)?;
    let counters = LiveCounters::decode(&page);
    let route = counters.route.ok_or_else(|| io::Error::other("nobody was expected to send to it yet"))?;
    let mut history = History::new(header.meta.codec, counters.dropped_by_us);
    let end = replay(&file, live.as_ref(), header.chunk_bytes, &mut history)?;
    let opened = SpoolFile::reopen(path.clone(), file, live, (header.chunk_bytes, bytes_max), end)?;
    Ok((Flow::resumed(&header.meta, opened, published, history), route))
}

/// Books every record. Returns the chunk that holds the last one, and how much of it is used.
fn replay(file: &File, live: Option<&Live>, chunk_bytes: u32, history: &mut History) -> io::Result<(u64, usize)> {
    let mut chunk = vec![0; chunk_bytes as usize];
    let mut end = (0, 0);
    let length = live.map_or(Ok(0), Live::length)?.max(file.metadata()?.len());
    let chunks = length.saturating_sub(HEADER_BYTES as u64).div_ceil(u64::from(chunk_bytes));
    for index in 0..chunks {
        let range = chunk_offset(index, chunk_bytes)..chunk_offset(index + 1, chunk_bytes);
        let read = match live {
            Some(live) if live.holds(&range)? => {
                live.read_exact_at(&mut chunk, range.start)?;
                chunk.len()
            }
            _ => read_at(file, &mut chunk, range.start)?,
        };
        let mut records = ChunkReader::new(&chunk[..read]);
        for record in &mut records {
            history.book(record.arrival, record.kernel_drops, record.packet);
        }
        if !records.damage().is_none() {
            return Err(io::Error::other("records of it are damaged"));
        }
        if records.records_end() > 0 {
            end = (index, records.records_end());
        }
    }
    Ok(end)
}

fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64)? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}

impl History {
    fn new(codec: Codec, dropped_by_us: u64) -> Self {
        let mut ledger = LedgerBuilder::new(codec.sample_rate_hz());
        ledger.note_dropped_by_us(dropped_by_us);
        Self { ledger, axis: Axis::new(codec), dropped_by_us, first_packet_at: None, last_packet_at: None }
    }

    fn book(&mut self, at: Timestamp, kernel_drops: u32, packet: &[u8]) {
        // Only packets were spooled.
        if let Ok(packet) = Packet::parse(packet) {
            let outcome = self.ledger.observe(Arrival::of(&packet, at, kernel_drops));
            self.axis.place(outcome, packet.payload.len(), at);
            self.first_packet_at.get_or_insert(at);
            self.last_packet_at = Some(at);
        }
    }
}
