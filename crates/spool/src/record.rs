//! One record: a packet as it was received, with its arrival. Aligned to 8 bytes.
//!
//! | offset | what |
//! |---|---|
//! | 0 | sync word (u16) |
//! | 2 | bytes of the packet (u16) |
//! | 4 | CRC-32 of bytes 2 to 4 and 8 to the packet's end (u32) |
//! | 8 | arrival in microseconds since 1970 (i64) |
//! | 16 | the socket's drop counter that came with the packet (u32) |
//! | 20 | reserved, 0 (u32) |
//! | 24 | the packet, then zeros up to a multiple of 8 |

use std::sync::atomic::{Ordering, fence};

use aimg_core::Timestamp;

/// Bytes of a record before its packet.
pub const RECORD_HEADER_BYTES: usize = 24;

/// The longest packet a record takes. The longest that Asterisk sends is 60 ms of 48 kHz linear, beyond any path's
/// MTU; what we capture is below 2 kB. The bound keeps a search through damaged bytes short.
pub const PACKET_BYTES_MAX: usize = 2_048;

/// Records begin at multiples of this.
pub(crate) const ALIGNMENT: usize = 8;

/// Neither byte is common in audio or in text.
const SYNC: [u8; 2] = [0x5d, 0xa1];

/// A received packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// When the kernel received it.
    pub arrival: Timestamp,
    /// The socket's count of dropped packets that it carried (SO_RXQ_OVFL).
    pub kernel_drops: u32,
    /// The whole RTP packet.
    pub packet: &'a [u8],
}

/// Bytes that a packet of `packet_bytes` takes in a chunk.
pub const fn encoded_bytes(packet_bytes: usize) -> usize {
    (RECORD_HEADER_BYTES + packet_bytes).next_multiple_of(ALIGNMENT)
}

/// Writes `record` at the beginning of `free`, the rest of a chunk, and returns the bytes it took. Nothing when it does
/// not fit, or its packet is longer than [`PACKET_BYTES_MAX`]; `free` is untouched then.
///
/// The sync word is written last: a process that is killed in between leaves no record, not half a one.
pub fn encode_into(free: &mut [u8], record: &Record<'_>) -> Option<usize> {
    let packet = record.packet;
    let taken = encoded_bytes(packet.len());
    if packet.len() > PACKET_BYTES_MAX || taken > free.len() {
        return None;
    }
    let bytes = &mut free[..taken];
    let packet_end = RECORD_HEADER_BYTES + packet.len();
    bytes[2..4].copy_from_slice(&(packet.len() as u16).to_le_bytes());
    bytes[8..16].copy_from_slice(&record.arrival.as_micros().to_le_bytes());
    bytes[16..20].copy_from_slice(&record.kernel_drops.to_le_bytes());
    bytes[20..24].fill(0);
    bytes[RECORD_HEADER_BYTES..packet_end].copy_from_slice(packet);
    bytes[packet_end..].fill(0);
    let crc = checksum(&bytes[..packet_end]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    // Keeps the compiler from writing the sync word early. Other processors need no order: what a dead process wrote
    // is in the page cache whole.
    fence(Ordering::Release);
    bytes[..2].copy_from_slice(&SYNC);
    Some(taken)
}

/// Reads the record at the beginning of `bytes` and how many bytes it takes; nothing if there is no whole one.
pub(crate) fn decode(bytes: &[u8]) -> Option<(Record<'_>, usize)> {
    let head = bytes.first_chunk::<RECORD_HEADER_BYTES>()?;
    let packet_bytes = usize::from(u16::from_le_bytes([head[2], head[3]]));
    if head[..2] != SYNC || packet_bytes > PACKET_BYTES_MAX {
        return None;
    }
    let taken = encoded_bytes(packet_bytes);
    let record = bytes.get(..taken)?.get(..RECORD_HEADER_BYTES + packet_bytes)?;
    if checksum(record) != u32::from_le_bytes([head[4], head[5], head[6], head[7]]) {
        return None;
    }
    let arrival_us = i64::from_le_bytes(head[8..16].try_into().ok()?);
    let kernel_drops = u32::from_le_bytes(head[16..20].try_into().ok()?);
    let packet = &record[RECORD_HEADER_BYTES..];
    Some((Record { arrival: Timestamp::from_micros(arrival_us), kernel_drops, packet }, taken))
}

/// Of a record up to its packet's end.
fn checksum(record: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&record[2..4]);
    hasher.update(&record[8..]);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(packet: &[u8]) -> Record<'_> {
        Record { arrival: Timestamp::from_micros(-5), kernel_drops: u32::MAX, packet }
    }

    #[test]
    fn read_back_at_every_length() {
        let bytes: Vec<u8> = (0..PACKET_BYTES_MAX).map(|i| i as u8).collect();
        let mut chunk = vec![0xee; 4_096];
        for length in [0, 1, 7, 8, 9, 12, 172, 652, PACKET_BYTES_MAX] {
            let taken = encode_into(&mut chunk, &record(&bytes[..length])).unwrap();
            assert_eq!(taken % ALIGNMENT, 0);
            assert_eq!(decode(&chunk), Some((record(&bytes[..length]), taken)), "{length}");
        }
    }

    #[test]
    fn what_does_not_fit_leaves_the_chunk_untouched() {
        let mut chunk = vec![0u8; 4_096];
        assert_eq!(encode_into(&mut chunk[..encoded_bytes(10) - 8], &record(&[1; 10])), None);
        assert_eq!(encode_into(&mut chunk, &record(&[1; PACKET_BYTES_MAX + 1])), None);
        assert_eq!(encode_into(&mut [], &record(&[])), None);
        assert!(chunk.iter().all(|b| *b == 0));
        assert_eq!(encode_into(&mut chunk[..encoded_bytes(10)], &record(&[1; 10])), Some(encoded_bytes(10)));
    }

    #[test]
    fn any_flipped_bit_is_found() {
        let mut chunk = vec![0u8; encoded_bytes(20)];
        encode_into(&mut chunk, &record(&[9; 20])).unwrap();
        for bit in 0..(RECORD_HEADER_BYTES + 20) * 8 {
            chunk[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&chunk), None, "{bit}");
            chunk[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(decode(&chunk).is_some());
    }
}
